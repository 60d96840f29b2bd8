/** What can go wrong. Every error of this package is one of these classes. */

import type { Receipt } from './api.js';

/** Names the kind of an error; the same names as in the component's contract. */
export type ErrorCode =
  | 'closed'
  | 'embedder-mismatch'
  | 'embedder-dimension'
  | 'corrupt'
  | 'schema'
  | 'checkpoint'
  | 'quota-exceeded'
  | 'index-unavailable'
  | 'quantization'
  | 'invalid-argument'
  | 'unsupported'
  | 'backend'
  | 'embedder'
  | 'verifier'
  | 'comparer'
  | 'refused'
  | 'component';

/** Marks the errors of every copy of this package: bundles may hold more than one. */
const MARK = Symbol.for('mneme-cache-wasm.error');

/**
 * The base of all errors. `message` says what happened, where, and what to do; it never contains
 * a secret. After any error except `closed` the cache still works. Where a program has several
 * copies of this package, compare `code`, for each copy has its own classes.
 */
export abstract class MnemeError extends Error {
  /** The kind, for programs. */
  abstract readonly code: ErrorCode;

  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
  }

  /** Of `erase`: what it had erased before it stopped. Erase again, with the same filter, for the rest. */
  receipt?: Receipt | undefined;

  /** Whether the same call may succeed later without any repair. */
  get retryable(): boolean {
    return false;
  }

  /** @internal */
  get [MARK](): true {
    return true;
  }

  /** The name of the class, also where a bundler has shortened it. */
  override get name(): string {
    return `${this.code.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase())}Error`;
  }
}

/** Whether it is an error of this package, or of another copy of it. */
export function isMnemeError(thrown: unknown): thrown is MnemeError {
  return typeof thrown === 'object' && thrown !== null && MARK in thrown;
}

/** The cache, or its store, is closed. */
export class ClosedError extends MnemeError {
  readonly code = 'closed';

  constructor(message = 'the cache is closed; open it again to go on') {
    super(message);
  }
}

/** The store holds the vectors of another embedder. */
export class EmbedderMismatchError extends MnemeError {
  readonly code = 'embedder-mismatch';

  /**
   * @param stored the fingerprint that the store was created with
   * @param given the fingerprint that it was opened with
   */
  constructor(
    readonly stored: string,
    readonly given: string,
  ) {
    super(
      `the store was made with the embedder ${JSON.stringify(stored)} and is opened with ${JSON.stringify(given)}, whose vectors mean something else; use the first one, or another store`,
    );
  }
}

/** A vector, or the store, has another number of dimensions. */
export class EmbedderDimensionError extends MnemeError {
  readonly code = 'embedder-dimension';

  /**
   * @param expected the number of values that the store was created with
   * @param actual the number of values given
   */
  constructor(
    readonly expected: number,
    readonly actual: number,
  ) {
    super(
      `${actual} dimensions where the store has ${expected}; use the embedder that the store was made with`,
    );
  }
}

/** Stored data is damaged. */
export class CorruptError extends MnemeError {
  readonly code = 'corrupt';
}

/** This release does not know the version of the store's schema. */
export class SchemaError extends MnemeError {
  readonly code = 'schema';
}

/** A checkpoint archive is malformed, or does not fit this cache. */
export class CheckpointError extends MnemeError {
  readonly code = 'checkpoint';
}

/** The namespace's quota leaves no room. */
export class QuotaExceededError extends MnemeError {
  readonly code = 'quota-exceeded';
}

/** The vector index could not be built. The exact layer still answers. */
export class IndexUnavailableError extends MnemeError {
  readonly code = 'index-unavailable';
}

/** The chosen dtype cannot hold a vector. */
export class QuantizationError extends MnemeError {
  readonly code = 'quantization';
}

/** An argument is invalid; nothing changed. */
export class InvalidArgumentError extends MnemeError {
  readonly code = 'invalid-argument';
}

/** The store, or this runtime, does not offer the operation. */
export class UnsupportedError extends MnemeError {
  readonly code = 'unsupported';
}

/** Of somebody whom the cache asks, and who may answer another time. */
abstract class PassingError extends MnemeError {
  readonly #retryable: boolean;

  /** @param options `retryable` (default false): whether the same call may succeed later */
  constructor(message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options);
    this.#retryable = options.retryable ?? false;
  }

  /** Of an embedder, a verifier or a comparer: true after a time-out, a lost connection, and answers such as 429 and 503. */
  override get retryable(): boolean {
    return this.#retryable;
  }
}

/** The store's backend failed. `cause` is what it threw, if it threw. */
export class BackendError extends PassingError {
  readonly code = 'backend';
}

/** The embedder failed. `cause` is what it threw. */
export class EmbedderError extends PassingError {
  readonly code = 'embedder';
}

/** The verifier failed, so that a candidate did not answer. `cause` is what it threw, if it threw. */
export class VerifierError extends PassingError {
  readonly code = 'verifier';
}

/** What compares responses failed, so that a candidate got no label. `cause` is what it threw, if it threw. */
export class ComparerError extends PassingError {
  readonly code = 'comparer';
}

/** The validator refuses a response that was computed, so it was not stored. */
export class RefusedError extends MnemeError {
  readonly code = 'refused';
}

/**
 * The data of an open store is gone, or is that of another cache. The next call opens the store
 * again and goes on with what is there.
 */
export class DataVanishedError extends BackendError {
  /** @internal */
  readonly vanished = true;

  override get retryable(): boolean {
    return true;
  }
}

/**
 * The component trapped, which is a bug in mneme or a lack of memory. A new instance has taken
 * over on the same store.
 */
export class ComponentError extends MnemeError {
  readonly code = 'component';
}

/** An error as the component has it. */
export type ErrorValue =
  | { tag: 'closed' }
  | { tag: 'embedder-mismatch'; val: { stored: string; given: string } }
  | { tag: 'embedder-dimension'; val: { expected: number; actual: number } }
  | { tag: 'backend'; val: { message: string; retryable: boolean } }
  | {
      tag:
        | 'corrupt'
        | 'schema'
        | 'checkpoint'
        | 'quota-exceeded'
        | 'index-unavailable'
        | 'quantization'
        | 'invalid-argument'
        | 'unsupported';
      val: string;
    };

const BY_TAG = {
  corrupt: CorruptError,
  schema: SchemaError,
  checkpoint: CheckpointError,
  'quota-exceeded': QuotaExceededError,
  'index-unavailable': IndexUnavailableError,
  quantization: QuantizationError,
  'invalid-argument': InvalidArgumentError,
  unsupported: UnsupportedError,
} as const;

/** The error that the component returned. */
export function fromValue(error: ErrorValue, cause?: unknown): MnemeError {
  switch (error.tag) {
    case 'closed':
      return new ClosedError();
    case 'embedder-mismatch':
      return new EmbedderMismatchError(error.val.stored, error.val.given);
    case 'embedder-dimension':
      return new EmbedderDimensionError(error.val.expected, error.val.actual);
    case 'backend': {
      const { message, retryable } = error.val;
      return new BackendError(message, cause === undefined ? { retryable } : { retryable, cause });
    }
    default:
      return new BY_TAG[error.tag](inJavaScript(error.val));
  }
}

/** Names of the component's contract whose name here is not the same in other letters. */
const NAMES: Record<string, string> = {
  'embedder-fingerprint': 'embedder.fingerprint',
  'embedder-dim': 'embedder.dimensions',
  embedder_dim: 'embedder.dimensions',
  'ef-search': 'efSearch',
  'ef-construction': 'efConstruction',
  'half-life-seconds': 'halfLifeSeconds',
  'max-entries': 'maxEntries',
  'max-expansion': 'maxExpansion',
  'max-bytes': 'maxBytes.total',
  'max-query-bytes': 'maxBytes.query',
  'max-response-bytes': 'maxBytes.response',
  'max-metadata-bytes': 'maxBytes.metadata',
  'default-ttl': 'defaultTtlSeconds',
  'similarity-threshold': 'similarityThreshold',
  'namespace-prefix': 'namespacePrefix',
  'namespace-quotas': 'namespaceQuotas',
  'touch-limit': 'touchLimit',
  'touch-interval-ms': 'touchIntervalSeconds',
  'vector-dtype': 'vectorDtype',
  'allow-unreadable': 'allowUnreadable',
  verifying: 'verifyBand',
  'error-bound': 'errorBound',
};
const NAME = new RegExp(`(?<![\\w-])(?:${Object.keys(NAMES).join('|')})(?![\\w-])`, 'g');

/** A message of the component with the names that options have in JavaScript. */
function inJavaScript(message: string): string {
  return message.replace(NAME, (name) => NAMES[name] ?? name);
}

/** What a store threw, as the component takes it. `where` names store and operation. */
export function toValue(thrown: unknown, where: string): ErrorValue {
  if (!isMnemeError(thrown)) {
    const message = `${where} failed: ${describe(thrown)}`;
    return { tag: 'backend', val: { message, retryable: false } };
  }
  switch (thrown.code) {
    case 'embedder-mismatch': {
      const { stored, given } = thrown as EmbedderMismatchError;
      return { tag: 'embedder-mismatch', val: { stored, given } };
    }
    case 'embedder-dimension': {
      const { expected, actual } = thrown as EmbedderDimensionError;
      return { tag: 'embedder-dimension', val: { expected, actual } };
    }
    case 'closed':
      return { tag: 'closed' };
    default:
      if (thrown.code in BY_TAG) {
        return { tag: thrown.code as keyof typeof BY_TAG, val: thrown.message };
      }
  }
  const message =
    thrown.code === 'backend' ? thrown.message : `${where} failed: ${describe(thrown)}`;
  return { tag: 'backend', val: { message, retryable: thrown.retryable } };
}

/**
 * What an import of the component throws so that it is taken for a returned error. It is no `Error`:
 * one would bring its stack along, and end the instance.
 */
export function returned(value: ErrorValue): { payload: ErrorValue } {
  return { payload: value };
}

/** What was thrown, in words. */
export function describe(thrown: unknown): string {
  if (isError(thrown)) {
    return thrown.message || thrown.name;
  }
  try {
    return String(thrown);
  } catch {
    return 'something that cannot be printed';
  }
}

/** Whether it is an `Error`, also one of another realm, such as that of a test's environment. */
export function isError(thrown: unknown): thrown is Error {
  return (
    thrown instanceof Error ||
    /^\[object (Error|DOMException)\]$/.test(Object.prototype.toString.call(thrown))
  );
}
