/** The store over any synchronous SQLite. */

import { ClosedError, CorruptError, UnsupportedError } from '../../errors.js';
import { mayGiveWay } from '../../locks.js';
import type {
  Capabilities,
  ChangePage,
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
import { LONG_WRITE } from '../changes.js';
import {
  MAX_BATCH,
  ANY_NUMBER,
  acceptEmbedder,
  checkBatch,
  checkBlob,
  checkBlobName,
  checkMetaKey,
  givenEmbedder,
  importNotEmpty,
  type StoredEmbedder,
} from '../checks.js';
import { begun, stageAll, type Import } from '../stage.js';
import { SqlChanges } from './changes.js';
import type { SqlDriver, SqlValue } from './driver.js';
import * as layout from './layout.js';
import {
  deleteOne,
  entry,
  idOf,
  insertOne,
  littleEndian,
  quota,
  reference,
  text,
  untag,
  vectorOf,
  whole,
} from './rows.js';
import { select } from './select.js';
import {
  BUMP,
  CREATED_AT,
  SET_META,
  SET_QUOTA,
  SOME_IDS,
  SOME_IDS_IN,
  STAMPS,
  TAGGED_IN,
  TOUCH,
  USER_META,
  WRITE_BLOB,
  WRONG_ROW,
  statements,
  type Statements,
} from './statements.js';

/** The meta key under which the cache counts. */
const COUNTERS = 'counters';

/** What is open. */
interface Session {
  driver: SqlDriver;
  embedder: StoredEmbedder;
  /** `embedderDim` values of float32. */
  vectorBytes: number;
  hasBlobs: boolean;
  sql: Statements;
  /** Undefined in a store that keeps none. */
  changes: SqlChanges | undefined;
  import: Import | undefined;
}

/** Capabilities that depend on where the database is. */
export type SqlCapabilities = Pick<
  Capabilities,
  'name' | 'durable' | 'shared' | 'snapshot' | 'maxBlob' | 'maxChanges'
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
    return { ...this.#claims, maxBatch: MAX_BATCH, maxDelete: ANY_NUMBER };
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
        changes: this.#claims.maxChanges > 0 ? new SqlChanges(driver) : undefined,
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
    return select(driver, sql, filter, lastId, limit);
  }

  count(namespace?: string): number {
    const { driver } = this.#open();
    const row =
      namespace === undefined
        ? driver.one('SELECT count(*) AS n FROM entries')
        : driver.one('SELECT count(*) AS n FROM entries WHERE namespace = ?', namespace);
    return Number(row?.['n']);
  }

  listNamespaces(after: string | undefined, limit: number): string[] {
    const { driver, sql } = this.#open();
    const rows = driver.all(sql.namespaces, nextName(after), limit);
    return rows.map((row) => text(row, 'namespace'));
  }

  countByNamespace(after: string | undefined, limit: number): [string, number][] {
    const { driver, sql } = this.#open();
    const rows = driver.all(sql.counts, nextName(after), limit);
    return rows.map((row) => [text(row, 'namespace'), Number(row['n'])]);
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
      const inserted = entries.map((one) => insertOne(driver, one));
      this.#moved(
        inserted.map(({ id }) => id),
        false,
      );
      return inserted;
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
    return this.#delete((driver) => deleteOne(driver, 'id = ?', id)).length > 0;
  }

  deleteUnchanged(entries: EntryRef[]): number[] {
    const { driver } = this.#open();
    // Who finds an expired entry where it can only be read goes on without deleting it.
    if (entries.length === 0 || driver.isReadOnly) {
      return [];
    }
    const unchanged = `id = ? AND ${CREATED_AT} = ?`;
    return this.#delete(
      () => entries.flatMap(({ id, createdAt }) => deleteOne(driver, unchanged, id, createdAt)),
      'briefly',
    );
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
      return gone.flatMap(({ id }) => deleteOne(driver, 'id = ?', id));
    });
    return gone;
  }

  clearNamespace(namespace?: string): number {
    let deleted = 0;
    this.#delete((driver) => {
      const ids =
        namespace === undefined
          ? driver.all(SOME_IDS, LONG_WRITE + 1)
          : driver.all(SOME_IDS_IN, LONG_WRITE + 1, namespace);
      if (namespace === undefined) {
        // Not every driver counts what it deletes without a condition.
        deleted = this.count();
        deleteEntries(driver);
      } else {
        if (driver.one('SELECT 1 FROM entry_tags LIMIT 1')) {
          driver.all(TAGGED_IN, namespace).forEach((row) => untag(driver, row));
        }
        deleted = driver.run('DELETE FROM entries WHERE namespace = ?', namespace);
      }
      return ids.map(idOf);
    });
    return deleted;
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

  changesSince(after: number, limit: number): ChangePage | undefined {
    const { driver, changes } = this.#open();
    if (!changes) {
      throw new UnsupportedError(`the ${this.#claims.name} store keeps no log of changes`);
    }
    return driver.read(() => changes.since(after, version(driver), limit));
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
          driver.one(BUMP);
          session.changes?.cut();
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
  #delete(work: (driver: SqlDriver) => number[], wait?: 'briefly'): number[] {
    const { driver } = this.#open();
    return driver.write(() => {
      const deleted = work(driver);
      if (deleted.length > 0) {
        this.#moved(deleted, true);
      }
      return deleted;
    }, wait);
  }

  /** Moves the counter on, in the transaction that has written these entries. */
  #moved(ids: number[], deleted: boolean): void {
    const { driver, changes } = this.#open();
    const row = driver.one(BUMP);
    changes?.append(Number(row?.['value']), ids, deleted);
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

/** The first name after this one in the order of bytes. */
function nextName(after: string | undefined): string {
  return after === undefined ? '' : `${after}\0`;
}
