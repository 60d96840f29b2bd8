/** What can go wrong. Every error of this package is one of these classes. */

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
  | 'component';

/**
 * The base of all errors. `message` says what happened, where, and what to do; it never contains
 * a secret. After any error except `closed` the cache still works.
 */
export abstract class MnemeError extends Error {
  /** The kind, for programs. */
  abstract readonly code: ErrorCode;

  /** Whether the same call may succeed later without any repair. */
  get retryable(): boolean {
    return false;
  }

  override get name(): string {
    return this.constructor.name;
  }
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

/** The store's backend failed. `cause` is what it threw, if it threw. */
export class BackendError extends MnemeError {
  readonly code = 'backend';
  readonly #retryable: boolean;

  /** @param options `retryable` (default false): whether the same call may succeed later */
  constructor(message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.#retryable = options.retryable ?? false;
  }

  override get retryable(): boolean {
    return this.#retryable;
  }
}

/** The embedder failed, so nothing was stored. `cause` is what it threw. */
export class EmbedderError extends MnemeError {
  readonly code = 'embedder';
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
      return new BY_TAG[error.tag](error.val);
  }
}

/** What a store threw, as the component takes it. `where` names store and operation. */
export function toValue(thrown: unknown, where: string): ErrorValue {
  if (thrown instanceof EmbedderMismatchError) {
    const { stored, given } = thrown;
    return { tag: 'embedder-mismatch', val: { stored, given } };
  }
  if (thrown instanceof EmbedderDimensionError) {
    const { expected, actual } = thrown;
    return { tag: 'embedder-dimension', val: { expected, actual } };
  }
  if (thrown instanceof ClosedError) {
    return { tag: 'closed' };
  }
  if (thrown instanceof MnemeError && thrown.code in BY_TAG) {
    return { tag: thrown.code as keyof typeof BY_TAG, val: thrown.message };
  }
  const message =
    thrown instanceof BackendError ? thrown.message : `${where} failed: ${describe(thrown)}`;
  const retryable = thrown instanceof MnemeError && thrown.retryable;
  return { tag: 'backend', val: { message, retryable } };
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
  if (thrown instanceof Error) {
    return thrown.message || thrown.name;
  }
  try {
    return String(thrown);
  } catch {
    return 'something that cannot be printed';
  }
}
