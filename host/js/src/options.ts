/** The options of the callers. */

import type { ErrorBound, SameAnswer } from './bound.js';
import { InvalidArgumentError } from './errors.js';
import { known, refuseNear, type Names } from './known.js';
import type { Store } from './store.js';
import type { Opinion, VetoKind, Vetoes } from './trust.js';

/** How the index holds vectors in memory: 4, 2 or 1 bytes a value. Answers do not change. */
export type VectorDtype = 'float32' | 'float16' | 'int8';

/**
 * How the index searches. `auto` and `exact` miss nothing; `hnsw` is approximate. With `store` the
 * store searches (`capabilities().nearest`), and the cache holds no index.
 */
export type IndexKind = 'auto' | 'exact' | 'hnsw' | 'store';

/** A vector from a caller. It need not have unit length, but must not be all zeros. */
export type Vector = Float32Array | Float64Array | readonly number[];

/** How much of a text its vector stands for, in the model's tokens. */
export interface Reading {
  /** The tokens of the whole text. */
  tokens: number;
  /** The tokens that the model read before it cut the text. Default: all. */
  tokensRead: number;
  /** Those of the tokens read that the model does not know. Default 0. */
  tokensUnknown: number;
}

/**
 * What an embedder returns for a text: its vector, perhaps with a {@link Reading}. Texts that were
 * cut, or are mostly unknown to the model, are compared in the exact layer only, unless the option
 * `allowUnreadable` is set. A text without a reading counts as read.
 */
export type Embedding =
  | Vector
  | {
      vector: Vector;
      tokens?: number | undefined;
      tokensRead?: number | undefined;
      tokensUnknown?: number | undefined;
    };

/** Makes vectors of text. */
export interface Embedder {
  /** Names the model and its version; 1 to 1,024 bytes. */
  readonly fingerprint: string;
  /** The number of values of a vector, 1 to 8,192. */
  readonly dimensions: number;
  /** The most texts of one call of `embed`, at least 1. Default 100. */
  readonly maxBatch?: number | undefined;
  /** The most calls of `embed` at a time, at least 1; further ones wait. Default 16. */
  readonly concurrency?: number | undefined;
  /**
   * How long one call of `embed` may take, with its retries. After that `signal` is aborted and the
   * call has failed. Default 10.
   */
  readonly timeoutSeconds?: number | undefined;
  /**
   * How often a call is repeated that failed in a way that may pass: a lost connection, or an error
   * whose `status` is 408, 425, 429 or 5xx. Its `headers` may have a `retry-after`. Default 2.
   */
  readonly retries?: number | undefined;
  /**
   * Returns a vector for each text, in order. Leave it out if you pass a vector with every
   * question and answer.
   */
  embed?(texts: string[], options: { signal: AbortSignal }): Promise<Embedding[]> | Embedding[];
}

/** An entry that is about to answer. */
export interface Candidate {
  /** The store's id of the entry; 0 for a response that is about to be stored. */
  id: number;
  namespace: string;
  /** The query as asked. */
  query: string;
  /** The query that the entry was stored under. */
  entryQuery: string;
  response: string;
  metadata: Record<string, unknown>;
  /** Cosine of the two queries, -1 to 1. */
  similarity: number;
  /** When the response was stored, to the second. */
  createdAt: Date;
  /** Time since the response was stored. */
  ageSeconds: number;
}

/**
 * Says whether a candidate's response answers the query; true is `yes`, and false is `no`. `signal` is
 * aborted when nobody waits for it any more.
 */
export type Verifier = (
  candidate: Candidate,
  options: { signal: AbortSignal },
) => Opinion | boolean | Promise<Opinion | boolean>;

/**
 * Something that happened in the cache. `put`: `count` entries were stored or replaced. The others
 * were deleted: by `delete` or a clear (`deletion`), because of a quota, `maxEntries` or
 * `maxBytes.total` (`eviction`), because they had expired (`expiration`), because the built-in
 * validator refuses them (`rejection`).
 */
export type CacheEvent =
  | {
      type: 'hit';
      namespace: string;
      layer: 'exact' | 'semantic';
      /** -1 to 1. */
      similarity: number;
      /** What `decay` or `confidence` makes of it; the similarity without them. */
      confidence: number;
      /** Seconds since the entry was stored. */
      ageSeconds: number;
    }
  | { type: 'miss'; namespace: string; reason: MissReason }
  | {
      /** A veto kept a candidate from answering. One event for each kind of its vetoes. */
      type: 'veto';
      namespace: string;
      kind: VetoKind;
    }
  | {
      type: 'put' | 'deletion' | 'eviction' | 'expiration' | 'rejection';
      namespace: string;
      count: number;
    };

/**
 * Why there was no answer. `no-match`: the namespace is empty, or what is similar enough is expired
 * or refused. `too-old`: see `maxAgeSeconds`. `low-confidence`: see `decay` and `confidence`.
 * `vetoed`: an entry is similar enough, and its question says something else; see `vetoes`.
 * `unverified`: one was about to answer, and `verify` said no. `verifier-failure`: or it failed.
 * `unproven`: an entry is near, and the labels do not open the error bound for it. `explored`: one could
 * answer, and is refused to get a label; see `errorBound`.
 * `unreadable`: the embedder cut the text, or mostly does not know it (see `allowUnreadable`), or the
 * text is blank.
 */
export type MissReason =
  | 'bypass'
  | 'below-threshold'
  | 'no-match'
  | 'too-old'
  | 'low-confidence'
  | 'vetoed'
  | 'unverified'
  | 'verifier-failure'
  | 'unproven'
  | 'explored'
  | 'unreadable'
  | 'dim-mismatch'
  | 'embedder-failure';

/** What the cache was doing when something failed that no caller hears of. */
export interface ErrorContext {
  /**
   * `embed`: the embedder failed, so the exact layer alone answered. `look-up`: `getOrCompute`
   * could not look the question up, and computes. `keep`: what it computed was not kept. `verify`:
   * the verifier failed, so a candidate did not answer. `link`: it said yes afterwards, and the
   * question could not be linked to the answer. `label`: what it computed was not compared with the nearest
   * answer, or the label was refused; see `sameAnswer`. The others: a function of the options threw.
   */
  during: 'embed' | 'look-up' | 'keep' | 'verify' | 'link' | 'label' | 'onEvent' | 'onProgress';
}

/** The most UTF-8 bytes of the texts of an entry. */
export interface Limits {
  query?: number | undefined;
  response?: number | undefined;
  metadata?: number | undefined;
}

/** The most bytes of the texts of an entry, and of all entries. */
export interface CacheLimits extends Limits {
  /**
   * The most bytes of all entries together, at least 1: their texts, tags, metadata and vectors. What
   * this cache has not stored itself is estimated from a sample, so leave some room. A put beyond it
   * evicts, as one beyond `maxEntries`. Default null: any number.
   */
  total?: number | null | undefined;
}

/** How a cache behaves. Only `store` and `embedder` are required. Durations are in seconds. */
export interface CacheOptions {
  /** Where entries are kept. One cache uses it at a time. */
  store: Store;
  /** Makes the vectors. */
  embedder: Embedder;
  /** The least similarity of a semantic hit, -1 to 1. Default 0.85. */
  similarityThreshold?: number | undefined;
  /** The lifetime of entries that are put without one. Default null: unlimited. */
  defaultTtlSeconds?: number | null | undefined;
  /** The most entries in all namespaces together, at least 1. Default null: any number. */
  maxEntries?: number | null | undefined;
  /**
   * Quotas to set at opening, once, by namespace. Later changes hold: those of
   * `setNamespaceQuota`, and those of an archive that is loaded. Where the archive has no quota for
   * the namespace, the one that it has stays.
   */
  namespaceQuotas?: Record<string, number> | undefined;
  /**
   * Trusts old answers less: a candidate's confidence is its similarity, halved every
   * `halfLifeSeconds` (default 86,400), and below `cutOff` (default 0.7) it is refused. Default:
   * off, so that answers end by their lifetime alone.
   */
  decay?: { halfLifeSeconds?: number | undefined; cutOff?: number | undefined } | null | undefined;
  /**
   * Your own measure of confidence in place of `decay`: `compute` returns 0 to 1, and candidates
   * below `cutOff` (default 0.7) are refused.
   */
  confidence?:
    | {
        compute: (
          similarity: number,
          ageSeconds: number,
          metadata: Record<string, unknown>,
        ) => number;
        cutOff?: number | undefined;
      }
    | null
    | undefined;
  /**
   * Which responses may answer semantically, and which computed ones are kept. Default `builtin`,
   * which refuses blank responses and those that begin with `[LLM Error]` or `[ERROR]`. A function
   * returns true or false, and no promise.
   */
  validator?: 'builtin' | 'none' | ((candidate: Candidate) => boolean) | undefined;
  /**
   * Which reasons in the words keep an entry that is similar enough from answering: `turn on` is no
   * answer to `turn off`. An entry with a veto stays, and the next one is judged; after the fourth the
   * question misses as `vetoed`. The rules know English, and leave other languages alone. Default
   * `default`: all kinds but `names` and `question-word`, which are often wrong.
   */
  vetoes?: Vetoes | undefined;
  /**
   * Asked about the one candidate that is about to answer by meaning: whether its response answers the
   * query. Such as a language model. If it says no, the question misses as `unverified`; `unknown`
   * leaves it to the similarity. If it throws, returns something else, or takes too long, the question
   * misses as `verifier-failure`, and `onError` hears of a {@link VerifierError}. Nothing is deleted.
   * It may return a promise: other calls go on meanwhile. After three failures in a row, or one
   * time-out, it is left alone for a second, and longer if that goes on, and questions miss at once.
   * Exact answers are not verified. Default: nobody is asked.
   */
  verify?: Verifier | undefined;
  /**
   * The verify band: entries below the threshold, and at least so similar (-1 to 1), answer if `verify`
   * says yes. Default: none do.
   */
  verifyBand?: number | undefined;
  /**
   * Whether entries of the verify band are verified afterwards. The question misses at once; if `verify`
   * then says yes, and the question has no answer by that time, it is linked to the entry's answer, and
   * hits exactly next time. At most 256 wait for that; the others are verified when they are asked
   * again. What is under way when the cache closes is given up. Default false: the question waits.
   */
  verifyLater?: boolean | undefined;
  /** How long one call of `verify` may take. Then `signal` is aborted, and it has failed. Default 10. */
  verifyTimeoutSeconds?: number | undefined;
  /** The most calls of `verify` at a time, at least 1; further ones wait. Default 16. */
  verifyConcurrency?: number | undefined;
  /**
   * Lets labels decide which entries answer by meaning, so that at most a share of these answers is
   * wrong: `{}` is a bound of 5 %. Until some 200 labels say that answers are right, nothing
   * answers by meaning. `getOrCompute` labels what it computes, see `sameAnswer`; `feedback` labels what
   * the program finds out itself. Each namespace has its labels. `stats` of a namespace says why
   * nothing is open. Tickets are signed with a key that the store keeps. Default: no bound, and
   * `similarityThreshold` decides.
   */
  errorBound?: ErrorBound | null | undefined;
  /**
   * How `getOrCompute` compares the response that it has computed and kept with that of the nearest
   * entry, for a label. It may take as long as `embedder.timeoutSeconds` (default 10), what waits
   * in line included; at most 16 run at a time, and the caller waits that long for its response. If it
   * fails or returns something else there is no label, and `onError` hears of it; after three
   * failures in a row, or one time-out, it is left alone as `verify` is. Default: responses that are
   * equal after normalisation are the `same`, and all others `unknown`, which counts as wrong. So give one
   * with free-text answers, which are hardly ever equal: without it nothing opens. Only with `errorBound`.
   */
  sameAnswer?: SameAnswer | undefined;
  /** Called with each event, after it happened. */
  onEvent?: ((event: CacheEvent) => void) | undefined;
  /**
   * Called with failures that no caller hears of. Without it, the first of each kind is a warning
   * of the console.
   */
  onError?: ((error: unknown, context: ErrorContext) => void) | undefined;
  /** Default `float32`. */
  vectorDtype?: VectorDtype | undefined;
  /** Default `auto`. */
  index?: IndexKind | undefined;
  /** Graphs, if `index` is `hnsw`: numbers from 1 to 10,000, default 100; heuristic false. */
  graph?:
    | {
        efSearch?: number | undefined;
        efConstruction?: number | undefined;
        heuristic?: boolean | undefined;
      }
    | undefined;
  /** Whether the store keeps the index, so that the next open is fast. Default true. */
  persistIndex?: boolean | undefined;
  /**
   * How old the cache's knowledge of a store may be that others write to; 0: it looks for changes
   * before every semantic look-up, unless it rests: ten times as long as following changes took, of
   * which up to a second is put off. Default 0 for a store that others can open at the same time.
   * Null: nobody else writes.
   */
  staleSeconds?: number | null | undefined;
  /**
   * Whether queries are normalised before comparing: white space collapsed, case folded. Default
   * true. False keeps them as they are, for code and other texts in which case matters.
   */
  normalize?: boolean | undefined;
  /**
   * Whether texts that the embedder cut, or mostly does not know, are compared by meaning all the
   * same. Default false: the exact layer alone answers them.
   */
  allowUnreadable?: boolean | undefined;
  /** Limits in UTF-8 bytes. Defaults 32 KiB, 4 MiB and 64 KiB; `total`: none. */
  maxBytes?: CacheLimits | undefined;
  /** The number of hits whose access data may wait in memory. Default 128. */
  touchLimit?: number | undefined;
  /** How long access data may wait in memory. Default 5. */
  touchIntervalSeconds?: number | undefined;
  /**
   * How long a call of the store may take that returns a promise; ten times as long if it works on
   * all data. Default 30; null: for ever. After that the call has failed, and for a second (longer
   * if it goes on) further ones fail at once.
   */
  storeTimeoutSeconds?: number | null | undefined;
  /** The clock: milliseconds since the Unix epoch. Default `Date.now`. */
  now?: (() => number) | undefined;
}

const CACHE: Names<CacheOptions> = {
  store: true,
  embedder: true,
  similarityThreshold: true,
  defaultTtlSeconds: true,
  maxEntries: true,
  namespaceQuotas: true,
  decay: true,
  confidence: true,
  validator: true,
  vetoes: true,
  verify: true,
  verifyBand: true,
  verifyLater: true,
  verifyTimeoutSeconds: true,
  verifyConcurrency: true,
  errorBound: true,
  sameAnswer: true,
  onEvent: true,
  onError: true,
  vectorDtype: true,
  index: true,
  graph: true,
  persistIndex: true,
  staleSeconds: true,
  normalize: true,
  allowUnreadable: true,
  maxBytes: true,
  touchLimit: true,
  touchIntervalSeconds: true,
  storeTimeoutSeconds: true,
  now: true,
};

const EMBEDDER: Names<Embedder> = {
  fingerprint: true,
  dimensions: true,
  maxBatch: true,
  concurrency: true,
  timeoutSeconds: true,
  retries: true,
  embed: true,
};

/** Refuses what is no store, no embedder, and no option. */
export function checkOptions(given: CacheOptions): CacheOptions {
  const options = known(given, CACHE, 'SemanticCache.open');
  const { store, embedder } = options;
  if (typeof embedder === 'object' && embedder !== null) {
    refuseNear(embedder, EMBEDDER, 'the embedder');
  }
  if (typeof store?.capabilities !== 'function') {
    throw new InvalidArgumentError('options.store is not a store; give one, such as memory()');
  }
  if (typeof embedder?.fingerprint !== 'string' || typeof embedder.dimensions !== 'number') {
    throw new InvalidArgumentError(
      'options.embedder is not an embedder; give an object with fingerprint, dimensions and embed',
    );
  }
  for (const name of ['verify', 'onEvent', 'onError', 'now'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') {
      throw new InvalidArgumentError(`${name} is of type ${typeof options[name]}; give a function`);
    }
  }
  return options;
}
