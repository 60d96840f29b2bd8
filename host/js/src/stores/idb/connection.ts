/** A connection to a database in IndexedDB, which comes back when the browser ends it. */

import {
  BackendError,
  ClosedError,
  DataVanishedError,
  InvalidArgumentError,
  UnsupportedError,
} from '../../errors.js';
import { acceptEmbedder, type StoredEmbedder } from '../checks.js';
import { VERSION, acceptStores, provision, type StoreName, type Stores } from './layout.js';
import { finished, openDatabase, result } from './requests.js';

/** How the database is used. */
export interface IndexedDbOptions {
  /** Where databases are. Default `globalThis.indexedDB`. */
  factory?: IDBFactory | undefined;
  /**
   * `relaxed` (default): a power cut may lose the last writes. `strict`: a write that has
   * returned is on the disk, which takes several times as long.
   */
  durability?: 'relaxed' | 'strict' | undefined;
}

/** A connection, opened for one embedder. Every call is one transaction. */
export class Connection {
  readonly #name: string;
  readonly #options: IndexedDbOptions;
  #db: IDBDatabase | undefined;
  #embedder: StoredEmbedder | undefined;
  /** Tells the database from another one that gets its name. */
  #incarnation: string | undefined;

  constructor(name: string, options: IndexedDbOptions) {
    this.#name = name;
    this.#options = options;
  }

  async open(given: StoredEmbedder): Promise<void> {
    await this.#connect(given);
    this.#embedder = given;
  }

  close(): void {
    this.#embedder = undefined;
    this.#db?.close();
    this.#db = undefined;
  }

  /** The embedder given to `open`; a `ClosedError` before and after. */
  opened(): StoredEmbedder {
    if (!this.#embedder) {
      throw new ClosedError();
    }
    return this.#embedder;
  }

  /**
   * The connection; a new one where the browser or another tab has ended the last. A
   * `DataVanishedError` if the data is gone meanwhile.
   */
  async #connected(): Promise<IDBDatabase> {
    const embedder = this.opened();
    if (!this.#db) {
      const before = this.#incarnation;
      await this.#connect(embedder);
      if (this.#incarnation !== before) {
        throw new DataVanishedError(
          `IndexedDB ${this.#name}: the database was deleted while it was open; the next call begins with an empty one`,
        );
      }
    }
    return this.#db as unknown as IDBDatabase;
  }

  read<T>(names: StoreName[], work: (stores: Stores) => Promise<T>): Promise<T> {
    return this.#run(names, 'readonly', work);
  }

  write<T>(names: StoreName[], work: (stores: Stores) => Promise<T>): Promise<T> {
    return this.#run(names, 'readwrite', work);
  }

  async #run<T>(
    names: StoreName[],
    mode: IDBTransactionMode,
    work: (stores: Stores) => Promise<T>,
  ): Promise<T> {
    const db = await this.#connected();
    try {
      return await this.#transaction(db, names, mode, work);
    } catch (error) {
      // It was closed before the transaction began, so that nothing has happened yet.
      if (!(error instanceof Closing)) {
        throw error;
      }
      this.#db = undefined;
      return this.#transaction(await this.#connected(), names, mode, work);
    }
  }

  /** All of `work` is done, and on its way to the disk, or none of it. */
  async #transaction<T>(
    db: IDBDatabase,
    names: StoreName[],
    mode: IDBTransactionMode,
    work: (stores: Stores) => Promise<T>,
  ): Promise<T> {
    try {
      const durability = this.#options.durability ?? 'relaxed';
      const transaction = begin(db, names, mode, durability);
      const done = finished(transaction);
      const stores = Object.fromEntries(
        names.map((name) => [name, transaction.objectStore(name)]),
      ) as Stores;
      try {
        const value = await work(stores);
        // What was only read is known by now.
        if (mode === 'readwrite') {
          await done;
        }
        return value;
      } catch (error) {
        try {
          transaction.abort();
        } catch {
          // It has ended by itself.
        }
        // What ended it says more than what was refused after that.
        await done.catch((reason: unknown) => {
          if (reason && (error as Error)?.name === 'TransactionInactiveError') {
            throw reason;
          }
        });
        throw error;
      }
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** What IndexedDB throws, with the place and what to do. */
  #told(error: unknown): unknown {
    if (!(error instanceof DOMException)) {
      return error;
    }
    const isLost = this.#db === undefined;
    const where = `IndexedDB ${this.#name}`;
    switch (error.name) {
      case 'QuotaExceededError':
        return new BackendError(
          `${where}: the browser gives no more room (${error.message}); delete entries, set maxEntries, or ask for persistent storage`,
          { cause: error },
        );
      case 'DataCloneError':
      case 'DataError':
        return new InvalidArgumentError(`${where}: ${error.message}`);
      default:
        return new BackendError(`${where}: ${error.name}: ${error.message}`, {
          // Whether a write has happened is unknown; hits and reads may be repeated.
          retryable: isLost,
          cause: error,
        });
    }
  }

  /** Connects to the database, which is created where it is missing. */
  async #connect(given: StoredEmbedder): Promise<void> {
    const factory = this.#options.factory ?? globalThis.indexedDB;
    if (!factory) {
      throw new UnsupportedError(
        'IndexedDB is missing here; some browsers lack it in private windows. Use memory() instead',
      );
    }
    const db = await openDatabase(factory, this.#name, VERSION, provision);
    const lose = () => {
      if (this.#db === db) {
        this.#db = undefined;
      }
      db.close();
    };
    // Others that wait must not be held up by a tab in the background. The next call connects again.
    db.onversionchange = lose;
    db.onclose = lose;
    try {
      acceptStores(db);
      const found = await this.#transaction(db, ['settings'], 'readwrite', async ({ settings }) => {
        const [embedder, incarnation] = await Promise.all([
          result<StoredEmbedder | undefined>(settings.get('embedder')),
          result<string | undefined>(settings.get('incarnation')),
        ]);
        const fresh = incarnation ?? newIncarnation();
        if (!embedder) settings.put(given, 'embedder');
        if (!incarnation) settings.put(fresh, 'incarnation');
        return { embedder: embedder ?? given, incarnation: fresh };
      });
      acceptEmbedder(found.embedder, given);
      this.#incarnation = found.incarnation;
    } catch (error) {
      db.close();
      throw error;
    }
    this.#db = db;
  }
}

/** The connection was closed before a transaction could begin. */
class Closing extends Error {}

function begin(
  db: IDBDatabase,
  names: StoreName[],
  mode: IDBTransactionMode,
  durability: IDBTransactionDurability,
): IDBTransaction {
  try {
    return db.transaction(names, mode, { durability });
  } catch (error) {
    if ((error as Error).name === 'InvalidStateError') {
      throw new Closing('the connection is closing', { cause: error });
    }
    throw error;
  }
}

function newIncarnation(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join(
    '-',
  );
}
