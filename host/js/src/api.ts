/** What the cache is asked, and what it answers. */

import type { ArchiveSink } from './archive.js';
import type { MissReason, Vector, VectorDtype } from './options.js';
import type { ImportMode } from './store.js';

/** The namespace of calls that name none. */
export const DEFAULT_NAMESPACE = 'default';

/** What a question may come with. */
export interface GetOptions {
  /** 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string;
  /** The query's vector, so that the embedder is not asked. It is scaled to unit length. */
  embedding?: Vector;
  /** Replaces the cache's similarity threshold: -1 to 1. */
  threshold?: number;
  /** Misses at once, and counts the miss. */
  bypass?: boolean;
  /** Stops the waiting. What the component has begun is finished all the same. */
  signal?: AbortSignal;
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
  layer: 'exact' | 'semantic';
  /** Cosine of the embeddings, -1 to 1; 1 in the exact layer. */
  similarity: number;
  /** 0 to 1. */
  confidence: number;
  ageSeconds: number;
  /** The query that the answer was stored under. */
  query: string;
  /** The store's id of the entry. */
  id: number;
}

/** No answer. */
export interface Miss {
  reason: MissReason;
  /** What the embedder threw, where it failed. */
  embedderError?: unknown;
}

/** What came of a question: one of the two. */
export type Lookup = { hit: Hit; miss?: undefined } | { hit?: undefined; miss: Miss };

/** What `explain` may come with. */
export interface ExplainOptions extends GetOptions {
  /** How many of the nearest entries to show, 1 to 1,000. Default 10. */
  limit?: number;
}

/**
 * What is found of one entry: the first that applies, in this order, but for `outranked`, which
 * is `answers` of an entry that another one is preferred to.
 */
export type Verdict =
  'answers' | 'outranked' | 'below-threshold' | 'expired' | 'low-confidence' | 'refused';

/** An entry, and what speaks for and against it as an answer. */
export interface JudgedEntry {
  id: number;
  /** The query that the answer was stored under. */
  query: string;
  response: string;
  metadata: Record<string, unknown>;
  /** Cosine of the embeddings, -1 to 1; 1 in the exact layer. */
  similarity: number;
  /** 0 to 1. */
  confidence: number;
  ageSeconds: number;
  /** Lifetime in seconds; undefined: unlimited. */
  ttl: number | undefined;
  /** Whether the validator would let it answer; true in the exact layer, where it is not asked. */
  accepted: boolean;
  verdict: Verdict;
}

/** Why a question is answered as it is. */
export interface Explanation {
  namespace: string;
  /** What was compared and embedded, and its SHA-256. */
  normalized: { text: string; hash: string };
  /** The similarity that was asked for. */
  threshold: number;
  /** The confidence that was asked for. */
  cutOff: number;
  /** The entry of the exact layer, expired or not. */
  exact: JudgedEntry | undefined;
  /** The nearest other entries, the most similar first. */
  candidates: JudgedEntry[];
  /** Entries of the namespace that the index holds. */
  rows: number;
  /** Who would answer, or why nobody. */
  outcome: { layer: Hit['layer']; reason?: undefined } | { layer?: undefined; reason: MissReason };
  /** What the embedder threw, where it failed: there are no candidates then. */
  embedderError?: unknown;
}

/** What a response may be stored with. */
export interface PutOptions {
  /** 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string;
  /** The query's vector, so that the embedder is not asked. It is scaled to unit length. */
  embedding?: Vector;
  /** Lifetime in seconds; null: unlimited. Default: the cache's `defaultTtl`. */
  ttl?: number | null;
  /** Kept with the response, as JSON. */
  metadata?: Record<string, unknown>;
  /** Stops the waiting. What the component has begun is finished all the same. */
  signal?: AbortSignal;
}

/** One of several responses to store. */
export interface Answer extends Omit<PutOptions, 'signal'> {
  query: string;
  response: string;
}

/** An answer found or computed. */
export interface Resolved {
  response: string;
  /** `shared`: computed for another caller, who asked the same at the same time. */
  origin: 'cache' | 'computed' | 'shared';
  /** Where it came from the cache. */
  hit?: Hit;
  /** Where it was computed: why it could not be looked up or stored. */
  cacheError?: unknown;
}

/** What happened in a namespace since it was last cleared. */
export interface Counters {
  hitsExact: number;
  hitsSemantic: number;
  misses: number;
  evictions: number;
  expirations: number;
}

/** The state of the cache, or of one namespace. */
export interface Stats {
  namespace: string | undefined;
  entries: number;
  counters: Counters;
  /** One for each namespace that has entries, a quota or counters, sorted. */
  namespaces: {
    namespace: string;
    entries: number;
    quota: number | undefined;
    counters: Counters;
  }[];
  maxEntries: number | undefined;
  similarityThreshold: number;
  embedderFingerprint: string;
  embedderDim: number;
  vectorDtype: VectorDtype;
  indexLoaded: boolean;
  /** Rows that the index answers with, in all namespaces. */
  indexRows: number;
  indexBytes: number;
  /** Deleted rows that `compact` would give back. */
  indexTombstones: number;
  /** Rows that a scan can rule out by codes. */
  indexCodedRows: number;
  /** Rows whose vectors are in memory. */
  indexResidentRows: number;
  /** Rows that are in a graph. */
  indexGraphRows: number;
  /** Share of the coded rows that codes did not rule out lately. */
  indexPassRate: number;
}

/** What a look at the store found. */
export interface Health {
  healthy: boolean;
  integrityOk: boolean;
  problems: string[];
  entries: number;
  namespaces: number;
  oldestEntryAgeSeconds: number | undefined;
  store: string;
  embedderFingerprint: string;
  vectorDtype: VectorDtype;
  /** Undefined where nobody else writes. */
  staleMs: number | undefined;
}

/** How to dump. */
export interface DumpOptions {
  /** Where the bytes go. Without it they are returned as a Blob. */
  to?: ArchiveSink;
  /** Default: native where the store has snapshots, or else portable. */
  layout?: 'native' | 'portable';
  /** Default `gzip`. */
  compression?: 'gzip' | 'zstd';
  /** Of gzip, 0 to 9. Default 1. */
  level?: number;
  /** Hears from time to time how far it is. */
  onProgress?: (done: number, total: number | undefined, unit: 'bytes' | 'entries') => void;
}

/** What was dumped. */
export interface DumpReport {
  layout: 'native' | 'portable';
  /** Undefined for a native archive. */
  entries: number | undefined;
  /** Before compression. */
  bytes: number;
  compressedBytes: number;
  /** Whether all of it was read at one instant. */
  consistent: boolean;
  /** The archive, where the options name no place for it. */
  archive?: Blob;
}

/** How to load. */
export interface LoadOptions {
  /** What becomes of present data: refuse if there is any (default), add, replace. */
  mode?: ImportMode;
  /** Takes only these, by their names in the archive. */
  namespaces?: string[];
  /** Put before every namespace's name. */
  namespacePrefix?: string;
  /** Default `keep`; null: none expires; seconds: all get this; `{ atMost }`: longer ones do. */
  ttl?: 'keep' | null | number | { atMost: number };
  /** Instead of the archive's, by the names in the cache. */
  quotas?: Record<string, number>;
  /** The cache's cap from now on. */
  maxEntries?: number;
  /** How the index holds vectors from now on. */
  vectorDtype?: VectorDtype;
  /** The most bytes that one byte may become, past the first 64 MiB. Default 200. */
  maxExpansion?: number;
  /** Hears from time to time how far it is. */
  onProgress?: (done: number, total: number | undefined, unit: 'bytes' | 'entries') => void;
}

/** What an archive says of itself. */
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
  /** Of other namespaces. */
  skipped: number;
  evicted: number;
}
