/** A store in a SQLite file, through `node:sqlite` (Node 22.13 and later, Deno, Bun). */

import { closeSync, existsSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { oneOf, seconds } from '../checks.js';
import { BackendError, InvalidArgumentError } from '../errors.js';
import { mayGiveWay } from '../locks.js';
import { known } from '../known.js';
import type { Entry, Restored } from '../store.js';
import { MAX_CHANGES } from './changes.js';
import { MAX_BLOB } from './checks.js';
import { inspect } from './sql/layout.js';
import { NodeSqliteDriver, WARY, requireSqlite } from './sql/node-driver.js';
import { Restore, Snapshot, removeLeftovers } from './sql/snapshot.js';
import { SqlStore } from './sql/store.js';

/** Room for the indexes of some hundred thousand entries; taken as it is needed. */
const CACHE_KIB = 32 * 1024;
/** Pages after which the log is copied into the database. */
const CHECKPOINT_PAGES = 4000;

/** How the file is used. */
export interface NodeSqliteOptions {
  /**
   * `rwc` (default): the cache is created if it is missing. `rw`: it must exist. `ro`: it must
   * exist, and is only read: whatever would change it is a `backend` error, hits and misses are
   * not recorded, and expired entries stay. SQLite needs the right to write to the directory all the
   * same, unless somebody else has the file open.
   */
  mode?: 'ro' | 'rw' | 'rwc' | undefined;
  /**
   * How long to wait for another process's lock. Default 5. What can be done later (access data,
   * counters, evictions, stored indexes) waits at most 0.1. A cache lets others go on meanwhile, but
   * for 0.02 at a time; where the store is used without one, nothing else runs.
   */
  busyTimeoutSeconds?: number | undefined;
  /**
   * `normal` (default): a power cut may lose the last writes, but never damages the file.
   * `full`: a write that has returned is on the disk.
   */
  synchronous?: 'normal' | 'full' | undefined;
}

/**
 * A store in the SQLite file at `path`, which is created, for its owner only, if it is missing.
 * The other hosts of mneme and the Python library mneme-cache use the same file, even at the same
 * time; see the option `staleSeconds`. They also share its snapshots, and so native archives. The file
 * must be on a local disk.
 */
export function nodeSqlite(path: string, options?: NodeSqliteOptions): NodeSqliteStore {
  return new NodeSqliteStore(path, options);
}

/** See {@link nodeSqlite}. */
export class NodeSqliteStore extends SqlStore {
  readonly #path: string;
  #snapshot: Snapshot | undefined;
  #restore: Restore | undefined;

  constructor(named: string, given?: NodeSqliteOptions) {
    const options = known<NodeSqliteOptions>(
      given,
      { mode: true, busyTimeoutSeconds: true, synchronous: true },
      'nodeSqlite',
    );
    const busyMs = Math.round(
      1000 * (seconds(options.busyTimeoutSeconds, 'busyTimeoutSeconds') ?? 5),
    );
    const level = oneOf(options.synchronous ?? 'normal', ['normal', 'full'], 'synchronous');
    const mode = oneOf(options.mode ?? 'rwc', ['ro', 'rw', 'rwc'], 'mode');
    if (typeof named !== 'string' || /^(:memory:)?$|\0/.test(named)) {
      throw new InvalidArgumentError(
        'the path of a SQLite store is that of a file; for a store in memory take memory()',
      );
    }
    if (named.startsWith('file:')) {
      throw new InvalidArgumentError(
        'the path of a SQLite store is a URI; give the path alone, without file: and parameters',
      );
    }
    // SQLite takes an absolute one for that of a file, whatever its folders are called.
    const path = resolve(named);
    requireSqlite();
    const claims = {
      name: 'sqlite',
      durable: true,
      shared: true,
      snapshot: true,
      maxBlob: MAX_BLOB,
      maxChanges: MAX_CHANGES,
    };
    super(claims, () => {
      if (mode !== 'ro') {
        removeLeftovers(path);
      }
      if (mode === 'rwc') {
        create(path);
      } else {
        acceptExisting(path, busyMs);
      }
      const pragmas =
        mode === 'ro'
          ? `PRAGMA cache_size = -${CACHE_KIB};`
          : `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${level};
             PRAGMA secure_delete = ON;
             PRAGMA cache_size = -${CACHE_KIB}; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};`;
      const driver = new NodeSqliteDriver(path, busyMs, pragmas, {
        ...WARY,
        readOnly: mode === 'ro',
      });
      try {
        driver.acceptEncoding();
      } catch (error) {
        driver.close();
        throw error;
      }
      return driver;
    });
    this.#path = path;
  }

  override close(): void {
    this.#snapshot?.end();
    this.#restore?.end();
    this.#snapshot = undefined;
    this.#restore = undefined;
    super.close();
  }

  beginSnapshot(): number {
    const { driver } = this.opened();
    this.#snapshot?.end();
    this.#snapshot = undefined;
    this.#snapshot = new Snapshot(driver, this.#path);
    return this.#snapshot.size;
  }

  readSnapshot(max: number): Uint8Array {
    this.opened();
    if (!this.#snapshot) {
      throw new InvalidArgumentError('no snapshot was begun; call beginSnapshot first');
    }
    return this.#snapshot.read(max);
  }

  endSnapshot(): void {
    this.opened();
    this.#snapshot?.end();
    this.#snapshot = undefined;
  }

  beginRestore(): void {
    const { driver } = this.opened();
    this.#restore?.end();
    this.#restore = undefined;
    // Who finds a lock waits now, while others go on, and not when all is received. To read a dump
    // back takes no lock.
    if (mayGiveWay()) {
      driver.write(() => {});
    }
    this.#restore = new Restore(this.#path);
  }

  writeRestore(bytes: Uint8Array): void {
    this.#during((restore) => restore.write(bytes));
  }

  checkRestore(): Restored {
    const { embedder } = this.opened();
    return this.#during((restore) => restore.check(embedder));
  }

  readRestore(lastId: number, limit: number): Entry[] {
    return this.#during((restore) => restore.page(lastId, limit));
  }

  commitRestore(onlyIfEmpty: boolean): void {
    const { driver, embedder } = this.opened();
    try {
      this.#during((restore) => restore.commit(driver, embedder, onlyIfEmpty));
    } finally {
      this.endRestore();
    }
  }

  endRestore(): void {
    this.opened();
    this.#restore?.end();
    this.#restore = undefined;
  }

  /** Works on the restore, which is over where that fails, unless it was asked out of turn. */
  #during<T>(work: (restore: Restore) => T): T {
    this.opened();
    if (!this.#restore) {
      throw new InvalidArgumentError(
        'no restore was begun, or it is over; call beginRestore first',
      );
    }
    try {
      return work(this.#restore);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) {
        this.endRestore();
      }
      throw error;
    }
  }
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

/** Refuses a path where there is no cache, and changes nothing there. */
function acceptExisting(path: string, busyMs: number): void {
  const isCache = () => {
    if (!existsSync(path)) {
      return false;
    }
    const driver = new NodeSqliteDriver(path, busyMs, '', { ...WARY, readOnly: true });
    try {
      return driver.read(() => inspect(driver)).embedder !== undefined;
    } finally {
      driver.close();
    }
  };
  if (!isCache()) {
    throw new BackendError(
      `SQLite file ${path}: there is no cache here; check the path, or open it with the mode rwc to create one`,
    );
  }
}
