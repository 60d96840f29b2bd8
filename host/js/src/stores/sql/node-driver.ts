/** The driver for `node:sqlite`. */

import fs, { realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, DatabaseSyncOptions, StatementSync } from 'node:sqlite';
import {
  BackendError,
  CorruptError,
  DataVanishedError,
  InvalidArgumentError,
  SchemaError,
  UnsupportedError,
  isMnemeError,
} from '../../errors.js';
import { lockIsHeld, lockWait, patienceOf } from '../../locks.js';
import { builtin } from '../../platform.js';
import type { Stage } from '../stage.js';
import { isTableMissing, type SqlDriver, type SqlRow, type SqlValue } from './driver.js';
import { databaseStage } from './stage.js';

const [CORRUPT, NOT_A_DATABASE, BUSY, LOCKED, PROTOCOL, TOO_BIG] = [11, 26, 5, 6, 15, 18];
const [PERMISSION, NO_MEMORY, READ_ONLY, IO, FULL, CANNOT_OPEN] = [3, 7, 8, 10, 13, 14];

const HELD =
  'another process has held the lock longer than busyTimeoutSeconds, so call again, or raise it';
const NO_ROOM = 'nothing was stored; free space on the disk and call again';
const NO_FOLDER = 'check that the directory exists and that this process may write to it';
/** What to do about errors of SQLite, by code. */
const REMEDIES: Record<number, string> = {
  [BUSY]: HELD,
  [LOCKED]: HELD,
  [PROTOCOL]: HELD,
  [PERMISSION]: NO_FOLDER,
  [CANNOT_OPEN]: NO_FOLDER,
  [NO_MEMORY]: 'give this process more memory, and call again',
  [READ_ONLY]: 'give this process the right to write the file and its directory',
  [IO]: 'the disk failed to read or write; check it, then run health with deep',
  [FULL]: NO_ROOM,
};

/** What SQLite or the disk threw: SQLite has a code, the file system a call. */
export interface SqliteCause {
  message: string;
  errcode?: number;
  code?: string;
  syscall?: string;
}

/** Whether the machine failed, whatever is in the file. */
export function isOfMachine({ errcode = 0, syscall }: SqliteCause): boolean {
  return syscall !== undefined || [NO_MEMORY, IO, FULL].includes(errcode & 0xff);
}

/** Less than this is of no use to SQLite. */
const LEAST_ROOM = 64 * 1024;

/** Whether nothing more can be written beside a file. SQLite tells it only of the file itself. */
function isFull(path: string): boolean {
  try {
    const { bavail, bsize, files, ffree } = fs.statfsSync(dirname(path));
    return bavail * bsize < LEAST_ROOM || (files > 0 && ffree === 0);
  } catch {
    return false;
  }
}

/** The longest wait of bookkeeping for a lock. */
const BRIEF_MS = 100;

/**
 * How a file is opened that others may have written. One more database is attached: a snapshot that
 * comes in, or goes out.
 */
export const WARY = {
  defensive: true,
  limits: { sqlLength: 100_000, column: 100, exprDepth: 100, attach: 1 },
} satisfies DatabaseSyncOptions;

type Sqlite = typeof import('node:sqlite');

/** The module; an `UnsupportedError` where the runtime lacks it, as older releases of Node do. */
export function requireSqlite(): Sqlite {
  const found = builtin<Sqlite>('node:sqlite');
  if (!found) {
    const { process } = globalThis as { process?: { version?: string } };
    throw new UnsupportedError(
      `this runtime (${process?.version ?? 'unknown'}) has no node:sqlite; use Node 22.13 or later, Deno or Bun, or another store`,
    );
  }
  return found;
}

/** A database of `node:sqlite`. */
export class NodeSqliteDriver implements SqlDriver {
  readonly isReadOnly: boolean;
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #timeout: number;
  /** The present time limit of a wait for a lock. */
  #waiting: number;
  /** Which file was opened. */
  readonly #file: string | undefined;
  /** What SQLite keeps beside it, which stays the same while it is open; known from the first write on. */
  readonly #beside: { readonly path: string; file: string | undefined }[];
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  /**
   * Opens a file, or with an empty path a private database; `pragmas` are run on it. Releases that
   * lack one of the `options` do not heed it.
   */
  constructor(path: string, timeout: number, pragmas: string, options: DatabaseSyncOptions = {}) {
    this.#path = path;
    this.#timeout = timeout;
    this.#waiting = timeout;
    this.isReadOnly = options.readOnly ?? false;
    const { DatabaseSync } = requireSqlite();
    this.#db = this.#told(() => new DatabaseSync(path, { ...options, timeout }));
    this.#file = path === '' ? undefined : fileAt(path);
    this.#beside = path === '' ? [] : beside(path).map((path) => ({ path, file: undefined }));
    try {
      const wary = 'PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = OFF;';
      this.#told(() => this.#db.exec(`${wary} ${pragmas}`));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Refuses another encoding than that of a cache: in it, texts have other bytes and another order. */
  acceptEncoding(): void {
    const encoding = this.one('PRAGMA encoding')?.['encoding'];
    if (encoding !== 'UTF-8') {
      throw new SchemaError(
        `the encoding of the database is ${encoding}, and that of a cache is UTF-8; give another one`,
      );
    }
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

  write<T>(work: () => T, wait?: 'briefly'): T {
    if (this.isReadOnly) {
      throw new BackendError(
        `SQLite file ${this.#path}: it was opened with the mode ro, so it can only be read, and nothing was changed; open it with rw to write`,
      );
    }
    // What is written to a file without a name is lost, and so is a log without one.
    const files = [{ path: this.#path, file: this.#file }, ...this.#beside];
    const gone = files.find(({ path, file }) => file !== undefined && fileAt(path) !== file);
    if (gone !== undefined) {
      throw new DataVanishedError(
        `SQLite file ${gone.path}: it was removed or replaced while it was open, and nothing was changed; the next call opens what is there`,
      );
    }
    return this.#transaction('BEGIN IMMEDIATE', () => this.#knowing(work), wait);
  }

  /** Does something while the log is certainly open. */
  #knowing<T>(work: () => T): T {
    for (const each of this.#beside) {
      each.file ??= fileAt(each.path);
    }
    return work();
  }

  read<T>(work: () => T): T {
    return this.#depth > 0 ? work() : this.#transaction('BEGIN', work);
  }

  #transaction<T>(begin: string, work: () => T, wait?: 'briefly'): T {
    const patience = wait ? patienceOf(BRIEF_MS, this.#timeout) : this.#timeout;
    this.#waitUpTo(lockWait(patience));
    try {
      this.run(begin);
    } catch (error) {
      if (error instanceof BackendError && error.retryable) {
        lockIsHeld(patience);
      }
      throw error;
    } finally {
      this.#waitUpTo(this.#timeout);
    }
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

  #waitUpTo(ms: number): void {
    if (ms !== this.#waiting) {
      this.#db.exec(`PRAGMA busy_timeout = ${ms}`);
      this.#waiting = ms;
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
    const database = new NodeSqliteDriver('', 0, 'PRAGMA journal_mode = OFF; BEGIN;');
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
      if (isMnemeError(cause)) {
        throw cause;
      }
      const { message, errcode, code: name } = cause as SqliteCause;
      const code = (errcode ?? 0) & 0xff;
      const what = `SQLite file ${this.#path || '(temporary)'}: ${message}`;
      if (code === CORRUPT || code === NOT_A_DATABASE) {
        throw new CorruptError(`${what}; restore a checkpoint, or give another path`, { cause });
      }
      if (name === 'ERR_OUT_OF_RANGE') {
        throw new CorruptError(
          `${what}; numbers end at ${Number.MAX_SAFE_INTEGER}, so the row is damaged: delete it, or restore a checkpoint`,
          { cause },
        );
      }
      if (isTableMissing(message)) {
        throw new DataVanishedError(`${what}; the next call makes it again`, { cause });
      }
      if (code === TOO_BIG) {
        throw new InvalidArgumentError(`${what}; give less`, { cause });
      }
      const full = (code === IO || code === CANNOT_OPEN) && isFull(this.#path);
      const remedy = full ? `the disk is full: ${NO_ROOM}` : REMEDIES[code];
      throw new BackendError(remedy === undefined ? what : `${what}; ${remedy}`, {
        retryable: remedy === HELD,
        cause,
      });
    }
  }
}

/** Which file a path leads to; undefined where that cannot be told. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

/** The paths of what SQLite keeps beside a file: where a link leads to, not where it is. */
function beside(path: string): string[] {
  let file = path;
  try {
    file = realpathSync(path);
  } catch {
    // It has just been removed; that is told elsewhere.
  }
  return [`${file}-wal`, `${file}-shm`];
}

let dropping: boolean | undefined;

/** Whether this runtime ends a text at its first U+0000, as Node 22 does. */
function dropsNul(): boolean {
  if (dropping === undefined) {
    const { DatabaseSync } = requireSqlite();
    const db = new DatabaseSync(':memory:');
    const row = db.prepare("SELECT 'a' || char(0) || 'b' AS text").get();
    dropping = row?.['text'] !== 'a\0b';
    db.close();
  }
  return dropping;
}
