/**
 * What a database must hold to be a cache, and its creation.
 *
 * The layout is shared with the other hosts of mneme, and with the Python library mneme-cache;
 * schema version 1 fixes tables, columns and indexes. See schema.ts.
 */

import { CorruptError, DataVanishedError, SchemaError } from '../../errors.js';
import type { StoredEmbedder } from '../checks.js';
import type { SqlDriver } from './driver.js';
import { text } from './rows.js';
import {
  ADD_LABELS,
  BLOBS,
  CHANGES,
  CREATE_BLOBS,
  FILL_TAGS,
  MISSING_TAG,
  OBJECTS,
  SHOW_LABELS,
  Schema,
  TAGS,
} from './schema.js';

const START_COUNTER = `INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '0')
  ON CONFLICT (key) DO NOTHING`;

/** What a database is, seen from here: no cache yet, or one of an embedder. */
export interface Found {
  embedder: StoredEmbedder | undefined;
  complete: boolean;
  /** Whether there are entries without contexts and tags. */
  lacksLabels: boolean;
}

/**
 * Looks at a database without writing. One with a statement that no cache has is refused before any
 * of its tables is read.
 */
export function inspect(driver: SqlDriver): Found {
  const schema = new Schema(driver);
  if (!schema.has('schema_meta') && schema.others.length > 0) {
    throw new SchemaError(
      `this database belongs to something else (it has ${schema.others.slice(0, 5).join(', ')}, and no schema version of a cache); give another one`,
    );
  }
  // Of a later release, the version says more than the statements.
  const version = schema.knows('schema_meta') ? meta(driver, 'schema_version') : undefined;
  if (version !== undefined) {
    checkVersion(version);
  }
  schema.accept();
  const hasEntries =
    schema.has('entries') && driver.all('SELECT 1 FROM entries LIMIT 1').length > 0;
  const { lacksLabels } = schema;
  const lacks = (what: string): Found => {
    if (hasEntries) {
      throw new CorruptError(
        `table schema_meta lacks ${what} though there are entries; restore a checkpoint`,
      );
    }
    return { embedder: undefined, complete: false, lacksLabels };
  };
  if (version === undefined) {
    return lacks('the key schema_version');
  }
  const fingerprint = meta(driver, 'embedder_fingerprint');
  const dim = meta(driver, 'embedder_dim');
  if (fingerprint === undefined || dim === undefined) {
    return lacks('embedder_fingerprint or embedder_dim');
  }
  if (!/^[0-9]{1,9}$/.test(dim)) {
    throw new CorruptError(
      `table schema_meta, key embedder_dim holds ${JSON.stringify(dim)}, which is not a number of dimensions; restore a checkpoint`,
    );
  }
  if (schema.has('sqlite_sequence')) {
    checkLastId(driver);
  }
  return {
    embedder: { fingerprint, dim: Number(dim) },
    complete: !lacksLabels && Object.keys(OBJECTS).every((name) => schema.has(name)),
    lacksLabels,
  };
}

function checkVersion(version: string): void {
  if (version !== '1') {
    throw new SchemaError(
      /^[0-9]+$/.test(version)
        ? `schema_version is ${version}, and this release knows 1; use the release that wrote the database, or a later one`
        : `table schema_meta, key schema_version holds ${JSON.stringify(version)}, which is not a version of a cache; restore a checkpoint`,
    );
  }
}

/** Refuses a last id after which no id can be given. */
function checkLastId(driver: SqlDriver): void {
  const wrong = driver.one(
    `SELECT 1 FROM sqlite_sequence WHERE name = 'entries'
     AND (typeof(seq) <> 'integer' OR seq NOT BETWEEN 0 AND ${Number.MAX_SAFE_INTEGER})`,
  );
  if (wrong) {
    throw new CorruptError(
      `table sqlite_sequence, row entries, column seq is not a number from 0 to ${Number.MAX_SAFE_INTEGER}, so no entry can get an id; run UPDATE sqlite_sequence SET seq = (SELECT ifnull(max(id), 0) FROM entries) WHERE name = 'entries', or restore a checkpoint`,
    );
  }
}

/** Creates what is missing, and records the embedder where none is. */
export function provision(driver: SqlDriver, { fingerprint, dim }: StoredEmbedder): void {
  const schema = new Schema(driver);
  if (schema.lacksLabels) {
    ADD_LABELS.forEach((sql) => driver.run(sql));
  }
  for (const [name, sql] of Object.entries(OBJECTS)) {
    if (!schema.has(name)) {
      driver.run(sql);
    }
  }
  if (!schema.has(TAGS) && !schema.lacksLabels) {
    driver.run(FILL_TAGS);
  }
  driver.run(START_COUNTER);
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

/** Refuses data of another embedder than the store was opened with: of one cache it never changes. */
export function stillOf(driver: SqlDriver, { fingerprint }: StoredEmbedder): void {
  if (meta(driver, 'embedder_fingerprint') !== fingerprint) {
    throw new DataVanishedError(
      'the data of this store was replaced by that of another embedder; open the cache again',
    );
  }
}

/** Has statements find the columns that a database lacks which can only be read. */
export function showLabels(driver: SqlDriver, { lacksLabels }: Found): void {
  if (lacksLabels) {
    driver.run(SHOW_LABELS);
  }
}

function has(driver: SqlDriver, name: string): boolean {
  return driver.all('SELECT 1 FROM sqlite_schema WHERE name = ?', name).length > 0;
}

/** Whether the index of tags is there. */
export function hasTags(driver: SqlDriver): boolean {
  return has(driver, TAGS);
}

/** Whether the log of changes is there. */
export function hasChanges(driver: SqlDriver): boolean {
  return has(driver, CHANGES);
}

/** Whether the index of tags has those of all entries. It may have others: see `untag`. */
export function areTagsFound(driver: SqlDriver): boolean {
  return !hasTags(driver) || !driver.one(MISSING_TAG);
}

/** Whether the table of blobs, which a cache may lack, is there. */
export function hasBlobs(driver: SqlDriver): boolean {
  return has(driver, BLOBS);
}

/** Makes the table of blobs. */
export function createBlobs(driver: SqlDriver): void {
  if (!hasBlobs(driver)) {
    driver.run(CREATE_BLOBS);
  }
}
