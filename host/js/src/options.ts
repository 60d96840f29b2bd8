/** The callers' options and values, in the form that the component takes. */

import { wellFormed } from './component.js';
import { InvalidArgumentError } from './errors.js';
import type { Store } from './store.js';

/** How the index holds vectors in memory: 4, 2 or 1 bytes a value. Answers do not change. */
export type VectorDtype = 'float32' | 'float16' | 'int8';

/** How the index searches. `auto` and `exact` miss nothing; `hnsw` is approximate. */
export type IndexKind = 'auto' | 'exact' | 'hnsw';

/** A vector from a caller. It need not have unit length, but must not be all zeros. */
export type Vector = Float32Array | Float64Array | readonly number[];

/** Makes vectors of text. */
export interface Embedder {
  /** Names the model and its version; 1 to 1,024 bytes. */
  readonly fingerprint: string;
  /** The number of values of a vector, 1 to 8,192. */
  readonly dimensions: number;
  /**
   * Returns a vector for each text, in order. Leave it out if you pass a vector with every
   * question and answer.
   */
  embed?(
    texts: string[],
    options: { signal: AbortSignal | undefined },
  ): Promise<Vector[]> | Vector[];
}

/** An entry that is about to answer. */
export interface Candidate {
  namespace: string;
  /** The query as asked. */
  query: string;
  /** The query that the entry was stored under. */
  entryQuery: string;
  response: string;
  metadata: Record<string, unknown>;
  /** -1 to 1. */
  similarity: number;
  ageSeconds: number;
}

/** Something that happened in the cache. */
export type CacheEvent =
  | {
      type: 'hit';
      namespace: string;
      layer: 'exact' | 'semantic';
      similarity: number;
      confidence: number;
      ageSeconds: number;
    }
  | { type: 'miss'; namespace: string; reason: MissReason }
  | {
      type: 'put' | 'deletion' | 'eviction' | 'expiration' | 'rejection';
      namespace: string;
      count: number;
    };

/** Why there was no answer. */
export type MissReason =
  'bypass' | 'below-threshold' | 'no-match' | 'dim-mismatch' | 'embedder-failure';

/** How a cache behaves. Only `store` and `embedder` are required. */
export interface CacheOptions {
  /** Where entries are kept. One cache uses it at a time. */
  store: Store;
  /** Makes the vectors. */
  embedder: Embedder;
  /** The least similarity of a semantic hit, -1 to 1. Default 0.85. */
  similarityThreshold?: number;
  /** The lifetime in seconds of entries that are put without one. Default null: unlimited. */
  defaultTtl?: number | null;
  /** The most entries in all namespaces together, at least 1. Default null: any number. */
  maxEntries?: number | null;
  /**
   * Quotas to set at opening, once, by namespace. Later changes hold: those of
   * `setNamespaceQuota`, and those of an archive that is loaded. Where the archive has no quota for
   * the namespace, the one that it has stays.
   */
  namespaceQuotas?: Record<string, number>;
  /**
   * How far to trust a semantic candidate: its similarity, halved every `halfLifeSeconds`
   * (default 86,400). Candidates below `cutOff` (default 0.7; 0 switches it off) are refused.
   * Or your own function, which returns 0 to 1.
   */
  confidence?:
    | { halfLifeSeconds?: number; cutOff?: number }
    | {
        compute: (
          similarity: number,
          ageSeconds: number,
          metadata: Record<string, unknown>,
        ) => number;
        cutOff?: number;
      };
  /**
   * Which responses may answer semantically; refused ones are deleted. Default `builtin`,
   * which refuses blank responses and those that begin with `[LLM Error]` or `[ERROR]`.
   */
  validator?: 'builtin' | 'none' | ((candidate: Candidate) => boolean);
  /** Called with each event, after it happened. Must not call the cache. */
  onEvent?: (event: CacheEvent) => void;
  /** Default `float32`. */
  vectorDtype?: VectorDtype;
  /** Default `auto`. */
  index?: IndexKind;
  /** Graphs, if `index` is `hnsw`: numbers from 1 to 10,000, default 100; heuristic false. */
  graph?: { efSearch?: number; efConstruction?: number; heuristic?: boolean };
  /** Whether the store keeps the index, so that the next open is fast. Default true. */
  persistIndex?: boolean;
  /**
   * If others write to the same store: the milliseconds after which the cache checks for their
   * changes (0: before every semantic look-up). Default null: nobody else writes.
   */
  staleMs?: number | null;
  /** Whether queries are normalised (white space, case) before comparing. Default true. */
  normalize?: boolean;
  /** Limits in UTF-8 bytes. Defaults 32 KiB, 4 MiB and 64 KiB. */
  maxBytes?: { query?: number; response?: number; metadata?: number };
  /** The number of hits whose access data may wait in memory. Default 512. */
  touchLimit?: number;
  /** The milliseconds that access data may wait. Default 5,000. */
  touchIntervalMs?: number;
  /** The milliseconds after which a call of the store is abandoned. Default null: never. */
  storeTimeout?: number | null;
  /** The clock: milliseconds since the Unix epoch. Default `Date.now`. */
  now?: () => number;
}

/** Options of the component, with its names. */
export type RawOptions = Record<string, unknown> & {
  confidence: { tag: string; val: unknown };
  validator: string;
};

/** Fills `defaults` with what the caller wants. */
export function applyOptions(defaults: RawOptions, options: CacheOptions): RawOptions {
  const raw: RawOptions = { ...defaults };
  const set = (name: string, value: unknown) => {
    if (value !== undefined) {
      raw[name] = value;
    }
  };
  set('similarityThreshold', number(options.similarityThreshold, 'similarityThreshold'));
  set('defaultTtl', integer(options.defaultTtl, 'defaultTtl'));
  set('maxEntries', integer(options.maxEntries, 'maxEntries'));
  set(
    'namespaceQuotas',
    Object.entries(options.namespaceQuotas ?? {}).map(([namespace, quota]) => [
      wellFormed(namespace, 'namespaceQuotas'),
      integer(quota, `the quota of ${JSON.stringify(namespace)}`),
    ]),
  );
  const { confidence } = options;
  if (confidence && 'compute' in confidence) {
    raw.confidence = { tag: 'host', val: number(confidence.cutOff, 'confidence.cutOff') ?? 0.7 };
  } else if (confidence) {
    const { halfLifeSeconds, cutOff } = confidence;
    const decay = raw.confidence.val as { halfLifeSeconds: bigint; cutOff: number };
    raw.confidence = {
      tag: 'decay',
      val: {
        halfLifeSeconds:
          integer(halfLifeSeconds, 'confidence.halfLifeSeconds') ?? decay.halfLifeSeconds,
        cutOff: number(cutOff, 'confidence.cutOff') ?? decay.cutOff,
      },
    };
  }
  if (options.validator !== undefined) {
    raw.validator =
      typeof options.validator === 'function'
        ? 'host'
        : oneOf(options.validator, ['builtin', 'none'], 'validator');
  }
  raw['events'] = options.onEvent !== undefined;
  if (options.vectorDtype !== undefined) {
    set('vectorDtype', dtype(options.vectorDtype));
  }
  if (options.index !== undefined) {
    set('index', oneOf(options.index, ['auto', 'exact', 'hnsw'], 'index'));
  }
  if (options.graph) {
    const given = options.graph;
    const graph = raw['graph'] as { efSearch: number; efConstruction: number; heuristic: boolean };
    set('graph', {
      efSearch: count(given.efSearch, 'graph.efSearch') ?? graph.efSearch,
      efConstruction: count(given.efConstruction, 'graph.efConstruction') ?? graph.efConstruction,
      heuristic: given.heuristic ?? graph.heuristic,
    });
  }
  set('persistIndex', flag(options.persistIndex, 'persistIndex'));
  if (options.staleMs !== undefined && options.staleMs !== null) {
    set('coordination', { tag: 'stale-tolerant', val: count(options.staleMs, 'staleMs') });
  }
  set('normalize', flag(options.normalize, 'normalize'));
  set('maxQueryBytes', count(options.maxBytes?.query, 'maxBytes.query'));
  set('maxResponseBytes', count(options.maxBytes?.response, 'maxBytes.response'));
  set('maxMetadataBytes', count(options.maxBytes?.metadata, 'maxBytes.metadata'));
  set('touchLimit', count(options.touchLimit, 'touchLimit'));
  set('touchIntervalMs', count(options.touchIntervalMs, 'touchIntervalMs'));
  return raw;
}

/** A vector as the component takes it. */
export function vector(value: unknown, field = 'the embedding'): Float32Array {
  if (value instanceof Float32Array) {
    return value;
  }
  if (value instanceof Float64Array) {
    return Float32Array.from(value);
  }
  if (Array.isArray(value) && value.every((x) => typeof x === 'number')) {
    return Float32Array.from(value);
  }
  throw new InvalidArgumentError(
    `${field} is ${describeKind(value)}; give a Float32Array, a Float64Array, or an array of numbers`,
  );
}

/** One of the three. */
export function dtype(value: unknown): VectorDtype {
  return oneOf(value, ['float32', 'float16', 'int8'], 'the dtype');
}

/** A whole number of at least 0; undefined and null mean none. */
export function integer(value: unknown, field: string): bigint | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new InvalidArgumentError(
      `${field} is ${describeKind(value)}; give a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  return BigInt(value);
}

/** As {@link integer}, for 32 bits. */
export function count(value: unknown, field: string): number | undefined {
  const found = integer(value, field);
  if (found !== undefined && found > 0xffff_ffffn) {
    throw new InvalidArgumentError(`${field} is ${found}; give at most 4,294,967,295`);
  }
  return found === undefined ? undefined : Number(found);
}

/** A number; the component checks its range. */
export function number(value: unknown, field: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'number') {
    throw new InvalidArgumentError(`${field} is ${describeKind(value)}; give a number`);
  }
  return value;
}

/** True or false. */
export function flag(value: unknown, field: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') {
    return value;
  }
  throw new InvalidArgumentError(`${field} is ${describeKind(value)}; give true or false`);
}

/** One of some words. */
export function oneOf<T extends string>(value: unknown, words: readonly T[], field: string): T {
  if (!words.includes(value as T)) {
    throw new InvalidArgumentError(
      `${field} is ${JSON.stringify(value) ?? typeof value}; give ${words.join(', ').replace(/, ([^,]*)$/, ' or $1')}`,
    );
  }
  return value as T;
}

/** Metadata as text. */
export function metadata(value: unknown): string {
  if (value === undefined) {
    return '{}';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`the metadata is ${describeKind(value)}; give an object`);
  }
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (thrown) {
    throw new InvalidArgumentError(
      `the metadata cannot be written as JSON: ${thrown instanceof Error ? thrown.message : 'unknown'}`,
    );
  }
  return wellFormed(text, 'the metadata');
}

/** Metadata that was stored. Stores may be written by others, who keep other JSON. */
export function parseMetadata(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function describeKind(value: unknown): string {
  if (value === null) {
    return 'null';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  return Array.isArray(value) ? 'an array of other things' : `of type ${typeof value}`;
}
