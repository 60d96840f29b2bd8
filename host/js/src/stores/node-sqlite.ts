/** A store in a SQLite file, through `node:sqlite` (Node 22.13 and later, Deno 2.2 and later). */

import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { BackendError, CorruptError, InvalidArgumentError } from '../errors.js';
import type { SqlDriver, SqlRow, SqlValue, Stage } from './sql/driver.js';
import { databaseStage } from './sql/stage.js';
import { SqlStore } from './sql/store.js';

/** 4 MiB. */
const MAX_BLOB = 4 << 20;
/** Room for the indexes of some hundred thousand entries; taken as it is needed. */
const CACHE_KIB = 32 * 1024;
/** Pages after which the log is copied into the database. */
const CHECKPOINT_PAGES = 4000;

const [CORRUPT, NOT_A_DATABASE, BUSY, LOCKED, TOO_BIG] = [11, 26, 5, 6, 18];

/** How the file is used. */
export interface NodeSqliteOptions {
  /** Milliseconds to wait for another process's lock. Default 5,000. */
  busyTimeout?: number;
  /**
   * `normal` (default): a loss of power may take the last moments, and never damages the file.
   * `full`: what has returned is on the disk.
   */
  synchronous?: 'normal' | 'full';
}

/**
 * A store in the SQLite file at `path`, which is created, for its owner alone, where there is
 * none. It is the same file as that of the other hosts of mneme and of the Python library
 * mneme-cache, and any of them may use it at the same time; see the option `staleMs`. It must be
 * on a local disk.
 */
export function nodeSqlite(path: string, options: NodeSqliteOptions = {}): SqlStore {
  if (typeof path !== 'string' || path === '' || path === ':memory:' || path.includes('\0')) {
    throw new InvalidArgumentError(
      'the path of a SQLite store is that of a file; for a store in memory take memory()',
    );
  }
  const claims = { name: 'sqlite', durable: true, shared: true, maxBlob: MAX_BLOB };
  return new SqlStore(claims, () => new Driver(path, options));
}

class Driver implements SqlDriver {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  constructor(path: string, options: NodeSqliteOptions) {
    this.#path = path;
    if (path !== '') {
      create(path);
    }
    this.#db = this.#told(
      () => new DatabaseSync(path, { timeout: options.busyTimeout ?? 5000 }),
    );
    if (path !== '') {
      const level = options.synchronous === 'full' ? 'FULL' : 'NORMAL';
      try {
        this.#configure(level);
      } catch (error) {
        this.close();
        throw error;
      }
    }
  }

  #configure(level: string): void {
    this.#told(() =>
      this.#db.exec(
        `PRAGMA trusted_schema = OFF;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = ${level};
         PRAGMA cache_size = -${CACHE_KIB};
         PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};`,
      ),
    );
  }

  text(column: string): string {
    return dropsNul() ? `CAST(${column} AS BLOB) AS ${column}` : column;
  }

  one(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#told(() => this.#statement(sql).get(...values) as SqlRow | undefined);
  }

  all(sql: string, ...values: SqlValue[]): SqlRow[] {
    return this.#told(() => this.#statement(sql).all(...values) as SqlRow[]);
  }

  run(sql: string, ...values: SqlValue[]): number {
    return this.#told(() => Number(this.#statement(sql).run(...values).changes));
  }

  write<T>(work: () => T): T {
    return this.#transaction('BEGIN IMMEDIATE', work);
  }

  read<T>(work: () => T): T {
    return this.#depth > 0 ? work() : this.#transaction('BEGIN', work);
  }

  #transaction<T>(begin: string, work: () => T): T {
    this.run(begin);
    this.#depth += 1;
    try {
      const result = work();
      this.run('COMMIT');
      return result;
    } catch (error) {
      try {
        this.run('ROLLBACK');
      } catch {
        // The first error is the one to tell; SQLite has rolled back by itself then.
      }
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  beginView(): boolean {
    this.endView();
    this.run('BEGIN');
    this.#depth = 1;
    // The instant is that of the first read.
    this.all('SELECT 1 FROM entries LIMIT 1');
    return true;
  }

  endView(): void {
    if (this.#depth > 0) {
      this.#depth = 0;
      this.run('COMMIT');
    }
  }

  /** In a database without a name, which SQLite keeps in a file that nobody else sees. */
  stage(dim: number): Stage {
    const database = new Driver('', {});
    database.run('PRAGMA journal_mode = OFF');
    database.run('BEGIN');
    return databaseStage(database, dim);
  }

  close(): void {
    this.#statements.clear();
    this.#depth = 0;
    this.#told(() => this.#db.close());
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** What `node:sqlite` throws, with the place. */
  #told<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      const { message, errcode } = cause as Error & { errcode?: number };
      const code = (errcode ?? 0) & 0xff;
      const what = `SQLite file ${this.#path}: ${message}`;
      if (code === CORRUPT || code === NOT_A_DATABASE) {
        throw new CorruptError(`${what}; restore a checkpoint, or give another path`, { cause });
      }
      if (code === TOO_BIG) {
        throw new InvalidArgumentError(`${what}; give less`);
      }
      throw new BackendError(what, { retryable: code === BUSY || code === LOCKED, cause });
    }
  }
}

let dropping: boolean | undefined;

/** Whether this runtime ends a text at its first U+0000, as Node 22 does. */
function dropsNul(): boolean {
  if (dropping === undefined) {
    const db = new DatabaseSync(':memory:');
    const row = db.prepare("SELECT 'a' || char(0) || 'b' AS text").get();
    dropping = row?.['text'] !== 'a\0b';
    db.close();
  }
  return dropping;
}

/** Creates the file for its owner alone; an existing one is not even opened. */
function create(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'EEXIST') {
      throw new BackendError(
        `SQLite file ${path}: the file cannot be created: ${message}; give a path where it can be`,
        { cause },
      );
    }
  }
}
