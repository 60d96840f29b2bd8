/**
 * Between the rows of table `entries` and entries.
 *
 * A number from 0 to 2^53 - 1 is what every writer of the layout means; anything else is damage.
 * A fraction, which mneme-cache lets pass, is cut off.
 */

import { CorruptError } from '../../errors.js';
import type { Entry, EntryRef, Inserted } from '../../store.js';
import { NO_VECTOR } from '../checks.js';
import type { SqlDriver, SqlRow, SqlValue } from './driver.js';

/** The greatest number that is read and written. */
const MAX = Number.MAX_SAFE_INTEGER;

/** A column of text, as a driver reads it; see `SqlDriver.text`. */
export type TextColumn = (column: string) => string;

const TEXTS = ['namespace', 'query_hash', 'query', 'response', 'metadata', 'context', 'tags'];

/** The columns of {@link entry}, with the vector or without. */
export function entryColumns(text: TextColumn, vectors: boolean): string {
  const columns = [...TEXTS.map(text), ...(vectors ? ['embedding'] : [])];
  return `id, ${columns.join(', ')}, created_at, last_accessed_at, ttl, access_count`;
}

/** A page of entries: those above an id, at most so many. */
export function since(text: TextColumn): string {
  return `SELECT ${entryColumns(text, true)} FROM entries WHERE id > ? ORDER BY id LIMIT ?`;
}

/** Returns no row where the namespace and hash exist. */
export const INSERT = `INSERT INTO entries (namespace, query_hash, query, response, embedding, metadata,
    created_at, last_accessed_at, ttl, access_count, context, tags)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
  ON CONFLICT (namespace, query_hash) DO NOTHING RETURNING id`;
/**
 * Only a row that says itself that it is the one: an index may lead to another. And only one whose
 * tags need not be taken out of their index first.
 */
const REPLACE = `UPDATE entries SET query = ?3, response = ?4, embedding = ?5, metadata = ?6,
    created_at = ?7, last_accessed_at = ?8, ttl = ?9, access_count = ?10, context = ?11, tags = ?12
  WHERE id = (SELECT id FROM entries WHERE namespace = ?1 AND query_hash = ?2)
    AND +namespace = ?1 AND +query_hash = ?2 AND tags IN ('[]', ?12) RETURNING id`;
const UNTAG = `UPDATE entries SET tags = '[]'
  WHERE id = (SELECT id FROM entries WHERE namespace = ? AND query_hash = ?)`;
const PRESENT = 'SELECT id, tags FROM entries WHERE namespace = ? AND query_hash = ?';

type Writer = Pick<SqlDriver, 'one' | 'run'>;

/** Stores an entry, or replaces the one with its namespace and hash. */
export function insertOne(driver: Writer, one: Entry): Inserted {
  const values = valuesOf(one);
  const added = driver.one(INSERT, ...values);
  if (added) {
    tag(driver, idOf(added), one.tags);
    return { id: idOf(added), replaced: false };
  }
  let replaced = driver.one(REPLACE, ...values);
  if (!replaced) {
    const present = driver.one(PRESENT, one.namespace, one.queryHash);
    if (present) {
      untag(driver, present);
      driver.run(UNTAG, one.namespace, one.queryHash);
    }
    replaced = driver.one(REPLACE, ...values);
  }
  if (!replaced) {
    throw new CorruptError(
      'the indexes of table entries disagree; run an integrity check and restore a checkpoint',
    );
  }
  tag(driver, idOf(replaced), one.tags);
  return { id: idOf(replaced), replaced: true };
}

/** Deletes the one entry that meets a condition, and returns its id, if there is one. */
export function deleteOne(driver: Writer, condition: string, ...values: SqlValue[]): number[] {
  const row = driver.one(`DELETE FROM entries WHERE ${condition} RETURNING id, tags`, ...values);
  if (row) {
    untag(driver, row);
  }
  return row ? [idOf(row)] : [];
}

const TAG = 'INSERT INTO entry_tags (tag, id) VALUES (?, ?) ON CONFLICT DO NOTHING';

function tag(driver: Writer, id: number, tags: string[]): void {
  for (const one of tags) {
    driver.run(TAG, one, id);
  }
}

/** Takes an entry out of the index of tags. mneme-cache does not: what it leaves there is not heeded. */
export function untag(driver: Writer, row: SqlRow): void {
  for (const one of listOf(row['tags']) ?? []) {
    driver.run('DELETE FROM entry_tags WHERE tag = ? AND id = ?', one, idOf(row));
  }
}

export function valuesOf(one: Entry): SqlValue[] {
  return [
    one.namespace,
    one.queryHash,
    one.query,
    one.response,
    bytesOf(one.embedding),
    one.metadata,
    one.createdAt,
    one.lastAccessedAt,
    one.ttl ?? null,
    one.accessCount,
    one.context,
    one.tags.length === 0 ? NO_TAGS : JSON.stringify(one.tags),
  ];
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Vectors are stored as float32, little-endian. */
function bytesOf(vector: Float32Array): Uint8Array {
  if (IS_LITTLE_ENDIAN) {
    return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  }
  const bytes = new Uint8Array(vector.byteLength);
  const view = new DataView(bytes.buffer);
  vector.forEach((value, at) => view.setFloat32(4 * at, value, true));
  return bytes;
}

export function littleEndian(bytes: Uint8Array): Float32Array {
  if (IS_LITTLE_ENDIAN && bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, at) =>
    view.getFloat32(4 * at, true),
  );
}

/** An entry; its embedding is empty where the row was read without one. */
export function entry(row: SqlRow, vectorBytes: number): Entry {
  return {
    id: idOf(row),
    namespace: text(row, 'namespace'),
    context: text(row, 'context'),
    queryHash: text(row, 'query_hash'),
    query: text(row, 'query'),
    response: text(row, 'response'),
    embedding:
      row['embedding'] === undefined ? NO_VECTOR : littleEndian(vectorOf(row, vectorBytes)),
    metadata: text(row, 'metadata'),
    tags: tagsOf(row),
    createdAt: whole(row, 'created_at'),
    lastAccessedAt: whole(row, 'last_accessed_at'),
    ttl: row['ttl'] === null ? undefined : whole(row, 'ttl'),
    accessCount: whole(row, 'access_count'),
  };
}

const NO_TAGS = '[]';

/** The tags of a row, which are a list of texts in JSON. */
export function tagsOf(row: SqlRow): string[] {
  const tags = listOf(text(row, 'tags'));
  if (!tags) {
    throw wrong(row, 'tags', 'is not a list of texts in JSON');
  }
  return tags;
}

function listOf(json: unknown): string[] | undefined {
  if (json === NO_TAGS) {
    return [];
  }
  try {
    const list: unknown = JSON.parse(String(json));
    return Array.isArray(list) && list.every((one) => typeof one === 'string') ? list : undefined;
  } catch {
    return undefined;
  }
}

export function reference(row: SqlRow): EntryRef {
  return {
    id: idOf(row),
    namespace: text(row, 'namespace'),
    createdAt: whole(row, 'created_at'),
  };
}

export function idOf(row: SqlRow): number {
  const { id } = row;
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 1) {
    throw new CorruptError(
      `table entries has a row whose id is ${id}, and ids are from 1 to ${MAX}; delete that row, or restore a checkpoint`,
    );
  }
  return id;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A column of text, read as `SqlDriver.text` says. */
export function text(row: SqlRow, column: string): string {
  const value = row[column];
  if (typeof value === 'string') {
    return value;
  }
  if (!(value instanceof Uint8Array)) {
    throw wrong(row, column, 'is not a text');
  }
  try {
    return UTF8.decode(value);
  } catch {
    throw wrong(row, column, 'is not valid UTF-8');
  }
}

export function whole(row: SqlRow, column: string): number {
  const value = number(row[column]);
  if (value === undefined) {
    throw wrong(row, column, `is not a number from 0 to ${MAX}`);
  }
  return value;
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && Math.trunc(value) <= MAX
    ? Math.trunc(value)
    : undefined;
}

export function vectorOf(row: SqlRow, vectorBytes: number): Uint8Array {
  const bytes = row['embedding'];
  if (!(bytes instanceof Uint8Array)) {
    throw wrong(row, 'embedding', 'is not a blob');
  }
  if (bytes.length !== vectorBytes) {
    throw wrong(
      row,
      'embedding',
      `has ${bytes.length} bytes, where ${vectorBytes / 4} float32 values take ${vectorBytes}`,
    );
  }
  return bytes;
}

export function quota(row: SqlRow): number {
  const value = number(row['max_entries']);
  if (value === undefined) {
    throw new CorruptError(
      `table namespace_quotas, column max_entries holds no number from 0 to ${MAX}; set the quota again`,
    );
  }
  return value;
}

function wrong(row: SqlRow, column: string, what: string): CorruptError {
  return new CorruptError(
    `table entries, column ${column} of the row with id ${row['id']} ${what}; delete that row, or restore a checkpoint`,
  );
}
