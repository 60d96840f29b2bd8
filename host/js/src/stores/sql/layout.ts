/**
 * The tables: what a database must hold to be a cache, and their creation.
 *
 * The layout is shared with the other hosts of mneme, and with the Python library mneme-cache;
 * schema version 1 fixes tables, columns and indexes. The table `derived_blobs` is ours alone.
 */

import { CorruptError, SchemaError } from '../../errors.js';
import type { StoredEmbedder } from '../checks.js';
import type { SqlDriver } from './driver.js';
import { text } from './rows.js';

const TABLES = [
  'schema_meta',
  'entries',
  'cache_counters',
  'namespace_quotas',
  'multi_process_state',
];
const INDEXES = [
  'idx_entries_ns_hash',
  'idx_entries_ns_lru',
  'idx_entries_created_at',
  'idx_entries_id',
];
const BLOBS = 'derived_blobs';

const CREATE = [
  'CREATE TABLE IF NOT EXISTS schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
  `CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL DEFAULT 'default',
    query_hash TEXT NOT NULL,
    query TEXT NOT NULL,
    response TEXT NOT NULL,
    embedding BLOB NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_accessed_at INTEGER NOT NULL,
    ttl INTEGER,
    access_count INTEGER NOT NULL DEFAULT 0,
    UNIQUE(namespace, query_hash)
  )`,
  'CREATE INDEX IF NOT EXISTS idx_entries_ns_hash ON entries(namespace, query_hash)',
  'CREATE INDEX IF NOT EXISTS idx_entries_ns_lru ON entries(namespace, last_accessed_at)',
  'CREATE INDEX IF NOT EXISTS idx_entries_created_at ON entries(created_at)',
  'CREATE INDEX IF NOT EXISTS idx_entries_id ON entries(id)',
  `CREATE TABLE IF NOT EXISTS cache_counters (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
  )`,
  `CREATE TABLE IF NOT EXISTS namespace_quotas (
    namespace TEXT PRIMARY KEY,
    max_entries INTEGER NOT NULL
  )`,
  'CREATE TABLE IF NOT EXISTS multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
  `INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '0')
    ON CONFLICT (key) DO NOTHING`,
];

const CREATE_BLOBS =
  'CREATE TABLE IF NOT EXISTS derived_blobs (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)';

/** What a database is, seen from here: no cache yet, or one of an embedder. */
export interface Found {
  embedder: StoredEmbedder | undefined;
  complete: boolean;
}

/** Looks at a database, and refuses what belongs to something else. */
export function inspect(driver: SqlDriver): Found {
  const names = driver
    .all(
      "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~' AND name NOT LIKE '~_cf~_%' ESCAPE '~'",
    )
    .map(({ name }) => String(name));
  const has = (name: string) => names.includes(name);
  const hasEntries = () => has('entries') && driver.all('SELECT 1 FROM entries LIMIT 1').length > 0;
  const version = has('schema_meta') ? meta(driver, 'schema_version') : undefined;
  if (version === undefined) {
    const ours = [...TABLES, ...INDEXES, BLOBS];
    const foreign = names.filter((name) => !ours.includes(name));
    if (foreign.length > 0) {
      throw new SchemaError(
        `this database belongs to something else (it has ${foreign.join(', ')}, and no schema version of a cache); give another one`,
      );
    }
    if (hasEntries()) {
      throw new CorruptError(
        'table schema_meta lacks the key schema_version though there are entries; restore a checkpoint',
      );
    }
    return { embedder: undefined, complete: false };
  }
  if (version !== '1') {
    throw new SchemaError(
      /^[0-9]+$/.test(version)
        ? `schema_version is ${version}, and this release knows 1; use the release that wrote the database, or a later one`
        : `table schema_meta, key schema_version holds ${JSON.stringify(version)}, which is not a version of a cache; restore a checkpoint`,
    );
  }
  const fingerprint = meta(driver, 'embedder_fingerprint');
  const dim = meta(driver, 'embedder_dim');
  if (fingerprint === undefined || dim === undefined) {
    if (hasEntries()) {
      throw new CorruptError(
        'table schema_meta lacks embedder_fingerprint or embedder_dim though there are entries; restore a checkpoint',
      );
    }
    return { embedder: undefined, complete: false };
  }
  if (!/^[0-9]{1,9}$/.test(dim)) {
    throw new CorruptError(
      `table schema_meta, key embedder_dim holds ${JSON.stringify(dim)}, which is not a number of dimensions; restore a checkpoint`,
    );
  }
  return {
    embedder: { fingerprint, dim: Number(dim) },
    complete: [...TABLES, ...INDEXES].every(has),
  };
}

/** Creates what is missing, and records the embedder where none is. */
export function provision(driver: SqlDriver, { fingerprint, dim }: StoredEmbedder): void {
  for (const sql of CREATE) {
    driver.run(sql);
  }
  const record = 'INSERT INTO schema_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING';
  driver.run(record, 'schema_version', '1');
  driver.run(record, 'embedder_fingerprint', fingerprint);
  driver.run(record, 'embedder_dim', String(dim));
}

/** A value of `schema_meta`. */
export function meta(driver: SqlDriver, key: string): string | undefined {
  const row = driver.one(`SELECT ${driver.text('value')} FROM schema_meta WHERE key = ?`, key);
  return row && text(row, 'value');
}

/** Whether the table of blobs, which a cache may lack, is there. */
export function hasBlobs(driver: SqlDriver): boolean {
  return driver.all('SELECT 1 FROM sqlite_schema WHERE name = ?', BLOBS).length > 0;
}

/** Makes the table of blobs. */
export function createBlobs(driver: SqlDriver): void {
  driver.run(CREATE_BLOBS);
}
