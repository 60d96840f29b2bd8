/** The object stores of a cache in IndexedDB, and its settings. */

import { CorruptError, SchemaError } from '../../errors.js';
import { isCount } from '../checks.js';
import { result } from './requests.js';

/** The version of the object stores. The first had no index of tags. */
export const VERSION = 2;

/** The greatest number of a row or a setting. */
export const MAX = Number.MAX_SAFE_INTEGER;

/** What is small and changes with every hit; the other two are written once. */
export interface Head {
  id: number;
  namespace: string;
  /** Where it is not empty. */
  context?: string;
  queryHash: string;
  /** Where there are any. */
  tags?: string[];
  createdAt: number;
  lastAccessedAt: number;
  ttl?: number;
  /** `createdAt + ttl`, where there is a ttl. */
  expiresAt?: number;
  accessCount: number;
}

export interface Body {
  id: number;
  query: string;
  response: string;
  metadata: string;
}

export interface VectorRow {
  id: number;
  /** float32 in the order of this machine, to which the database belongs. */
  vector: Float32Array;
}

export const ENTRY_STORES = ['heads', 'bodies', 'vectors'] as const;
const OTHER_STORES = ['settings', 'meta', 'quotas', 'blobs'] as const;
/** All of them. */
export const ALL_STORES = [...ENTRY_STORES, ...OTHER_STORES];
export type StoreName = (typeof ALL_STORES)[number];
export type Stores = Record<StoreName, IDBObjectStore>;

/** Makes them, or what a database of the first version lacks. Refuses that of something else. */
export function provision(db: IDBDatabase, transaction: IDBTransaction, oldVersion: number): void {
  if (oldVersion === 0) {
    create(db);
  }
  acceptStores(db);
  transaction.objectStore('heads').createIndex('tags', 'tags', { multiEntry: true });
}

/** Refuses a database that is no cache. */
export function acceptStores(db: IDBDatabase): void {
  const missing = ALL_STORES.find((store) => !db.objectStoreNames.contains(store));
  if (missing) {
    throw new SchemaError(
      `IndexedDB ${db.name}: this database belongs to something else (it lacks ${missing}); give another name`,
    );
  }
}

function create(db: IDBDatabase): void {
  const heads = db.createObjectStore('heads', { keyPath: 'id' });
  heads.createIndex('key', ['namespace', 'queryHash'], { unique: true });
  heads.createIndex('namespace', 'namespace');
  heads.createIndex('lru', ['lastAccessedAt', 'id']);
  heads.createIndex('lruIn', ['namespace', 'lastAccessedAt', 'id']);
  heads.createIndex('expiry', 'expiresAt');
  heads.createIndex('expiryIn', ['namespace', 'expiresAt']);
  db.createObjectStore('bodies', { keyPath: 'id' });
  db.createObjectStore('vectors', { keyPath: 'id' });
  for (const name of OTHER_STORES) {
    db.createObjectStore(name);
  }
}

/** Counts a change of the entries. */
export async function bump(settings: IDBObjectStore): Promise<void> {
  settings.put((await number(settings, 'version')) + 1, 'version');
}

/** A number of the settings, 0 where it is missing. */
export async function number(settings: IDBObjectStore, key: string): Promise<number> {
  const value = (await result<unknown>(settings.get(key))) ?? 0;
  if (!isCount(value)) {
    throw new CorruptError(
      `the setting ${key} is not a number from 0 to ${MAX}; delete the database, or load an archive into another`,
    );
  }
  return value;
}
