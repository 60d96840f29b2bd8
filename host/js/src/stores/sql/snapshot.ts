/** Snapshots of a SQLite file: the database file itself, on its way out or in. */

import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { kill, pid } from 'node:process';
import {
  BackendError,
  CheckpointError,
  CorruptError,
  InvalidArgumentError,
  SchemaError,
} from '../../errors.js';
import type { Entry, Restored } from '../../store.js';
import { acceptEmbedder, type StoredEmbedder } from '../checks.js';
import type { SqlDriver } from './driver.js';
import * as layout from './layout.js';
import { NodeSqliteDriver, WARY, isOfMachine, type SqliteCause } from './node-driver.js';
import { entry, since } from './rows.js';
import { FILL_TAGS } from './schema.js';
import { isSound, metaValues, quotasOf, version } from './store.js';

/** What the names of private files begin with. Then follows which process they are of. */
const PREFIX = '.mneme-node-';
/** A private file of this age was left behind, though nobody can tell by whom. */
const LEFT_BEHIND_MS = 24 * 3600 * 1000;
/** Bytes 18 and 19 of a database file: 1 with a rollback journal, 2 with a write-ahead log. */
const FORMAT_VERSIONS = 18;

/** The greatest id of a snapshot. As many are left for new entries. */
const GREATEST_ID = (Number.MAX_SAFE_INTEGER - 1) / 2;
const BEYOND = `SELECT 1 FROM (
    SELECT max(id) AS last FROM entries
    UNION ALL SELECT seq FROM sqlite_sequence WHERE name = 'entries'
  ) WHERE last > ${GREATEST_ID} LIMIT 1`;

/**
 * The quotas and meta values of a snapshot may take this many bytes in memory, and a sixteenth of
 * the snapshot, for they are handed over in one piece.
 */
const [STATE_BYTES, STATE_SHARE] = [16 << 20, 16];
/** With what a row takes besides its texts. */
const STATE = `SELECT
    (SELECT ifnull(sum(64 + length(CAST(namespace AS BLOB))), 0) FROM namespace_quotas) +
    (SELECT ifnull(sum(64 + length(CAST(key AS BLOB)) + length(CAST(value AS BLOB))), 0)
      FROM schema_meta) AS bytes`;

/** Bounds of the limit of a value's bytes: SQLite's statements need some, and 2^31 - 1 is its most. */
const [SHORTEST_LIMIT, LONGEST_LIMIT] = [1 << 20, 2 ** 31 - 1];

/** Within what process ids mean something: of another container they do not. */
function idSpace(): string {
  try {
    return String(statSync('/proc/self/ns/pid').ino);
  } catch {
    return '0';
  }
}

/** Whether the process that a private file is named after has ended. */
function isGone(name: string): boolean {
  const [, space, id] = /^(\d+)-(\d+)-/.exec(name.slice(PREFIX.length)) ?? [];
  if (space !== idSpace()) {
    return false;
  }
  try {
    return !kill(Number(id), 0);
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Removes the private files beside a database that were left by processes that were killed. */
export function removeLeftovers(database: string): void {
  const folder = dirname(database);
  const tried = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      // Somebody else was faster, or may do that and this may not.
      return undefined;
    }
  };
  const names = tried(() => readdirSync(folder)) ?? [];
  for (const name of names.filter((one) => one.startsWith(PREFIX))) {
    const path = join(folder, name);
    tried(() => {
      if (isGone(name) || Date.now() - statSync(path).mtimeMs > LEFT_BEHIND_MS) {
        rmSync(path);
      }
    });
  }
}

/** The name of a new file beside the database, where there is room for its like. */
function privatePath(database: string): string {
  removeLeftovers(database);
  return join(dirname(database), `${PREFIX}${idSpace()}-${pid}-${randomUUID()}`);
}

function disk<T>(database: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new BackendError(
      `a temporary file in ${dirname(database)} failed: ${(cause as Error).message}; check its free space and rights`,
      { cause },
    );
  }
}

/** A database file, complete, that is being read out. */
export class Snapshot {
  readonly size: number;
  readonly #database: string;
  readonly #file: number;
  #at = 0;

  constructor(driver: SqlDriver, database: string) {
    this.#database = database;
    const path = privatePath(database);
    // For the owner alone; SQLite writes into a file that is there if it is empty.
    disk(database, () => closeSync(openSync(path, 'wx', 0o600)));
    try {
      driver.run('VACUUM INTO ?', path);
      this.#file = disk(database, () => openSync(path, 'r'));
    } finally {
      // What is open stays readable without a name.
      removed(path);
    }
    this.size = disk(database, () => fstatSync(this.#file).size);
  }

  read(max: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(max, this.size - this.#at));
    const read = disk(this.#database, () => readSync(this.#file, bytes, 0, bytes.length, this.#at));
    this.#at += read;
    return bytes.subarray(0, read);
  }

  end(): void {
    closeSync(this.#file);
  }
}

/** A snapshot that is being received. */
export class Restore {
  readonly #database: string;
  readonly #path: string;
  #file: number | undefined;
  #size = 0;
  /** The snapshot, once it has proved to be one. */
  #source: NodeSqliteDriver | undefined;
  #vectorBytes = 0;

  constructor(database: string) {
    this.#database = database;
    this.#path = privatePath(database);
    this.#file = disk(database, () => openSync(this.#path, 'wx+', 0o600));
  }

  write(bytes: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) {
      throw new InvalidArgumentError(
        'the snapshot is checked and therefore complete; begin another restore for other bytes',
      );
    }
    disk(this.#database, () => {
      for (let at = 0; at < bytes.length;) {
        at += writeSync(file, bytes, at, bytes.length - at, this.#size + at);
      }
    });
    this.#size += bytes.length;
  }

  /** Whether the bytes received are a sound cache of this embedder, and what is in it. */
  check(embedder: StoredEmbedder): Restored {
    return fit(() => {
      const source = this.#checked(embedder);
      return {
        entries: Number(source.one('SELECT count(*) AS n FROM entries')?.['n']),
        quotas: quotasOf(source),
        meta: metaValues(source),
      };
    });
  }

  page(lastId: number, limit: number): Entry[] {
    const source = this.#source;
    if (!source) {
      throw new InvalidArgumentError('the snapshot is not checked yet; call checkRestore first');
    }
    return fit(() =>
      source
        .all(
          since((column) => source.text(column)),
          lastId,
          limit,
        )
        .map((row) => entry(row, this.#vectorBytes)),
    );
  }

  /** Replaces all data of the live database in one transaction. */
  commit(live: SqlDriver, embedder: StoredEmbedder, onlyIfEmpty: boolean): void {
    fit(() => this.#checked(embedder));
    const hasBlobs = layout.hasBlobs(this.#source as NodeSqliteDriver);
    this.#source?.close();
    this.#source = undefined;
    live.run('ATTACH ? AS snapshot', this.#path);
    try {
      live.write(() => {
        if (onlyIfEmpty && live.one('SELECT 1 FROM main.entries LIMIT 1')) {
          throw new CheckpointError(
            'the store has entries, and this restore needs a store without entries; clear the store first, or let it replace them',
          );
        }
        const before = version(live);
        // No id is given twice.
        const sequence = `SELECT max(seq) AS n FROM (
          SELECT seq FROM main.sqlite_sequence WHERE name = 'entries'
          UNION ALL SELECT seq FROM snapshot.sqlite_sequence WHERE name = 'entries')`;
        const lastId = live.one(sequence)?.['n'] ?? null;
        for (const table of ['entries', 'schema_meta', 'cache_counters', 'namespace_quotas']) {
          live.run(`DELETE FROM main.${table}`);
          const columns = live
            .all(`SELECT name FROM pragma_table_info('${table}', 'main')`)
            .map(({ name }) => String(name))
            .join(', ');
          live.run(
            `INSERT INTO main.${table} (${columns}) SELECT ${columns} FROM snapshot.${table}`,
          );
        }
        // The snapshot's index of tags may lack some.
        live.run('DELETE FROM main.entry_tags');
        live.run(FILL_TAGS);
        // It leads to other entries.
        live.run('DELETE FROM main.changes');
        // What was derived from other entries must not be taken for theirs.
        if (layout.hasBlobs(live)) {
          live.run('DELETE FROM main.derived_blobs');
        }
        if (hasBlobs) {
          layout.createBlobs(live);
          live.run(
            'INSERT INTO main.derived_blobs (name, bytes) SELECT name, bytes FROM snapshot.derived_blobs',
          );
        }
        if (lastId !== null) {
          live.run("DELETE FROM main.sqlite_sequence WHERE name = 'entries'");
          live.run(
            "INSERT INTO main.sqlite_sequence (name, seq) VALUES ('entries', CAST(? AS INTEGER))",
            lastId,
          );
        }
        live.run(
          "UPDATE main.multi_process_state SET value = ? WHERE key = 'version_counter'",
          String(before + 1),
        );
      });
    } finally {
      live.run('DETACH snapshot');
    }
  }

  end(): void {
    if (this.#file !== undefined) {
      closeSync(this.#file);
      this.#file = undefined;
    }
    this.#source?.close();
    this.#source = undefined;
    removed(this.#path);
    removed(`${this.#path}-journal`);
  }

  /** Opens what was received, and makes its layout complete. */
  #checked(embedder: StoredEmbedder): NodeSqliteDriver {
    if (this.#source) {
      return this.#source;
    }
    const file = this.#file as number;
    disk(this.#database, () => {
      // A file that needs no other beside it.
      const head = new Uint8Array(20);
      const isDatabase = readSync(file, head, 0, head.length, 0) === head.length;
      if (isDatabase && head[18] === 2 && head[19] === 2) {
        writeSync(file, new Uint8Array([1, 1]), 0, 2, FORMAT_VERSIONS);
      }
      fsyncSync(file);
      closeSync(file);
    });
    this.#file = undefined;
    this.#source = this.#opened(true);
    const found = this.#verified(this.#source, embedder);
    if (!found.complete) {
      // Another release may leave out what it does not use. What is there has been checked.
      this.#source.close();
      this.#source = this.#opened(false);
      const source = this.#source;
      source.write(() => layout.provision(source, embedder));
    }
    version(this.#source);
    this.#acceptExtent(this.#source);
    return this.#source;
  }

  /**
   * Opens what was received. `node:sqlite` has no progress handler, so the time that a check takes is
   * bounded only by the bytes received; Node 22 knows neither `defensive` nor `limits`; and
   * `commit` cannot attach the file read-only. What is read is bounded by its statements being those
   * of a cache, which compute nothing.
   */
  #opened(readOnly: boolean): NodeSqliteDriver {
    const pragmas = readOnly
      ? 'PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;'
      : 'PRAGMA cell_size_check = ON; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;';
    return new NodeSqliteDriver(this.#path, 0, pragmas, {
      ...WARY,
      readOnly,
      limits: {
        ...WARY.limits,
        // No value is longer than the file that it is in.
        length: Math.min(Math.max(this.#size, SHORTEST_LIMIT), LONGEST_LIMIT),
        attach: 0,
      },
    });
  }

  /** Refuses ids that leave no room for new ones, and far more quotas and meta values than a cache has. */
  #acceptExtent(source: NodeSqliteDriver): void {
    if (source.one(BEYOND)) {
      throw new CorruptError(
        `its ids go up beyond ${GREATEST_ID}, and new ones are greater than they are`,
      );
    }
    const bytes = Number(source.one(STATE)?.['bytes']);
    const most = STATE_BYTES + this.#size / STATE_SHARE;
    if (bytes > most) {
      throw new CorruptError(
        `its quotas and meta values take ${bytes} bytes, and may take ${Math.floor(most)} in a snapshot of ${this.#size}; remove the quotas of namespaces without entries`,
      );
    }
  }

  /** Whether it is a sound cache of this embedder: its statements first, then its rows. */
  #verified(source: NodeSqliteDriver, embedder: StoredEmbedder): layout.Found {
    const pragma = (name: string) => Object.values(source.one(`PRAGMA ${name}`) ?? {})[0];
    source.acceptEncoding();
    const found = layout.inspect(source);
    if (!found.embedder) {
      throw new CorruptError('it holds no cache');
    }
    acceptEmbedder(found.embedder, embedder);
    // SQLite takes the rest of a last page that is cut for zeros.
    if (this.#size < Number(pragma('page_count')) * Number(pragma('page_size'))) {
      throw new CorruptError('its end is missing');
    }
    this.#vectorBytes = 4 * embedder.dim;
    layout.showLabels(source, found);
    if (!isSound(source, this.#vectorBytes, 'integrity_check')) {
      throw new CorruptError('its pages or rows are damaged');
    }
    return found;
  }
}

/** What was received is not the live file, and other remedies apply. */
function fit<T>(work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof SchemaError) {
      throw new SchemaError(`the snapshot was refused: ${thrown.message}; nothing was changed`);
    }
    if (
      thrown instanceof CorruptError ||
      thrown instanceof BackendError ||
      thrown instanceof InvalidArgumentError
    ) {
      // As SQLite says it: a message with a path would name the private file.
      const cause = thrown.cause as SqliteCause | undefined;
      const why = cause?.message ?? thrown.message;
      if (cause && isOfMachine(cause)) {
        throw new BackendError(
          `the snapshot could not be read: ${why}; nothing was changed, see whether the disk has room and works`,
          { cause },
        );
      }
      // A private file is not locked by others: what SQLite cannot do with it is its fault.
      throw new CorruptError(
        `the snapshot was refused: ${why}; nothing was changed, take another snapshot`,
        { cause: thrown },
      );
    }
    throw thrown;
  }
}

function removed(path: string): void {
  rmSync(path, { force: true });
}
