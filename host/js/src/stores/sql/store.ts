/** The store over any synchronous SQLite. */

import { ClosedError, CorruptError } from '../../errors.js';
import { mayGiveWay } from '../../locks.js';
import type {
  Capabilities,
  Entry,
  EntryKey,
  EntryRef,
  Filter,
  ImportMode,
  Inserted,
  MetaChange,
  Selection,
  StampPage,
  Store,
  Touch,
  VectorPage,
} from '../../store.js';
import {
  LOOKED_AT,
  MAX_BATCH,
  ANY_NUMBER,
  acceptEmbedder,
  checkBatch,
  checkBlob,
  checkBlobName,
  checkMetaKey,
  givenEmbedder,
  importNotEmpty,
  meets,
  type StoredEmbedder,
} from '../checks.js';
import { begun, stageAll, type Import } from '../stage.js';
import type { SqlDriver, SqlRow, SqlValue } from './driver.js';
import * as layout from './layout.js';
import {
  deleteOne,
  entry,
  entryColumns,
  idOf,
  insertOne,
  littleEndian,
  quota,
  reference,
  since,
  tagsOf,
  text,
  untag,
  vectorOf,
  whole,
  type TextColumn,
} from './rows.js';

const MAX = Number.MAX_SAFE_INTEGER;
/** As it is read: without a fraction. */
const CREATED_AT = 'CAST(created_at AS INTEGER)';
/** As the index of expiry has it. A row whose numbers are damage never expires. */
const EXPIRED = `ttl BETWEEN 0 AND ${MAX} AND +created_at BETWEEN 0 AND ${MAX}
  AND created_at + ttl < ?`;
const TAGGED_IN = "SELECT id, tags FROM entries WHERE namespace = ? AND tags <> '[]'";
const USER_META =
  "schema_meta.key NOT IN ('schema_version', 'embedder_fingerprint', 'embedder_dim')";

/** The statements that read text. */
function statements(text: TextColumn) {
  const references = `id, ${text('namespace')}, created_at`;
  const labelled = `${['namespace', 'context', 'tags'].map(text).join(', ')}, created_at`;
  const entries = (vectors: boolean) => {
    const columns = entryColumns(text, vectors);
    return {
      // The row itself tells its namespace and hash: an index may lead to another one.
      byHash: `SELECT ${columns} FROM entries
        WHERE id = (SELECT id FROM entries WHERE namespace = ? AND query_hash = ?)`,
      byId: `SELECT ${columns} FROM entries WHERE id = ?`,
    };
  };
  return {
    whole: entries(true),
    withoutVector: entries(false),
    since: since(text),
    vectors: `SELECT ${references}, ${text('context')}, embedding FROM entries WHERE id > ? ORDER BY id LIMIT ?`,
    labels: `SELECT id, id AS entry, ${labelled} FROM entries WHERE id > ? ORDER BY id LIMIT ?`,
    /** mneme-cache leaves entries that it has deleted in the index of tags. */
    tagged: `SELECT tagged.id AS id, entries.id AS entry, ${labelled} FROM (
        SELECT id FROM entry_tags WHERE tag = ?3 AND id > ?1 ORDER BY id LIMIT ?2
      ) AS tagged LEFT JOIN entries ON entries.id = tagged.id ORDER BY tagged.id`,
    /** From each namespace to the next one: as many steps as there are namespaces. */
    namespaces: `
      WITH RECURSIVE step (namespace) AS (
        SELECT min(namespace) FROM entries
        UNION ALL
        SELECT (SELECT min(namespace) FROM entries WHERE namespace > step.namespace)
        FROM step WHERE step.namespace IS NOT NULL
      )
      SELECT ${text('namespace')} FROM step WHERE namespace IS NOT NULL`,
    /** One walk over an index, which has the order. */
    counts: `SELECT ${text('namespace')}, count(*) AS n FROM entries
      GROUP BY entries.namespace ORDER BY entries.namespace`,
    oldest: `SELECT ${references} FROM entries ORDER BY last_accessed_at, id LIMIT ?`,
    oldestIn: `SELECT ${references} FROM entries
      WHERE namespace = ?2 ORDER BY last_accessed_at, id LIMIT ?1`,
    expired: `SELECT ${references} FROM entries
      WHERE ${EXPIRED}`,
  };
}

const STAMPS = 'SELECT id, created_at FROM entries WHERE id > ? ORDER BY id LIMIT ?';
/** Numbers beyond 2^53 - 1 could not be read again. */
const TOUCH = `UPDATE entries SET last_accessed_at = max(last_accessed_at, ?2),
    access_count = min(max(access_count, 0) + ?3, ${MAX})
  WHERE id = ?1`;
const BUMP = `INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '1')
  ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)`;
const SET_QUOTA = `INSERT INTO namespace_quotas (namespace, max_entries) VALUES (?, ?)
  ON CONFLICT (namespace) DO UPDATE SET max_entries = excluded.max_entries`;
const SET_META = `INSERT INTO schema_meta (key, value) VALUES (?, ?)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value`;
/** Not every driver tells no bytes from none. */
const WRITE_BLOB = `INSERT INTO derived_blobs (name, bytes) VALUES (?, coalesce(?, zeroblob(0)))
  ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes`;
function outOfRange(column: string): string {
  return `(typeof(${column}) NOT IN ('integer', 'real') OR ${column} < 0 OR ${column} >= ${MAX} + 1)`;
}

/** Rows that no page would show, or no index could take. */
const WRONG_ROW = `SELECT 1 FROM entries
  WHERE id NOT BETWEEN 1 AND ${MAX} OR typeof(embedding) <> 'blob' OR length(embedding) <> ?
    OR ${['created_at', 'last_accessed_at', 'access_count'].map(outOfRange).join(' OR ')}
    OR (ttl IS NOT NULL AND ${outOfRange('ttl')})
    OR CASE WHEN tags = '[]' THEN 0 WHEN NOT json_valid(tags) THEN 1 ELSE json_type(tags) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(entries.tags) WHERE type <> 'text') END
  LIMIT 1`;

/** The meta key under which the cache counts. */
const COUNTERS = 'counters';

/** What is open. */
interface Session {
  driver: SqlDriver;
  embedder: StoredEmbedder;
  /** `embedderDim` values of float32. */
  vectorBytes: number;
  hasBlobs: boolean;
  sql: ReturnType<typeof statements>;
  import: Import | undefined;
}

/** Capabilities that depend on where the database is. */
export type SqlCapabilities = Pick<
  Capabilities,
  'name' | 'durable' | 'shared' | 'snapshot' | 'maxBlob'
>;

/** A store in a SQLite database. */
export class SqlStore implements Store {
  readonly synchronous = true;
  readonly #claims: SqlCapabilities;
  readonly #connect: () => SqlDriver;
  #session: Session | undefined;

  /** @param connect opens the database, creating it if it is missing */
  constructor(claims: SqlCapabilities, connect: () => SqlDriver) {
    this.#claims = claims;
    this.#connect = connect;
  }

  capabilities(): Capabilities {
    return { ...this.#claims, maxBatch: MAX_BATCH, maxDelete: ANY_NUMBER, maxChanges: 0 };
  }

  open(embedderFingerprint: string, embedderDim: number): void {
    this.close();
    const embedder = givenEmbedder(embedderFingerprint, embedderDim);
    const driver = this.#connect();
    try {
      const found = driver.read(() => layout.inspect(driver));
      if (found.embedder) {
        acceptEmbedder(found.embedder, embedder);
      }
      if (!driver.isReadOnly && (!found.embedder || !found.complete)) {
        driver.write(() => {
          // Somebody else may have been first.
          const { embedder: stored } = layout.inspect(driver);
          if (stored) {
            acceptEmbedder(stored, embedder);
          }
          layout.provision(driver, embedder);
        });
      }
      if (driver.isReadOnly) {
        layout.showLabels(driver, found);
      }
      this.#session = {
        driver,
        embedder,
        vectorBytes: 4 * embedderDim,
        hasBlobs: layout.hasBlobs(driver),
        sql: statements((column) => driver.text(column)),
        import: undefined,
      };
    } catch (error) {
      driver.close();
      throw error;
    }
  }

  close(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session) {
      session.import?.stage.drop();
      session.driver.close();
    }
  }

  getByHash(keys: EntryKey[], vectors: boolean): (Entry | undefined)[] {
    const { driver, sql, vectorBytes } = this.#open();
    const { byHash } = vectors ? sql.whole : sql.withoutVector;
    const find = ({ namespace, queryHash }: EntryKey) => {
      const row = driver.one(byHash, namespace, queryHash);
      return row && entry(row, vectorBytes);
    };
    return keys.length === 1 ? keys.map(find) : driver.read(() => keys.map(find));
  }

  getByIds(ids: number[], vectors: boolean): Entry[] {
    const { driver, sql, vectorBytes } = this.#open();
    const { byId } = vectors ? sql.whole : sql.withoutVector;
    const find = (id: number) => driver.all(byId, id).map((row) => entry(row, vectorBytes));
    return ids.length === 1 ? ids.flatMap(find) : driver.read(() => ids.flatMap(find));
  }

  select(filter: Filter, lastId: number, limit: number): Selection {
    const { driver, sql } = this.#open();
    const [tag] = filter.tags;
    const entries: EntryRef[] = [];
    if (limit === 0 || (tag !== undefined && driver.isReadOnly && !layout.hasTags(driver))) {
      return { entries, next: undefined };
    }
    let next = lastId;
    for (let lookedAt = 0, some; lookedAt < LOOKED_AT; lookedAt += some) {
      some = Math.min(Math.max(limit, 64), LOOKED_AT - lookedAt);
      const rows =
        tag === undefined
          ? driver.all(sql.labels, next, some)
          : driver.all(sql.tagged, next, some, tag);
      for (const row of rows) {
        next = idOf(row);
        if (row['entry'] !== null && isMeant(row, filter)) {
          entries.push(reference(row));
        }
        if (entries.length >= limit) {
          return { entries, next };
        }
      }
      if (rows.length < some) {
        return { entries, next: undefined };
      }
    }
    return { entries, next };
  }

  count(namespace?: string): number {
    const { driver } = this.#open();
    const row =
      namespace === undefined
        ? driver.one('SELECT count(*) AS n FROM entries')
        : driver.one('SELECT count(*) AS n FROM entries WHERE namespace = ?', namespace);
    return Number(row?.['n']);
  }

  listNamespaces(): string[] {
    const { driver, sql } = this.#open();
    return driver.all(sql.namespaces).map((row) => text(row, 'namespace'));
  }

  countByNamespace(): [string, number][] {
    const { driver, sql } = this.#open();
    return driver.all(sql.counts).map((row) => [text(row, 'namespace'), Number(row['n'])]);
  }

  iterLruIds(n: number, namespace?: string): EntryRef[] {
    const { driver, sql } = this.#open();
    const rows =
      namespace === undefined ? driver.all(sql.oldest, n) : driver.all(sql.oldestIn, n, namespace);
    return rows.map(reference);
  }

  iterSince(lastId: number, limit: number): Entry[] {
    const { driver, sql, vectorBytes } = this.#open();
    return driver.all(sql.since, lastId, limit).map((row) => entry(row, vectorBytes));
  }

  iterVectors(lastId: number, limit: number): VectorPage {
    const { driver, sql, vectorBytes } = this.#open();
    const rows = driver.all(sql.vectors, lastId, limit);
    const bytes = new Uint8Array(rows.length * vectorBytes);
    rows.forEach((row, at) => bytes.set(vectorOf(row, vectorBytes), at * vectorBytes));
    return {
      ids: rows.map(idOf),
      namespaces: rows.map((row) => text(row, 'namespace')),
      contexts: rows.map((row) => text(row, 'context')),
      createdAt: rows.map((row) => whole(row, 'created_at')),
      vectors: littleEndian(bytes),
    };
  }

  iterStamps(lastId: number, limit: number): StampPage {
    const rows = this.#open().driver.all(STAMPS, lastId, limit);
    return { ids: rows.map(idOf), createdAt: rows.map((row) => whole(row, 'created_at')) };
  }

  insert(entries: Entry[]): Inserted[] {
    const { driver, embedder } = this.#open();
    checkBatch(entries, MAX_BATCH, embedder.dim);
    if (entries.length === 0) {
      return [];
    }
    return driver.write(() => {
      layout.stillOf(driver, embedder);
      driver.run(BUMP);
      return entries.map((one) => insertOne(driver, one));
    });
  }

  updateAccess(touches: Touch[]): void {
    const { driver } = this.#open();
    // Who can only read evicts nothing.
    if (touches.length > 0 && !driver.isReadOnly) {
      driver.write(() => {
        for (const { id, hits, lastAccessedAt } of touches) {
          driver.run(TOUCH, id, lastAccessedAt, hits);
        }
      }, 'briefly');
    }
  }

  deleteById(id: number): boolean {
    return this.#delete((driver) => Number(deleteOne(driver, 'id = ?', id) !== undefined)) > 0;
  }

  deleteUnchanged(entries: EntryRef[]): number[] {
    const { driver } = this.#open();
    const deleted: number[] = [];
    // Who finds an expired entry where it can only be read goes on without deleting it.
    if (entries.length > 0 && !driver.isReadOnly) {
      const unchanged = `id = ? AND ${CREATED_AT} = ?`;
      this.#delete((driver) => {
        for (const { id, createdAt } of entries) {
          if (deleteOne(driver, unchanged, id, createdAt) !== undefined) {
            deleted.push(id);
          }
        }
        return deleted.length;
      }, 'briefly');
    }
    return deleted;
  }

  deleteExpired(now: number, namespace: string | undefined, limit: number): EntryRef[] {
    const { driver, sql } = this.#open();
    const of = namespace === undefined ? '' : ' AND entries.namespace = ?';
    const values: SqlValue[] = namespace === undefined ? [now + 1] : [now + 1, namespace];
    // A transaction that writes must not hold up others for nothing.
    if (limit === 0 || !driver.one(`${sql.expired}${of} LIMIT 1`, ...values)) {
      return [];
    }
    let gone: EntryRef[] = [];
    this.#delete(() => {
      gone = driver.all(`${sql.expired}${of} LIMIT ?`, ...values, limit).map(reference);
      for (const { id } of gone) {
        deleteOne(driver, 'id = ?', id);
      }
      return gone.length;
    });
    return gone;
  }

  clearNamespace(namespace?: string): number {
    return this.#delete((driver) => {
      if (namespace !== undefined) {
        if (driver.one('SELECT 1 FROM entry_tags LIMIT 1')) {
          driver.all(TAGGED_IN, namespace).forEach((row) => untag(driver, row));
        }
        return driver.run('DELETE FROM entries WHERE namespace = ?', namespace);
      }
      // Not every driver counts what it deletes without a condition.
      const deleted = this.count();
      deleteEntries(driver);
      return deleted;
    });
  }

  setNamespaceQuota(namespace: string, maxEntries: number | undefined): void {
    const { driver } = this.#open();
    driver.write(() => {
      if (maxEntries === undefined) {
        driver.run('DELETE FROM namespace_quotas WHERE namespace = ?', namespace);
      } else {
        driver.run(SET_QUOTA, namespace, maxEntries);
      }
    });
  }

  getNamespaceQuota(namespace: string): number | undefined {
    const row = this.#open().driver.one(
      'SELECT max_entries FROM namespace_quotas WHERE namespace = ?',
      namespace,
    );
    return row && quota(row);
  }

  listNamespaceQuotas(): [string, number][] {
    return quotasOf(this.#open().driver);
  }

  readVersionCounter(): number {
    return version(this.#open().driver);
  }

  readMeta(key: string): string | undefined {
    return layout.meta(this.#open().driver, key);
  }

  replaceMeta(key: string, expected: string | undefined, value: string | undefined): boolean {
    const { driver } = this.#open();
    checkMetaKey(key);
    // Who can only read counts nothing; else no dump and no close could end.
    if (driver.isReadOnly && key === COUNTERS) {
      return true;
    }
    return driver.write(() => {
      if (layout.meta(driver, key) !== expected) {
        return false;
      }
      if (value === undefined) {
        driver.run('DELETE FROM schema_meta WHERE key = ?', key);
      } else {
        driver.run(SET_META, key, value);
      }
      return true;
    }, 'briefly');
  }

  listMeta(): [string, string][] {
    return metaValues(this.#open().driver);
  }

  integrityCheck(): boolean {
    const { driver, vectorBytes } = this.#open();
    try {
      version(driver);
      return isSound(driver, vectorBytes, 'quick_check') && layout.areTagsFound(driver);
    } catch (error) {
      if (error instanceof CorruptError) {
        return false;
      }
      throw error;
    }
  }

  readBlob(name: string): Uint8Array | undefined {
    const session = this.#open();
    checkBlobName(name);
    if (!this.#seesBlobs(session)) {
      return undefined;
    }
    const row = session.driver.one('SELECT bytes FROM derived_blobs WHERE name = ?', name);
    if (row && !(row['bytes'] instanceof Uint8Array)) {
      throw new CorruptError(`table derived_blobs, row ${name} holds no bytes; delete that row`);
    }
    return row?.['bytes'] as Uint8Array | undefined;
  }

  writeBlob(name: string, bytes: Uint8Array): void {
    const session = this.#open();
    const { driver } = session;
    checkBlob(name, bytes, this.#claims.maxBlob);
    driver.write(() => {
      layout.createBlobs(driver);
      driver.run(WRITE_BLOB, name, bytes);
    }, 'briefly');
    session.hasBlobs = true;
  }

  deleteBlobs(names: string[]): void {
    const session = this.#open();
    names.forEach(checkBlobName);
    if (names.length > 0 && this.#seesBlobs(session)) {
      const { driver } = session;
      driver.write(() => {
        for (const name of names) {
          driver.run('DELETE FROM derived_blobs WHERE name = ?', name);
        }
      }, 'briefly');
    }
  }

  listBlobs(): string[] {
    const session = this.#open();
    return this.#seesBlobs(session)
      ? session.driver
          .all('SELECT name FROM derived_blobs ORDER BY name')
          .map(({ name }) => String(name))
      : [];
  }

  beginView(): boolean {
    return this.#open().driver.beginView();
  }

  endView(): void {
    this.#open().driver.endView();
  }

  beginImport(mode: ImportMode): void {
    const session = this.#open();
    const { driver, embedder } = session;
    session.import?.stage.drop();
    session.import = undefined;
    // Who finds a lock waits now, while others go on, and not when all is staged.
    if (mayGiveWay()) {
      driver.write(() => {});
    }
    accept(mode, driver);
    session.import = { mode, stage: driver.stage(embedder.dim) };
  }

  writeImport(entries: Entry[]): void {
    const session = this.#open();
    const under = takeImport(session);
    try {
      stageAll(under, entries, MAX_BATCH, session.embedder.dim);
    } catch (error) {
      under.stage.drop();
      throw error;
    }
    session.import = under;
  }

  commitImport(quotas: [string, number][], meta: MetaChange[]): boolean {
    const session = this.#open();
    const under = takeImport(session);
    const { driver } = session;
    let committed = false;
    try {
      for (const { key } of meta) {
        checkMetaKey(key);
      }
      committed = driver.write(() => {
        accept(under.mode, driver);
        const replace = under.mode === 'replace';
        if (!replace && meta.some(({ key, expected }) => layout.meta(driver, key) !== expected)) {
          return false;
        }
        let changed = false;
        if (replace) {
          changed = hasEntries(driver);
          deleteEntries(driver);
          driver.run('DELETE FROM namespace_quotas');
          driver.run(`DELETE FROM schema_meta WHERE ${USER_META}`);
        }
        for (const one of under.stage.entries()) {
          insertOne(driver, one);
          changed = true;
        }
        for (const [namespace, maxEntries] of quotas) {
          driver.run(SET_QUOTA, namespace, maxEntries);
        }
        for (const { key, value } of meta) {
          driver.run(SET_META, key, value);
        }
        if (changed) {
          driver.run(BUMP);
        }
        return true;
      });
    } catch (error) {
      under.stage.drop();
      throw error;
    }
    if (committed) {
      under.stage.drop();
    } else {
      session.import = under;
    }
    return committed;
  }

  endImport(): void {
    const session = this.#open();
    session.import?.stage.drop();
    session.import = undefined;
  }

  /** The open database, for stores with additional operations. */
  protected opened(): { driver: SqlDriver; embedder: StoredEmbedder } {
    return this.#open();
  }

  #open(): Session {
    if (!this.#session) {
      throw new ClosedError();
    }
    return this.#session;
  }

  /** One transaction that deletes entries, and moves the counter where it has deleted any. */
  #delete(work: (driver: SqlDriver) => number, wait?: 'briefly'): number {
    const { driver } = this.#open();
    return driver.write(() => {
      const deleted = work(driver);
      if (deleted > 0) {
        driver.run(BUMP);
      }
      return deleted;
    }, wait);
  }

  /** Others may have made the table meanwhile. */
  #seesBlobs(session: Session): boolean {
    session.hasBlobs ||= layout.hasBlobs(session.driver);
    return session.hasBlobs;
  }
}

/** Every quota, sorted by namespace. */
export function quotasOf(driver: SqlDriver): [string, number][] {
  const namespace = driver.text('namespace');
  return driver
    .all(
      `SELECT ${namespace}, max_entries FROM namespace_quotas ORDER BY namespace_quotas.namespace`,
    )
    .map((row) => [text(row, 'namespace'), quota(row)]);
}

/** Every meta value that is not the store's own, sorted by key. */
export function metaValues(driver: SqlDriver): [string, string][] {
  const columns = `${driver.text('key')}, ${driver.text('value')}`;
  return driver
    .all(`SELECT ${columns} FROM schema_meta WHERE ${USER_META} ORDER BY schema_meta.key`)
    .map((row) => [text(row, 'key'), text(row, 'value')]);
}

/** The version counter, which is kept as text. */
export function version(driver: SqlDriver): number {
  const row = driver.one("SELECT value FROM multi_process_state WHERE key = 'version_counter'");
  const value = String(row?.['value'] ?? '0');
  if (!/^[0-9]{1,15}$/.test(value)) {
    throw new CorruptError(
      `table multi_process_state, key version_counter holds ${JSON.stringify(value)}, which is not a count; set it to a number above the last, or restore a checkpoint`,
    );
  }
  return Number(value);
}

/** Whether pages and rows are in order, as far as the check looks. */
export function isSound(
  driver: SqlDriver,
  vectorBytes: number,
  check: 'quick_check' | 'integrity_check',
): boolean {
  const row = driver.one(`PRAGMA ${check}(1)`);
  return Object.values(row ?? {})[0] === 'ok' && !driver.one(WRONG_ROW, vectorBytes);
}

/** The import, which is over unless it is put back. */
function takeImport(session: Session): Import {
  const under = begun(session.import);
  session.import = undefined;
  return under;
}

/** Tags that are damaged matter to nobody who does not ask for them. */
function isMeant(row: SqlRow, filter: Filter): boolean {
  const tags = filter.tags.length > 0 ? tagsOf(row) : [];
  return meets({ ...reference(row), context: text(row, 'context'), tags }, filter);
}

function deleteEntries(driver: SqlDriver): void {
  driver.run('DELETE FROM entries');
  driver.run('DELETE FROM entry_tags');
}

function hasEntries(driver: SqlDriver): boolean {
  return driver.one('SELECT 1 FROM entries LIMIT 1') !== undefined;
}

function accept(mode: ImportMode, driver: SqlDriver): void {
  if (mode === 'empty' && hasEntries(driver)) {
    throw importNotEmpty();
  }
}
