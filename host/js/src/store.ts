/**
 * The store interface: what a backend implements to hold a cache's entries.
 *
 * It is the `store` interface of the component's contract, with numbers for integers.
 * `wit/store.wit` has the six invariants that every store keeps. `npx mneme-cache-wasm
 * conformance ./my-store.js` judges a store.
 */

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>;

/** One cached answer. Times are Unix seconds, lifetimes seconds. */
export interface Entry {
  /** Assigned by the store, from 1 upwards, and never reused for another entry. */
  id: number;
  namespace: string;
  /** What the answer depends on beside the query: 0 to 1,024 bytes, compared byte for byte. */
  context: string;
  /**
   * SHA-256 of the normalised query, and of a byte 0xFF and the context behind it where that is not empty:
   * 64 lowercase hexadecimal digits. Unique within a namespace.
   */
  queryHash: string;
  /** The query as it was given, before normalisation. */
  query: string;
  response: string;
  /**
   * A vector of unit length, with as many values as the store was opened with. Empty in an entry
   * that is read without its vector.
   */
  embedding: Float32Array;
  /** One JSON object, as text. */
  metadata: string;
  /** Labels: at most 32, each once, sorted by their UTF-8 bytes. Kept as they are given. */
  tags: string[];
  createdAt: number;
  lastAccessedAt: number;
  /** Lifetime from `createdAt`; undefined is unlimited. */
  ttl: number | undefined;
  accessCount: number;
}

/** Names one entry by namespace and hash. */
export interface EntryKey {
  namespace: string;
  queryHash: string;
}

/** Which entries are meant: those that meet every condition. */
export interface Filter {
  namespace: string | undefined;
  /** The empty context is one of them; undefined: any. */
  context: string | undefined;
  /** Entries that carry each of these. */
  tags: string[];
  /** Entries with `createdAt` at or after this. */
  createdFrom: number | undefined;
  /** Entries with `createdAt` before this. */
  createdBefore: number | undefined;
}

/** A part of the entries that meet a filter. */
export interface Selection {
  /** Ascending by id. */
  entries: EntryRef[];
  /** After which id to go on: at least the last id of `entries`. Undefined at the end. */
  next: number | undefined;
}

/** What one write did to one entry. */
export interface Change {
  /** The version counter after the write. */
  version: number;
  id: number;
  /** Whether the entry was deleted. Otherwise it was stored or replaced. */
  deleted: boolean;
}

/** A part of the log of changes. */
export interface ChangePage {
  /** Ascending by version. */
  changes: Change[];
  /** The value of the version counter up to which these are all changes. */
  version: number;
}

/** What {@link Store.nearest} looks for. */
export interface VectorQuery {
  namespace: string;
  context: string;
  /** The entry carries all of these tags. */
  tags: string[];
  /** The entry is not expired at this time; undefined: expired ones are found too. */
  freshAt: number | undefined;
  /** A unit vector. */
  vector: Float32Array;
}

/** An entry that {@link Store.nearest} has found. */
export interface Neighbour {
  id: number;
  /** The cosine similarity of the two vectors, within 0.01. */
  similarity: number;
}

/** Names one version of an entry: a replacement keeps the id and changes `createdAt`. */
export interface EntryRef {
  id: number;
  namespace: string;
  createdAt: number;
}

/** Several hits on one entry. */
export interface Touch {
  id: number;
  /** Added to `accessCount`. */
  hits: number;
  /** `lastAccessedAt` becomes the later of this and its old value. */
  lastAccessedAt: number;
}

/** What `insert` did with one entry. */
export interface Inserted {
  id: number;
  /** Whether a row with the same namespace and hash was replaced. */
  replaced: boolean;
}

/** A page of vectors: one item for each row in each list, `dim` values in `vectors`. */
export interface VectorPage {
  ids: ArrayLike<number>;
  namespaces: string[];
  contexts: string[];
  createdAt: ArrayLike<number>;
  vectors: Float32Array;
}

/** A page of ids with their `createdAt`. */
export interface StampPage {
  ids: ArrayLike<number>;
  createdAt: ArrayLike<number>;
}

/** What an import does with existing data: refuse, add, or replace all of it. */
export type ImportMode = 'empty' | 'merge' | 'replace';

/** One meta value that an import sets, if the present one is `expected`. */
export interface MetaChange {
  key: string;
  expected: string | undefined;
  value: string;
}

/** What a received snapshot holds besides its entries. */
export interface Restored {
  entries: number;
  quotas: [namespace: string, maxEntries: number][];
  meta: [key: string, value: string][];
}

/** What a store can do. Fixed for its life, and readable before `open`. */
export interface Capabilities {
  /** 1 to 40 lowercase letters, digits, hyphens and underscores. */
  name: string;
  /** Entries survive the end of the process, or page. */
  durable: boolean;
  /** Others can open the same data at the same time. */
  shared: boolean;
  /** The store has snapshots: {@link Store.beginSnapshot} and the operations after it. */
  snapshot: boolean;
  /** The most entries that one `insert` takes; at least 1. */
  maxBatch: number;
  /** The most entries that one call deletes in one atomic step; 4,294,967,295 means no limit. */
  maxDelete: number;
  /** The most bytes of one blob, at least 65,536; 0 if the store keeps no blobs. */
  maxBlob: number;
  /** How many of the last changes the store keeps, at least 65,536; 0 if it keeps none. */
  maxChanges: number;
  /** Whether the store searches vectors itself: it has {@link Store.nearest}. Default false. */
  nearest?: boolean | undefined;
}

/**
 * A backend. Methods may return promises only if `synchronous` is false, which needs WebAssembly
 * JSPI. They are called one at a time. They throw failures: an error of this package passes
 * unchanged, anything else becomes a `backend` error.
 */
export interface Store {
  /** Whether no method ever returns a promise. Such a store works in every runtime. */
  readonly synchronous: boolean;

  /** What this store can do. Never a promise. */
  capabilities(): Capabilities;
  /** Connects, creates what is missing, compares the embedder. Reads no entry. */
  open(embedderFingerprint: string, embedderDim: number): Awaitable<void>;
  /** Releases the backend. Closing a closed store does nothing. */
  close(): Awaitable<void>;

  /**
   * The entries under these keys, in their order; undefined for a key that does not exist. Without
   * `vectors` the embeddings are empty, and need not be read.
   */
  getByHash(keys: EntryKey[], vectors: boolean): Awaitable<(Entry | undefined)[]>;
  /** The entries with these ids, in their order, without those that do not exist. */
  getByIds(ids: number[], vectors: boolean): Awaitable<Entry[]>;
  /**
   * The first entries with an id above `lastId` that meet the filter, at most `limit`. There may be
   * fewer, even none, with `next`, so that no call takes long. By tag, entries without it are not
   * looked at.
   */
  select(filter: Filter, lastId: number, limit: number): Awaitable<Selection>;
  /** How many entries there are, in one namespace or in all. */
  count(namespace?: string): Awaitable<number>;
  /**
   * The first `limit` namespaces with entries whose UTF-8 bytes come after those of `after`, sorted
   * by their UTF-8 bytes. Fewer mean that there are no more.
   */
  listNamespaces(after: string | undefined, limit: number): Awaitable<string[]>;
  /** The same page, each namespace with the number of its entries. */
  countByNamespace(
    after: string | undefined,
    limit: number,
  ): Awaitable<[namespace: string, entries: number][]>;
  /** The `n` least recently used entries: by `lastAccessedAt`, then id. */
  iterLruIds(n: number, namespace?: string): Awaitable<EntryRef[]>;
  /** The first `limit` entries with an id above `lastId`, by id. */
  iterSince(lastId: number, limit: number): Awaitable<Entry[]>;
  /** As `iterSince`, but only the vectors. */
  iterVectors(lastId: number, limit: number): Awaitable<VectorPage>;
  /** As `iterSince`, but only ids and `createdAt`. */
  iterStamps(lastId: number, limit: number): Awaitable<StampPage>;

  /**
   * Stores entries in one atomic step. An entry whose namespace and hash exist replaces that
   * row and keeps its id.
   */
  insert(entries: Entry[]): Awaitable<Inserted[]>;
  /** Records hits. Skips ids that are gone. */
  updateAccess(touches: Touch[]): Awaitable<void>;
  /** Deletes one entry; false if it did not exist. */
  deleteById(id: number): Awaitable<boolean>;
  /** Deletes the entries that still have this `createdAt`, and returns their ids. */
  deleteUnchanged(entries: EntryRef[]): Awaitable<number[]>;
  /** Deletes at most `limit` expired entries, any of them, and returns them. */
  deleteExpired(now: number, namespace: string | undefined, limit: number): Awaitable<EntryRef[]>;
  /** Deletes the entries of one namespace, or all, and returns how many. */
  clearNamespace(namespace?: string): Awaitable<number>;

  /** Sets a quota; undefined removes it. */
  setNamespaceQuota(namespace: string, maxEntries: number | undefined): Awaitable<void>;
  /** A namespace's quota. */
  getNamespaceQuota(namespace: string): Awaitable<number | undefined>;
  /** Every quota, sorted by the UTF-8 bytes of the namespace. */
  listNamespaceQuotas(): Awaitable<[namespace: string, maxEntries: number][]>;

  /** The version counter. It moves with every call that inserts, replaces or deletes an entry. */
  readVersionCounter(): Awaitable<number>;
  /**
   * The changes after a version, whole versions of them, as many as `limit` holds, or one version.
   * Undefined where the log does not have them all. Required if `maxChanges` is above 0.
   */
  changesSince?(version: number, limit: number): Awaitable<ChangePage | undefined>;
  /**
   * The entries whose vectors are most similar to one, at most `limit`, 1 to 1,024, the most similar
   * first. Some may be missed; none is found that does not meet the conditions. Required if
   * `capabilities().nearest` is true.
   */
  nearest?(query: VectorQuery, limit: number): Awaitable<Neighbour[]>;
  /** A meta value. The store's own three keys can be read too. */
  readMeta(key: string): Awaitable<string | undefined>;
  /** Sets a value (undefined removes it) if the present one is `expected`; else false. */
  replaceMeta(
    key: string,
    expected: string | undefined,
    value: string | undefined,
  ): Awaitable<boolean>;
  /** What `replaceMeta` has set, sorted by the UTF-8 bytes of the key. */
  listMeta(): Awaitable<[key: string, value: string][]>;
  /** Whether the data is sound, as far as the backend can tell. */
  integrityCheck(): Awaitable<boolean>;

  /** The bytes of a blob. Required if `maxBlob` is above 0, as are the next three. */
  readBlob?(name: string): Awaitable<Uint8Array | undefined>;
  /** Creates or replaces a blob. */
  writeBlob?(name: string, bytes: Uint8Array): Awaitable<void>;
  /** Deletes blobs. */
  deleteBlobs?(names: string[]): Awaitable<void>;
  /** The names of all blobs, sorted. */
  listBlobs?(): Awaitable<string[]>;

  /** Reads answer from one instant until `endView`. False if the backend cannot do that. */
  beginView(): Awaitable<boolean>;
  /** Ends the view. */
  endView(): Awaitable<void>;

  /** Begins an import. Nothing of it is visible until it is committed. */
  beginImport(mode: ImportMode): Awaitable<void>;
  /** Adds entries to the import, at most `maxBatch`. */
  writeImport(entries: Entry[]): Awaitable<void>;
  /** Makes the import part of the data in one step; false if a meta value is not as expected. */
  commitImport(
    quotas: [namespace: string, maxEntries: number][],
    meta: MetaChange[],
  ): Awaitable<boolean>;
  /** Discards the import. */
  endImport(): Awaitable<void>;

  /**
   * Fixes a snapshot of all data in the backend's own format, and returns its size in bytes.
   * Required if `snapshot` is claimed, as are the next eight.
   */
  beginSnapshot?(): Awaitable<number>;
  /** The next bytes, at most `max`; none at the end. */
  readSnapshot?(max: number): Awaitable<Uint8Array>;
  /** Discards the snapshot. */
  endSnapshot?(): Awaitable<void>;
  /** Prepares to take in a snapshot. */
  beginRestore?(): Awaitable<void>;
  /** Appends bytes of the snapshot. */
  writeRestore?(bytes: Uint8Array): Awaitable<void>;
  /** Checks the bytes received, and says what is in them. */
  checkRestore?(): Awaitable<Restored>;
  /** A page of the entries of the snapshot. */
  readRestore?(lastId: number, limit: number): Awaitable<Entry[]>;
  /** Replaces all data by the snapshot in one step. */
  commitRestore?(onlyIfEmpty: boolean): Awaitable<void>;
  /** Discards the restore. */
  endRestore?(): Awaitable<void>;

  /**
   * Releases what even a closed store still holds, such as a lock. Called when the cache is
   * closed; the store is not used after that.
   */
  release?(): Awaitable<void>;
}
