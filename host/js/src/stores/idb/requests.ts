/** IndexedDB's requests and transactions as promises. */

import { BackendError, SchemaError } from '../../errors.js';
import { RARE, compareUtf8, pageOfNames } from '../checks.js';

/** What a request comes to. */
export function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Settles when a transaction is complete, or with what ended it. */
export function finished(transaction: IDBTransaction): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () =>
      reject(transaction.error ?? new DOMException('the transaction was aborted', 'AbortError'));
  });
  // Nobody may be waiting yet when it fails.
  done.catch(() => {});
  return done;
}

/**
 * Opens a database; `provision` makes its object stores where it is new, or of an older version. If it
 * throws, the database stays as it is.
 */
export function openDatabase(
  factory: IDBFactory,
  name: string,
  version: number,
  provision: (db: IDBDatabase, transaction: IDBTransaction, oldVersion: number) => void,
): Promise<IDBDatabase> {
  const where = `IndexedDB ${name}`;
  return new Promise((resolve, reject) => {
    let request: IDBOpenDBRequest;
    try {
      request = factory.open(name, version);
    } catch (cause) {
      reject(
        new BackendError(
          `${where}: it cannot be opened here (${String(cause)}); browsers refuse it to pages without an origin, and some in private windows`,
          { cause },
        ),
      );
      return;
    }
    let late = false;
    let refused: unknown;
    request.onupgradeneeded = ({ oldVersion }) => {
      const transaction = request.transaction as IDBTransaction;
      try {
        provision(request.result, transaction, oldVersion);
      } catch (error) {
        refused = error;
        transaction.abort();
      }
    };
    request.onblocked = () => {
      late = true;
      reject(
        new BackendError(
          `${where}: another tab has an older version open, which must be closed first; close it and try again`,
          { retryable: true },
        ),
      );
    };
    request.onerror = () => {
      const cause = request.error;
      if (refused) {
        reject(refused);
        return;
      }
      if (cause?.name === 'VersionError') {
        reject(
          new SchemaError(
            `${where}: the database is of a later version than ${version}, which this release knows; use the release that made it`,
          ),
        );
        return;
      }
      reject(
        new BackendError(
          `${where}: it cannot be opened: ${cause?.name}: ${cause?.message}; see whether the site may store data, and whether there is room`,
          { cause },
        ),
      );
    };
    request.onsuccess = () => {
      if (late) {
        request.result.close();
      } else {
        resolve(request.result);
      }
    };
  });
}

/** At most `limit` rows of a store, by id, after `lastId`. */
export function page<T>(store: IDBObjectStore, lastId: number, limit: number): Promise<T[]> {
  // To `getAll`, 0 is no limit.
  return limit === 0
    ? Promise.resolve([])
    : result<T[]>(store.getAll(IDBKeyRange.lowerBound(lastId, true), limit));
}

/** The keys of an index that begins with the namespace. */
export function within(namespace: string): IDBKeyRange {
  return IDBKeyRange.bound([namespace], [namespace, []]);
}

/**
 * Calls `each` for the rows of a store, or of an index under one key, by id, after `lastId`, until it
 * returns false. They are read one by one.
 */
export function walkFrom<T>(
  source: IDBObjectStore | IDBIndex,
  key: string | undefined,
  lastId: number,
  each: (row: T) => boolean,
): Promise<void> {
  const range = key === undefined ? IDBKeyRange.lowerBound(lastId, true) : IDBKeyRange.only(key);
  const request = source.openCursor(range);
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      try {
        if (cursor && (cursor.primaryKey as number) <= lastId) {
          cursor.continuePrimaryKey(cursor.key, lastId + 1);
        } else if (cursor && each(cursor.value as T)) {
          cursor.continue();
        } else {
          resolve();
        }
      } catch (error) {
        reject(error);
      }
    };
  });
}

/** That key of a list which the fewest rows have. */
export async function rarest(index: IDBIndex, keys: string[]): Promise<string | undefined> {
  // One key alone is no choice.
  const lengths =
    keys.length < 2
      ? []
      : await Promise.all(
          keys.map(async (key) => (await result(index.getAllKeys(key, RARE))).length),
        );
  return keys[Math.max(lengths.indexOf(Math.min(...lengths)), 0)];
}

/** What a store holds, sorted by the bytes of its keys. */
export async function pairs<T>(store: IDBObjectStore): Promise<[string, T][]> {
  const [keys, values] = await Promise.all([
    result(store.getAllKeys()),
    result<T[]>(store.getAll()),
  ]);
  return keys
    .map((key, at): [string, T] => [key as string, values[at] as T])
    .sort(([a], [b]) => compareUtf8(a, b));
}

/** Calls `each` for every key, until it returns false. */
export function walk(
  request: IDBRequest<IDBCursor | null>,
  each: (cursor: IDBCursor) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (cursor && each(cursor)) {
        cursor.continue();
      } else {
        resolve();
      }
    };
  });
}

/** A page of the keys of an index. Its order is that of UTF-16, so that all of them are looked at. */
export async function namesAfter(
  index: IDBIndex,
  after: string | undefined,
  limit: number,
): Promise<string[]> {
  const names: string[] = [];
  await walk(index.openKeyCursor(null, 'nextunique'), ({ key }) => {
    names.push(key as string);
    return true;
  });
  return pageOfNames(names, after, limit);
}
