/** A store in the SQLite database of a Durable Object. */

import {
  BackendError,
  CorruptError,
  DataVanishedError,
  InvalidArgumentError,
  describe,
  isMnemeError,
} from '../errors.js';
import { known } from '../known.js';
import { isTableMissing, type SqlDriver, type SqlRow, type SqlValue } from './sql/driver.js';
import { SqlStore } from './sql/store.js';
import { memoryStage, type Stage } from './stage.js';

/** 1 MiB: a Durable Object holds values of up to 2 MB. */
const MAX_BLOB = 1 << 20;

/** The part of `ctx.storage` that the store uses, in a Durable Object with a SQLite database. */
export interface DurableObjectStorage {
  sql: {
    exec(
      sql: string,
      ...values: unknown[]
    ): {
      toArray(): Record<string, unknown>[];
      readonly rowsWritten: number;
    };
  };
  transactionSync<T>(work: () => T): T;
}

/**
 * A store in a Durable Object's database: `durableObject(ctx.storage)`. Its tables have the same
 * names as those of the other SQLite stores, and nothing else may use them. The object's class
 * must have SQLite storage (`new_sqlite_classes`). An entry has at most 2 MB.
 */
export function durableObject(
  storage: DurableObjectStorage,
  options?: Record<string, never>,
): SqlStore {
  known(options, {}, 'durableObject');
  const claims = {
    name: 'durable-object',
    durable: true,
    shared: false,
    snapshot: false,
    maxBlob: MAX_BLOB,
    // Rows that are written are paid for, and nobody else writes.
    maxChanges: 0,
  };
  return new SqlStore(claims, () => new Driver(storage));
}

class Driver implements SqlDriver {
  readonly isReadOnly = false;
  readonly reserved = '_cf_';
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  text(column: string): string {
    return column;
  }

  one(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.all(sql, ...values)[0];
  }

  all(sql: string, ...values: SqlValue[]): SqlRow[] {
    const rows = told(() => this.#storage.sql.exec(sql, ...values.map(bound)).toArray());
    for (const row of rows) {
      for (const column in row) {
        if (row[column] instanceof ArrayBuffer) {
          row[column] = new Uint8Array(row[column]);
        }
      }
    }
    return rows as SqlRow[];
  }

  run(sql: string, ...values: SqlValue[]): number {
    told(() => this.#storage.sql.exec(sql, ...values.map(bound)).toArray());
    return Number(this.all('SELECT changes() AS n')[0]?.['n']);
  }

  write<T>(work: () => T): T {
    return this.#storage.transactionSync(work);
  }

  /** Nothing else runs in the object until this returns. */
  read<T>(work: () => T): T {
    return work();
  }

  /** A dump is one call without waiting, during which nothing else runs in the object. */
  beginView(): boolean {
    return true;
  }

  endView(): void {}

  stage(): Stage {
    return memoryStage();
  }

  close(): void {}
}

/** `exec` takes the bytes of an ArrayBuffer. */
function bound(value: SqlValue): unknown {
  return value instanceof Uint8Array ? value.slice().buffer : value;
}

function told<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (isMnemeError(cause)) {
      throw cause;
    }
    const message = describe(cause);
    const what = `the Durable Object's database: ${message}`;
    if (isTableMissing(message)) {
      throw new DataVanishedError(`${what}; the next call makes it again`, { cause });
    }
    if (message.includes('SQLITE_TOOBIG')) {
      throw new InvalidArgumentError(`${what}; a row has at most 2 MB, so give less`);
    }
    if (message.includes('SQLITE_FULL')) {
      throw new BackendError(`${what}; nothing was stored: delete entries, or set maxEntries`, {
        cause,
      });
    }
    throw /SQLITE_(CORRUPT|NOTADB)/.test(message)
      ? new CorruptError(`${what}; restore a checkpoint`, { cause })
      : new BackendError(what, { cause });
  }
}
