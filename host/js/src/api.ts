/** The requests and answers of the cache. */

import type { ArchiveSink } from './archive.js';
import type { BoundReport } from './bound.js';
import type { Candidate, MissReason, Vector, VectorDtype } from './options.js';
import type { ImportMode } from './store.js';
import type { Verification, Veto, VetoCounts, Vetoes } from './trust.js';

/** The namespace of calls that do not name one. */
export const DEFAULT_NAMESPACE = 'default';

/** Options of a question. */
export interface GetOptions {
  /** 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string | undefined;
  /**
   * What the answer depends on beside the question: a model, a system prompt, earlier turns. Only
   * entries of an equal context answer. 0 to 1,024 bytes without NUL: hash what is longer. Default ''.
   */
  context?: string | undefined;
  /** Only entries that carry each of these tags answer. At most 32, each once. */
  tags?: string[] | undefined;
  /** The query's vector, so that the embedder is not asked. It is scaled to unit length. */
  embedding?: Vector | undefined;
  /** Replaces the cache's similarity threshold: -1 to 1. */
  threshold?: number | undefined;
  /** Takes only answers that were stored at most so many seconds ago. Default: of any age. */
  maxAgeSeconds?: number | undefined;
  /** Asks the exact layer only, and does not ask the embedder. Not with `embedding`. */
  exactOnly?: boolean | undefined;
  /** Misses at once, and counts the miss. */
  bypass?: boolean | undefined;
  /** Replaces the cache's option `vetoes`. */
  vetoes?: Vetoes | undefined;
  /** Stops the waiting. The component still finishes what it has begun. */
  signal?: AbortSignal | undefined;
}

/** One of several questions. */
export interface Question extends Omit<GetOptions, 'signal'> {
  query: string;
}

/** An answer. */
export interface Hit {
  response: string;
  metadata: Record<string, unknown>;
  namespace: string;
  context: string;
  /** Sorted by their UTF-8 bytes. */
  tags: string[];
  layer: 'exact' | 'semantic';
  /** Cosine of the embeddings, -1 to 1; 1 in the exact layer. */
  similarity: number;
  /** 0 to 1. */
  confidence: number;
  ageSeconds: number;
  /** When the response was stored, to the second. */
  createdAt: Date;
  /** Seconds until the entry expires, at least 1; undefined: it does not. */
  ttlLeftSeconds: number | undefined;
  /** The query that the answer was stored under. */
  query: string;
  /** The store's id of the entry. */
  id: number;
  /** With the option `errorBound`, of a semantic answer: what `feedback` takes. */
  ticket: string | undefined;
}

/** What is compared with the right response, and what `feedback` takes. */
export interface Nearest {
  candidate: Candidate;
  ticket: string;
}

/** No answer. */
export interface Miss {
  reason: MissReason;
  /**
   * With the option `errorBound`: the candidate to compare with the response that is computed now.
   * Undefined where nothing is near.
   */
  nearest?: Nearest;
  /** What the embedder threw, if it failed. */
  embedderError?: unknown;
}

/** The result of a question: one of the two. */
export type Lookup = { hit: Hit; miss?: undefined } | { hit?: undefined; miss: Miss };

/** Options of `explain`. */
export interface ExplainOptions extends GetOptions {
  /** How many of the nearest entries to show, 1 to 1,000. Default 10. */
  limit?: number | undefined;
}

/**
 * What `explain` says about one entry. `outranked` could answer, but another entry does. `untried`
 * could too, but look-ups give up after four candidates with a veto. `unproven`: the labels do not
 * open the error bound for its score. `explored`: it could answer, and is refused to get a label. If
 * several of the others apply, the first in this order.
 */
export type Verdict =
  | 'answers'
  | 'outranked'
  | 'untried'
  | 'below-threshold'
  | 'expired'
  | 'other-tags'
  | 'too-old'
  | 'vetoed'
  | 'refused'
  | 'low-confidence'
  | 'unverified'
  | 'unproven'
  | 'explored';

/** An entry, with everything that decides whether it answers. */
export interface JudgedEntry {
  id: number;
  /** The query that the answer was stored under. */
  query: string;
  response: string;
  metadata: Record<string, unknown>;
  tags: string[];
  /** Cosine of the embeddings, -1 to 1; 1 in the exact layer. */
  similarity: number;
  /** 0 to 1. */
  confidence: number;
  ageSeconds: number;
  /** Lifetime; undefined: unlimited. */
  ttlSeconds: number | undefined;
  /** Whether the validator would let it answer; always true in the exact layer. */
  accepted: boolean;
  /**
   * Why it must not answer this question, of the kinds that are looked for. Always empty in the exact
   * layer.
   */
  vetoes: Veto[];
  /**
   * Whether a question was longer than 8 KiB or 2,048 words: only the first and the last part of it
   * were compared, 4 KiB each at most.
   */
  partial: boolean;
  verdict: Verdict;
}

/** Why a question is answered as it is. */
export interface Explanation {
  namespace: string;
  context: string;
  /** The text that was compared and embedded, and the hash of that and of the context. */
  normalized: { text: string; hash: string };
  /** The least similarity of an answer. */
  threshold: number;
  /** The least confidence of an answer. */
  cutOff: number;
  /** The least similarity of what is verified; undefined: nothing is. See the option `verify`. */
  verifiedFrom: number | undefined;
  /** The score from which entries answer, see `errorBound`; undefined: without it, or none does. */
  openFrom: number | undefined;
  /** With the option `errorBound`: the score of the entry that it judges; undefined: there is none. */
  score: number | undefined;
  /** What the verifier said about the candidate that is about to answer, if it was asked. */
  verification: Verification | undefined;
  /** The entry of the exact layer, expired or not. */
  exact: JudgedEntry | undefined;
  /** The nearest other entries, most similar first. */
  candidates: JudgedEntry[];
  /** The number of entries of the namespace and context that the index holds. */
  rows: number;
  /** Which layer would answer, or why none would. */
  outcome: { layer: Hit['layer']; reason?: undefined } | { layer?: undefined; reason: MissReason };
  /** What the embedder threw, if it failed. Then there are no candidates. */
  embedderError?: unknown;
}

/** Which version of which entry a query is linked to. A hit and a `Candidate` have the last two. */
export interface LinkOptions {
  /** 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string | undefined;
  /** The context of the query and the entry; see {@link GetOptions.context}. Default ''. */
  context?: string | undefined;
  /** The store's id of the entry. */
  id: number;
  /** When the entry was stored. */
  createdAt: Date;
}

/** Options of a response to store. */
export interface PutOptions {
  /** 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string | undefined;
  /** What the response depends on beside the query; see {@link GetOptions.context}. Default ''. */
  context?: string | undefined;
  /**
   * Labels to ask and erase by, such as the documents or the user that the response was made from. At
   * most 32 of 1 to 128 bytes without NUL, each once. They replace those of the entry that is replaced.
   */
  tags?: string[] | undefined;
  /** The query's vector, so that the embedder is not asked. It is scaled to unit length. */
  embedding?: Vector | undefined;
  /** Lifetime; null: unlimited. Default: the cache's `defaultTtlSeconds`. */
  ttlSeconds?: number | null | undefined;
  /** Stored with the response, as JSON. */
  metadata?: Record<string, unknown> | undefined;
  /**
   * Stores no vector of the query, and does not ask the embedder: only the exact layer finds the
   * response. Not with `embedding`. Default false.
   */
  exactOnly?: boolean | undefined;
  /**
   * Whether a response that the validator refuses is not stored; the result is then a `refused` error.
   * For responses that may be failures. Default false.
   */
  validate?: boolean | undefined;
  /** Stops the waiting. The component still finishes what it has begun. */
  signal?: AbortSignal | undefined;
}

/** One of several responses to store. */
export interface Answer extends Omit<PutOptions, 'signal'> {
  query: string;
  response: string;
}

/** Options of `getOrCompute`. */
export interface ComputeOptions extends GetOptions {
  /**
   * Only entries that carry each of these tags answer, and what is computed is stored with them. At
   * most 32 of 1 to 128 bytes without NUL, each once.
   */
  tags?: string[] | undefined;
  /** Lifetime; null: unlimited. Default: the cache's `defaultTtlSeconds`. */
  ttlSeconds?: number | null | undefined;
  /** Stored with the answer, as JSON. */
  metadata?: Record<string, unknown> | undefined;
}

/** What a computation may say about its answer. */
export interface Computing {
  /** Stores the answer with these tags, beside those that were asked for. Each may come again. */
  tag(...tags: string[]): void;
}

/** An answer found or computed. */
export interface Resolved<T> {
  /** What was computed, now or earlier. Callers who share a computation share the value. */
  value: T;
  /** `shared`: computed for another caller, who asked the same question at the same time. */
  origin: 'cache' | 'computed' | 'shared';
  /** The hit, if the answer came from the cache. */
  hit?: Hit;
  /** If it was computed: why it is not kept. That a look-up failed is told to `onError`. */
  cacheError?: unknown;
}

/** Which entries are meant: those that meet every condition. */
export interface EntryFilter {
  namespace?: string | undefined;
  /** The empty context is one of them; undefined: any. */
  context?: string | undefined;
  /** Entries that carry each of these tags. At most 32. */
  tags?: string[] | undefined;
  /**
   * Entries of this query, compared after normalisation. With a namespace and a context one entry is
   * looked up; otherwise all entries that meet the other conditions are read.
   */
  query?: string | undefined;
  /** Entries with these ids, at most 1,024. */
  ids?: number[] | undefined;
  /** Entries that were stored at least so many seconds ago. */
  minAgeSeconds?: number | undefined;
  /** Entries that were stored at most so many seconds ago. */
  maxAgeSeconds?: number | undefined;
}

/** Which entries to erase: those that meet every condition, or `{ everything: true }`. */
export interface EraseFilter extends EntryFilter {
  /** Whether all entries are meant. Not with a condition. Default false. */
  everything?: boolean | undefined;
}

/** Options of `erase`. */
export interface EraseOptions {
  /** Whether nothing is deleted, and the receipt says what would be. Default false. */
  dryRun?: boolean | undefined;
}

/** What an erasure has deleted, or would delete. */
export interface Receipt {
  /** The ids of the entries, ascending. */
  ids: number[];
  /** The store's version counter before. It moves with every write, those of others included. */
  versionBefore: number;
  /** The store's version counter after it. */
  versionAfter: number;
}

/** Options of `listEntries`. */
export interface ListOptions {
  /** Lists entries with ids above this one: the `next` of the page before. Default 0. */
  after?: number | undefined;
  /** The most entries of a page, 1 to 1,024. Default 100. */
  limit?: number | undefined;
}

/** An entry of a list. */
export interface ListedEntry {
  /** The store's id of the entry. */
  id: number;
  namespace: string;
  context: string;
  /** The query that the response was stored under. */
  query: string;
  /** SHA-256 of the normalised query, and of a byte 0xFF and the context behind it where that is not empty. */
  queryHash: string;
  response: string;
  metadata: Record<string, unknown>;
  tags: string[];
  /** When the response was stored, to the second. */
  createdAt: Date;
  /** When the entry last answered a query, or was stored. */
  lastAccessedAt: Date;
  /** Lifetime; undefined: unlimited. Expired entries are listed too. */
  ttlSeconds: number | undefined;
  /** How many queries the entry has answered since it was stored. */
  accessCount: number;
}

/** A part of a list of entries. */
export interface EntryPage {
  /** Ascending by id. There may be few, even none, and more to come. */
  entries: ListedEntry[];
  /** What to pass as `after` for the next page; undefined at the end. */
  next: number | undefined;
}

/** What happened in a namespace since it was last cleared. */
export interface Counters {
  hitsExact: number;
  hitsSemantic: number;
  misses: number;
  /** A part of `misses`: an entry could answer, and was refused to get a label; see `errorBound`. */
  explored: number;
  evictions: number;
  expirations: number;
  /** How many candidates of look-ups had a veto of each kind. */
  vetoes: VetoCounts;
}

/** The state of the cache, or of one namespace. */
export interface Stats {
  namespace: string | undefined;
  entries: number;
  counters: Counters;
  /** One for each namespace that has entries, a quota or counters, sorted; at most the first 65,536. */
  namespaces: {
    namespace: string;
    entries: number;
    quota: number | undefined;
    counters: Counters;
  }[];
  /** How many such namespaces there are. */
  namespaceCount: number;
  maxEntries: number | undefined;
  /** The cap of the bytes of all entries, `maxBytes.total`. */
  maxBytes: number | undefined;
  /** The bytes that it limits, partly estimated. Undefined if they are not known. */
  bytes: number | undefined;
  /** What the labels of the namespace say. Undefined without the option `errorBound`, and of all. */
  bound: BoundReport | undefined;
  similarityThreshold: number;
  embedderFingerprint: string;
  embedderDim: number;
  vectorDtype: VectorDtype;
  indexLoaded: boolean;
  /** The number of rows that the index answers with, in all namespaces. */
  indexRows: number;
  indexBytes: number;
  /** The number of deleted rows whose memory `compact` would free. */
  indexTombstones: number;
  /** The number of rows that a scan can rule out by codes. */
  indexCodedRows: number;
  /** The number of rows whose vectors are in memory. */
  indexResidentRows: number;
  /** The number of rows in a graph. */
  indexGraphRows: number;
  /** The share of the coded rows that the codes did not rule out lately. */
  indexPassRate: number;
}

/** Options of `health`. */
export interface HealthOptions {
  /** Whether all data is checked. Default false. */
  deep?: boolean | undefined;
}

/** The result of a check of the store. */
export interface Health {
  healthy: boolean;
  /** Whether the store answers, and still holds the data of this embedder. */
  storeOk: boolean;
  problems: string[];
  /** What only a check of all data finds. What could not be read is 0 or undefined. */
  deep:
    | {
        integrityOk: boolean | undefined;
        entries: number;
        namespaces: number;
        oldestEntryAgeSeconds: number | undefined;
      }
    | undefined;
  store: string;
  embedderFingerprint: string;
  vectorDtype: VectorDtype;
  /** See the option of that name; undefined if nobody else writes. */
  staleSeconds: number | undefined;
}

/** How to dump. */
export interface DumpOptions {
  /** Where the bytes go; see `dump` for what is verified. Default: they are returned as a Blob. */
  to?: ArchiveSink | undefined;
  /** Default: native if the store has snapshots, or else portable. */
  layout?: 'native' | 'portable' | undefined;
  /** Default `gzip`. */
  compression?: 'gzip' | 'zstd' | undefined;
  /** The level of gzip, 0 to 9. Default 1. */
  level?: number | undefined;
  /** Called with the progress, from time to time. */
  onProgress?:
    ((done: number, total: number | undefined, unit: 'bytes' | 'entries') => void) | undefined;
}

/** What was dumped. */
export interface DumpReport {
  layout: 'native' | 'portable';
  /** The number of entries; undefined for a native archive. */
  entries: number | undefined;
  /** The number of bytes before compression. */
  bytes: number;
  compressedBytes: number;
  /** Whether all data was read at one instant. */
  consistent: boolean;
  /** The archive, if the options do not name a place for it. */
  archive?: Blob;
}

/** How to load. */
export interface LoadOptions {
  /** What to do with present data: refuse if there is any (default), add, replace. */
  mode?: ImportMode | undefined;
  /** Takes only these namespaces, by their names in the archive. */
  namespaces?: string[] | undefined;
  /** A prefix for every namespace's name. */
  namespacePrefix?: string | undefined;
  /**
   * Lifetimes. Default `keep`; null: no entry expires; a number: all entries get this many
   * seconds; `{ atMost }`: only longer lifetimes are shortened to it.
   */
  ttlSeconds?: 'keep' | null | number | { atMost: number } | undefined;
  /** Quotas in place of the archive's, by the names in the cache. */
  quotas?: Record<string, number> | undefined;
  /** The cache's cap from now on. */
  maxEntries?: number | undefined;
  /** How the index holds vectors from now on. */
  vectorDtype?: VectorDtype | undefined;
  /** The most bytes that one byte may decompress to, past the first 64 MiB. Default 128. */
  maxExpansion?: number | undefined;
  /** Called with the progress, from time to time. */
  onProgress?:
    ((done: number, total: number | undefined, unit: 'bytes' | 'entries') => void) | undefined;
}

/** What an archive says about itself. */
export interface Manifest {
  formatVersion: number;
  schemaVersion: number;
  embedderFingerprint: string;
  embedderDim: number;
  layout: 'native' | 'portable';
  store: string;
  vectorDtype: VectorDtype;
  createdAt: number;
  namespaces: string[];
  writtenBy: string | undefined;
  consistent: boolean;
}

/** What was loaded. */
export interface LoadReport {
  manifest: Manifest;
  entries: number;
  /** The number of entries skipped, because they belong to other namespaces. */
  skipped: number;
  evicted: number;
}

/** Options of `vacuum`. */
export interface VacuumOptions {
  /** Default: all namespaces. */
  namespace?: string | undefined;
  /** Whether the index is compacted afterwards. Default false. */
  compact?: boolean | undefined;
}
