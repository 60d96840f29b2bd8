/** The checks that every store makes before it touches its data. Use them in your store too. */

import {
  CheckpointError,
  EmbedderDimensionError,
  EmbedderMismatchError,
  InvalidArgumentError,
} from '../errors.js';
import type { Entry, Filter } from '../store.js';

/** 2^32 - 1: any number, where a `u32` is a limit. */
export const ANY_NUMBER = 0xffff_ffff;

/** The most entries of one `insert` or `writeImport` in the stores of this package. */
export const MAX_BATCH = 1000;

/** The most bytes of a blob in the stores that set no lower limit: 1 MiB, the most of the contract. */
export const MAX_BLOB = 1 << 20;

/** The embedding of an entry that is read without its vector. */
export const NO_VECTOR = new Float32Array(0);

/** The most entries that one call of `select` looks at, so that it does not take long. */
export const LOOKED_AT = 1000;

/** How far the entries of a tag are counted to tell which of some tags is the rarest. */
export const RARE = 20_000;

const MAX_DIM = 65_536;
const RESERVED_META = ['schema_version', 'embedder_fingerprint', 'embedder_dim'];
const BLOB_NAME = /^[a-z0-9./-]{1,100}$/;

/** The embedder that a store's vectors come from. */
export interface StoredEmbedder {
  fingerprint: string;
  dim: number;
}

/** The embedder given to `open`; an `InvalidArgumentError` for a dimension out of range. */
export function givenEmbedder(fingerprint: string, dim: number): StoredEmbedder {
  if (!(dim >= 1 && dim <= MAX_DIM)) {
    throw new InvalidArgumentError(`embedder_dim is ${dim}; it must be from 1 to ${MAX_DIM}`);
  }
  return { fingerprint, dim };
}

/** Compares the embedder of the data with the one given to `open`. */
export function acceptEmbedder(stored: StoredEmbedder, given: StoredEmbedder): void {
  if (stored.fingerprint !== given.fingerprint) {
    throw new EmbedderMismatchError(stored.fingerprint, given.fingerprint);
  }
  if (stored.dim !== given.dim) {
    throw new EmbedderDimensionError(stored.dim, given.dim);
  }
}

/** The value of one of the store's own meta keys. */
export function ownMeta(embedder: StoredEmbedder, key: string): string | undefined {
  switch (key) {
    case 'schema_version':
      return '1';
    case 'embedder_fingerprint':
      return embedder.fingerprint;
    case 'embedder_dim':
      return String(embedder.dim);
    default:
      return undefined;
  }
}

/** Rejects a list longer than `maxBatch`, and vectors that do not have `dim` values. */
export function checkBatch(entries: Entry[], maxBatch: number, dim: number): void {
  if (entries.length > maxBatch) {
    throw new InvalidArgumentError(
      `the list has ${entries.length} entries; this store takes at most ${maxBatch} a call, so split it`,
    );
  }
  for (const { embedding } of entries) {
    if (embedding.length !== dim) {
      throw new EmbedderDimensionError(dim, embedding.length);
    }
  }
}

/** Rejects the meta keys that only the store writes. */
export function checkMetaKey(key: string): void {
  if (RESERVED_META.includes(key)) {
    throw new InvalidArgumentError(
      `the meta key ${key} belongs to the store and cannot be written; choose another key`,
    );
  }
}

/** Rejects invalid blob names. */
export function checkBlobName(name: string): void {
  if (!BLOB_NAME.test(name)) {
    throw new InvalidArgumentError(
      `${JSON.stringify(name.slice(0, 100))} is not a valid blob name; give 1 to 100 lowercase letters, digits, hyphens, dots and slashes`,
    );
  }
}

/** Rejects a blob with more than `maxBlob` bytes or an invalid name. */
export function checkBlob(name: string, bytes: Uint8Array, maxBlob: number): void {
  checkBlobName(name);
  if (bytes.length > maxBlob) {
    throw new InvalidArgumentError(
      `the blob ${name} has ${bytes.length} bytes, and this store takes at most ${maxBlob}; split it`,
    );
  }
}

/** An import of mode `empty` on a store with entries. */
export function importNotEmpty(): CheckpointError {
  return new CheckpointError(
    'the store has entries, and an import of mode empty needs a store without entries; use mode merge or replace, or clear the store first',
  );
}

/** An entry whose namespace and hash the import already has. */
export function importedTwice(entry: Entry): CheckpointError {
  return new CheckpointError(
    `namespace ${JSON.stringify(entry.namespace)} has two entries with the hash ${JSON.stringify(entry.queryHash)}, and an import takes one; leave one of them out`,
  );
}

/** `writeImport` or `commitImport` if no import was begun. */
export function importNotBegun(): InvalidArgumentError {
  return new InvalidArgumentError('no import was begun, or it is over; call beginImport first');
}

/** Namespace and hash in one string; no other two make the same. */
export function keyOf(namespace: string, queryHash: string): string {
  return `${namespace.length}:${namespace}${queryHash}`;
}

/** Compares by the bytes of UTF-8, which is by code points, not by UTF-16 units. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) {
      // Surrogates stand for code points above all other units.
      const high = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
      return high(x) - high(y);
    }
  }
  return a.length - b.length;
}

/** The first `limit` of some names that come after one by their bytes, sorted by their bytes. */
export function pageOfNames(
  names: Iterable<string>,
  after: string | undefined,
  limit: number,
): string[] {
  return Array.from(names)
    .filter((name) => after === undefined || compareUtf8(name, after) > 0)
    .sort(compareUtf8)
    .slice(0, limit);
}

/** Whether an entry is expired at a time. */
export function isExpired(entry: Pick<Entry, 'createdAt' | 'ttl'>, now: number): boolean {
  return entry.ttl !== undefined && entry.createdAt + entry.ttl <= now;
}

/** Whether an entry is one of those that are meant. */
export function meets(
  entry: Pick<Entry, 'namespace' | 'context' | 'tags' | 'createdAt'>,
  { namespace, context, tags, createdFrom, createdBefore }: Filter,
): boolean {
  return (
    (namespace === undefined || entry.namespace === namespace) &&
    (context === undefined || entry.context === context) &&
    tags.every((tag) => entry.tags.includes(tag)) &&
    (createdFrom === undefined || entry.createdAt >= createdFrom) &&
    (createdBefore === undefined || entry.createdAt < createdBefore)
  );
}

/** Whether it is a time, a lifetime, a count or a quota: a whole number from 0 to 2^53 - 1. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
