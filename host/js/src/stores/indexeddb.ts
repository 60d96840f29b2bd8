/** A store in a browser's IndexedDB. It needs WebAssembly JSPI; see `hasJspi`. */

import {
  BackendError,
  ClosedError,
  CorruptError,
  DataVanishedError,
  InvalidArgumentError,
  SchemaError,
  UnsupportedError,
} from '../errors.js';
import type {
  Capabilities,
  Entry,
  EntryKey,
  EntryRef,
  ImportMode,
  Inserted,
  MetaChange,
  StampPage,
  Store,
  Touch,
  VectorPage,
} from '../store.js';
import { known } from '../known.js';
import { oneOf } from '../options.js';
import {
  MAX_BATCH,
  MAX_BLOB,
  ANY_NUMBER,
  acceptEmbedder,
  checkBatch,
  checkBlob,
  checkBlobName,
  checkMetaKey,
  compareUtf8,
  givenEmbedder,
  importNotEmpty,
  isCount,
  keyOf,
  ownMeta,
  type StoredEmbedder,
} from './checks.js';
import { finished, openDatabase, result } from './idb.js';
import { begun, memoryStage, stageAll, type Import } from './stage.js';

const MAX = Number.MAX_SAFE_INTEGER;
/** The version of the object stores. */
const VERSION = 1;

/** What is small and changes with every hit; the other two are written once. */
interface Head {
  id: number;
  namespace: string;
  queryHash: string;
  createdAt: number;
  lastAccessedAt: number;
  ttl?: number;
  /** `createdAt + ttl`, where there is a ttl. */
  expiresAt?: number;
  accessCount: number;
}

interface Body {
  id: number;
  query: string;
  response: string;
  metadata: string;
}

interface VectorRow {
  id: number;
  /** float32 in the order of this machine, to which the database belongs. */
  vector: Float32Array;
}

const ENTRY_STORES = ['heads', 'bodies', 'vectors'] as const;
type StoreName = (typeof ENTRY_STORES)[number] | 'settings' | 'meta' | 'quotas' | 'blobs';

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

/**
 * A store in the IndexedDB database `name`, which is created if it is missing. Every call is one
 * transaction. Several tabs may use it at the same time; see the option `staleSeconds`. The user may
 * delete the data, and so may the browser, for lack of room.
 */
export function indexedDB(name: string, options?: IndexedDbOptions): IndexedDbStore {
  return new IndexedDbStore(name, options);
}

/** See {@link indexedDB}. */
export class IndexedDbStore implements Store {
  readonly synchronous = false;
  readonly #name: string;
  readonly #options: IndexedDbOptions;
  #db: IDBDatabase | undefined;
  #embedder: StoredEmbedder | undefined;
  /** Tells the database from another one that gets its name. */
  #incarnation: string | undefined;
  #import: Import | undefined;

  constructor(name: string, options?: IndexedDbOptions) {
    if (typeof name !== 'string' || name === '') {
      throw new InvalidArgumentError('an IndexedDB store needs the name of a database; give one');
    }
    this.#name = name;
    this.#options = known<IndexedDbOptions>(
      options,
      { factory: true, durability: true },
      'indexedDB',
    );
    oneOf(this.#options.durability ?? 'relaxed', ['relaxed', 'strict'], 'durability');
  }

  capabilities(): Capabilities {
    return {
      name: 'indexeddb',
      durable: true,
      shared: true,
      snapshot: false,
      maxBatch: MAX_BATCH,
      maxDelete: ANY_NUMBER,
      maxBlob: MAX_BLOB,
    };
  }

  async open(embedderFingerprint: string, embedderDim: number): Promise<void> {
    this.close();
    const given = givenEmbedder(embedderFingerprint, embedderDim);
    await this.#connect(given);
    this.#embedder = given;
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
      for (const store of [...ENTRY_STORES, 'settings', 'meta', 'quotas', 'blobs']) {
        if (!db.objectStoreNames.contains(store)) {
          throw new SchemaError(
            `IndexedDB ${this.#name}: this database belongs to something else (it lacks ${store}); give another name`,
          );
        }
      }
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

  close(): void {
    this.#import = undefined;
    this.#embedder = undefined;
    this.#db?.close();
    this.#db = undefined;
  }

  getByHash(keys: EntryKey[]): Promise<(Entry | undefined)[]> {
    return this.#read([...ENTRY_STORES], (stores) =>
      Promise.all(
        keys.map(async ({ namespace, queryHash }) => {
          const index = stores.heads.index('key');
          const head = await result<Head | undefined>(index.get([namespace, queryHash]));
          return head && this.#whole(stores, head);
        }),
      ),
    );
  }

  getByIds(ids: number[]): Promise<Entry[]> {
    return this.#read([...ENTRY_STORES], async (stores) => {
      const found = await Promise.all(
        ids.map(async (id) => {
          const head = await result<Head | undefined>(stores.heads.get(id));
          return head && this.#whole(stores, head);
        }),
      );
      return found.filter((entry) => entry !== undefined);
    });
  }

  count(namespace?: string): Promise<number> {
    return this.#read(['heads'], ({ heads }) =>
      result(namespace === undefined ? heads.count() : heads.index('namespace').count(namespace)),
    );
  }

  async listNamespaces(): Promise<string[]> {
    const names = await this.#read(['heads'], async ({ heads }) => {
      const found: string[] = [];
      await walk(heads.index('namespace').openKeyCursor(null, 'nextunique'), (cursor) => {
        found.push(cursor.key as string);
        return true;
      });
      return found;
    });
    return names.sort(compareUtf8);
  }

  async countByNamespace(): Promise<[string, number][]> {
    const counts = await this.#read(['heads'], async ({ heads }) => {
      const index = heads.index('namespace');
      const found: Promise<[string, number]>[] = [];
      await walk(index.openKeyCursor(null, 'nextunique'), ({ key }) => {
        const name = key as string;
        found.push(result(index.count(name)).then((entries) => [name, entries]));
        return true;
      });
      return Promise.all(found);
    });
    return counts.sort(([a], [b]) => compareUtf8(a, b));
  }

  iterLruIds(n: number, namespace?: string): Promise<EntryRef[]> {
    if (n === 0) {
      return this.#read(['heads'], async () => []);
    }
    return this.#read(['heads'], async ({ heads }) => {
      const rows = await result<Head[]>(
        namespace === undefined
          ? heads.index('lru').getAll(null, n)
          : heads.index('lruIn').getAll(within(namespace), n),
      );
      return rows.map(reference);
    });
  }

  iterSince(lastId: number, limit: number): Promise<Entry[]> {
    return this.#read([...ENTRY_STORES], async (stores) => {
      const [heads, bodies, vectors] = await Promise.all([
        page<Head>(stores.heads, lastId, limit),
        page<Body>(stores.bodies, lastId, limit),
        page<VectorRow>(stores.vectors, lastId, limit),
      ]);
      return heads.map((head, at) => this.#joined(head, bodies[at], vectors[at]));
    });
  }

  iterVectors(lastId: number, limit: number): Promise<VectorPage> {
    return this.#read(['heads', 'vectors'], async (stores) => {
      const [heads, vectors] = await Promise.all([
        page<Head>(stores.heads, lastId, limit),
        page<VectorRow>(stores.vectors, lastId, limit),
      ]);
      const { dim } = this.#opened();
      const all = new Float32Array(heads.length * dim);
      heads.forEach((head, at) => all.set(this.#vector(head, vectors[at]), at * dim));
      return {
        ids: heads.map((head) => this.#checked(head).id),
        namespaces: heads.map(({ namespace }) => namespace),
        createdAt: heads.map(({ createdAt }) => createdAt),
        vectors: all,
      };
    });
  }

  iterStamps(lastId: number, limit: number): Promise<StampPage> {
    return this.#read(['heads'], async ({ heads }) => {
      const rows = await page<Head>(heads, lastId, limit);
      return {
        ids: rows.map((head) => this.#checked(head).id),
        createdAt: rows.map(({ createdAt }) => createdAt),
      };
    });
  }

  async insert(entries: Entry[]): Promise<Inserted[]> {
    checkBatch(entries, MAX_BATCH, this.#opened().dim);
    if (entries.length === 0) {
      return [];
    }
    return this.#write(['settings', ...ENTRY_STORES], async (stores) => {
      await bump(stores.settings);
      return putAll(stores, entries);
    });
  }

  async updateAccess(touches: Touch[]): Promise<void> {
    if (touches.length === 0) {
      this.#opened();
      return;
    }
    await this.#write(['heads'], async ({ heads }) => {
      for (const { id, hits, lastAccessedAt } of touches) {
        const head = await result<Head | undefined>(heads.get(id));
        if (head) {
          heads.put({
            ...head,
            accessCount: Math.min(head.accessCount + hits, Number.MAX_SAFE_INTEGER),
            lastAccessedAt: Math.max(head.lastAccessedAt, lastAccessedAt),
          } satisfies Head);
        }
      }
    });
  }

  async deleteById(id: number): Promise<boolean> {
    return (
      (await this.#delete(async ({ heads }) => [await result<Head>(heads.get(id))])).length > 0
    );
  }

  async deleteUnchanged(entries: EntryRef[]): Promise<number[]> {
    const gone = await this.#delete(async ({ heads }) => {
      const found: Head[] = [];
      const seen = new Set<number>();
      for (const { id, createdAt } of entries) {
        const head = await result<Head | undefined>(heads.get(id));
        if (head?.createdAt === createdAt && !seen.has(id)) {
          seen.add(id);
          found.push(head);
        }
      }
      return found;
    });
    return gone.map(({ id }) => id);
  }

  async deleteExpired(
    now: number,
    namespace: string | undefined,
    limit: number,
  ): Promise<EntryRef[]> {
    const gone = await this.#delete(async ({ heads }) => {
      const ids = await result<IDBValidKey[]>(
        namespace === undefined
          ? heads.index('expiry').getAllKeys(IDBKeyRange.upperBound(now))
          : heads
              .index('expiryIn')
              .getAllKeys(IDBKeyRange.bound([namespace, -Infinity], [namespace, now])),
      );
      const lowest = (ids as number[]).sort((a, b) => a - b).slice(0, limit);
      return Promise.all(lowest.map((id) => result<Head>(heads.get(id))));
    });
    return gone.map(reference);
  }

  async clearNamespace(namespace?: string): Promise<number> {
    if (namespace !== undefined) {
      const gone = await this.#delete(({ heads }) =>
        result<Head[]>(heads.index('namespace').getAll(namespace)),
      );
      return gone.length;
    }
    return this.#write(['settings', ...ENTRY_STORES], async (stores) => {
      const deleted = await result(stores.heads.count());
      if (deleted > 0) {
        for (const name of ENTRY_STORES) {
          stores[name].clear();
        }
        await bump(stores.settings);
      }
      return deleted;
    });
  }

  async setNamespaceQuota(namespace: string, maxEntries: number | undefined): Promise<void> {
    await this.#write(['quotas'], async ({ quotas }) => {
      await (maxEntries === undefined
        ? result(quotas.delete(namespace))
        : result(quotas.put(maxEntries, namespace)));
    });
  }

  getNamespaceQuota(namespace: string): Promise<number | undefined> {
    return this.#read(['quotas'], ({ quotas }) => result(quotas.get(namespace)));
  }

  listNamespaceQuotas(): Promise<[string, number][]> {
    return this.#read(['quotas'], ({ quotas }) => pairs<number>(quotas));
  }

  readVersionCounter(): Promise<number> {
    return this.#read(['settings'], ({ settings }) => number(settings, 'version'));
  }

  readMeta(key: string): Promise<string | undefined> {
    return this.#read(['meta'], async ({ meta }) => {
      const own = ownMeta(this.#opened(), key);
      return own ?? result(meta.get(key));
    });
  }

  async replaceMeta(
    key: string,
    expected: string | undefined,
    value: string | undefined,
  ): Promise<boolean> {
    this.#opened();
    checkMetaKey(key);
    return this.#write(['meta'], async ({ meta }) => {
      if ((await result<string | undefined>(meta.get(key))) !== expected) {
        return false;
      }
      await (value === undefined ? result(meta.delete(key)) : result(meta.put(value, key)));
      return true;
    });
  }

  listMeta(): Promise<[string, string][]> {
    return this.#read(['meta'], ({ meta }) => pairs<string>(meta));
  }

  integrityCheck(): Promise<boolean> {
    return this.#read(['settings', ...ENTRY_STORES], async (stores) => {
      const [heads, bodies, vectors, lastId] = await Promise.all([
        result(stores.heads.getAllKeys()),
        result(stores.bodies.count()),
        result(stores.vectors.count()),
        number(stores.settings, 'lastId'),
      ]);
      const greatest = Number(heads.at(-1) ?? 0);
      return heads.length === bodies && heads.length === vectors && greatest <= lastId;
    });
  }

  async readBlob(name: string): Promise<Uint8Array | undefined> {
    this.#opened();
    checkBlobName(name);
    return this.#read(['blobs'], ({ blobs }) => result(blobs.get(name)));
  }

  async writeBlob(name: string, bytes: Uint8Array): Promise<void> {
    this.#opened();
    checkBlob(name, bytes, MAX_BLOB);
    await this.#write(['blobs'], ({ blobs }) => result(blobs.put(bytes.slice(), name)));
  }

  async deleteBlobs(names: string[]): Promise<void> {
    this.#opened();
    names.forEach(checkBlobName);
    await this.#write(['blobs'], async ({ blobs }) => {
      for (const name of names) {
        await result(blobs.delete(name));
      }
    });
  }

  listBlobs(): Promise<string[]> {
    return this.#read(['blobs'], async ({ blobs }) =>
      ((await result(blobs.getAllKeys())) as string[]).sort(),
    );
  }

  /** A transaction ends as soon as nothing is asked of it, so that none can last. */
  beginView(): Promise<boolean> {
    return this.#read(['settings'], async () => false);
  }

  endView(): Promise<void> {
    return this.#read(['settings'], async () => {});
  }

  async beginImport(mode: ImportMode): Promise<void> {
    this.#opened();
    this.#import = undefined;
    await this.#read(['heads'], ({ heads }) => accept(mode, heads));
    this.#import = { mode, stage: memoryStage() };
  }

  async writeImport(entries: Entry[]): Promise<void> {
    const { dim } = this.#opened();
    const under = this.#takeImport();
    stageAll(under, entries, MAX_BATCH, dim);
    this.#import = under;
  }

  async commitImport(quotas: [string, number][], meta: MetaChange[]): Promise<boolean> {
    this.#opened();
    const under = this.#takeImport();
    for (const { key } of meta) {
      checkMetaKey(key);
    }
    const added = [...under.stage.entries()];
    const names: StoreName[] = ['settings', 'meta', 'quotas', ...ENTRY_STORES];
    const committed = await this.#write(names, async (stores) => {
      await accept(under.mode, stores.heads);
      const replace = under.mode === 'replace';
      if (replace) {
        const had = (await result(stores.heads.count())) > 0;
        for (const name of ['meta', 'quotas', ...ENTRY_STORES] as const) {
          stores[name].clear();
        }
        if (had && added.length === 0) {
          await bump(stores.settings);
        }
      } else {
        for (const { key, expected } of meta) {
          if ((await result<string | undefined>(stores.meta.get(key))) !== expected) {
            return false;
          }
        }
      }
      if (added.length > 0) {
        await bump(stores.settings);
        await putAll(stores, added);
      }
      for (const [namespace, quota] of quotas) {
        stores.quotas.put(quota, namespace);
      }
      for (const { key, value } of meta) {
        stores.meta.put(value, key);
      }
      return true;
    });
    if (!committed) {
      this.#import = under;
    }
    return committed;
  }

  async endImport(): Promise<void> {
    this.#opened();
    this.#import = undefined;
  }

  // ---- transactions -------------------------------------------------------------

  #opened(): StoredEmbedder {
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
    const embedder = this.#opened();
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

  #read<T>(names: StoreName[], work: (stores: Stores) => Promise<T>): Promise<T> {
    return this.#run(names, 'readonly', work);
  }

  #write<T>(names: StoreName[], work: (stores: Stores) => Promise<T>): Promise<T> {
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

  /** Deletes the entries that `find` finds, and returns them. */
  #delete(find: (stores: Stores) => Promise<(Head | undefined)[]>): Promise<Head[]> {
    return this.#write(['settings', ...ENTRY_STORES], async (stores) => {
      const gone = (await find(stores)).filter((head) => head !== undefined);
      for (const { id } of gone) {
        for (const name of ENTRY_STORES) {
          stores[name].delete(id);
        }
      }
      if (gone.length > 0) {
        await bump(stores.settings);
      }
      return gone;
    });
  }

  async #whole(stores: Stores, head: Head): Promise<Entry> {
    const [body, vector] = await Promise.all([
      result<Body | undefined>(stores.bodies.get(head.id)),
      result<VectorRow | undefined>(stores.vectors.get(head.id)),
    ]);
    return this.#joined(head, body, vector);
  }

  #joined(head: Head, body: Body | undefined, vector: VectorRow | undefined): Entry {
    if (body?.id !== head.id) {
      throw this.#damaged(head, 'lacks its text');
    }
    const { id, namespace, queryHash, createdAt, lastAccessedAt, ttl, accessCount } =
      this.#checked(head);
    const { query, response, metadata } = body;
    return {
      id,
      namespace,
      queryHash,
      query,
      response,
      embedding: this.#vector(head, vector),
      metadata,
      createdAt,
      lastAccessedAt,
      ttl,
      accessCount,
    };
  }

  /** A head whose numbers and texts are such. */
  #checked(head: Head): Head {
    const { id, namespace, createdAt, lastAccessedAt, ttl, accessCount } = head;
    if (!(isCount(id) && id > 0) || typeof namespace !== 'string') {
      throw this.#damaged(head, 'has an id or a namespace that is none');
    }
    if (![createdAt, lastAccessedAt, ttl ?? 0, accessCount].every(isCount)) {
      throw this.#damaged(head, `has a number that is not one from 0 to ${MAX}`);
    }
    return head;
  }

  #vector(head: Head, row: VectorRow | undefined): Float32Array {
    if (row?.id !== head.id || row.vector?.length !== this.#embedder?.dim) {
      throw this.#damaged(head, 'lacks its vector, or has another length');
    }
    return row.vector;
  }

  #damaged(head: Head, what: string): CorruptError {
    return new CorruptError(
      `IndexedDB ${this.#name}, entry ${head.id} ${what}; delete the database, or load an archive`,
    );
  }

  #takeImport(): Import {
    const under = begun(this.#import);
    this.#import = undefined;
    return under;
  }
}

type Stores = Record<StoreName, IDBObjectStore>;

function provision(db: IDBDatabase): void {
  const heads = db.createObjectStore('heads', { keyPath: 'id' });
  heads.createIndex('key', ['namespace', 'queryHash'], { unique: true });
  heads.createIndex('namespace', 'namespace');
  heads.createIndex('lru', ['lastAccessedAt', 'id']);
  heads.createIndex('lruIn', ['namespace', 'lastAccessedAt', 'id']);
  heads.createIndex('expiry', 'expiresAt');
  heads.createIndex('expiryIn', ['namespace', 'expiresAt']);
  db.createObjectStore('bodies', { keyPath: 'id' });
  db.createObjectStore('vectors', { keyPath: 'id' });
  for (const name of ['settings', 'meta', 'quotas', 'blobs']) {
    db.createObjectStore(name);
  }
}

async function putAll(stores: Stores, entries: Entry[]): Promise<Inserted[]> {
  const { heads, bodies, vectors, settings } = stores;
  const index = heads.index('key');
  let lastId = await number(settings, 'lastId');
  const before = lastId;
  // A pair that comes twice in the list is stored as its last occurrence.
  const ids = new Map<string, number>();
  const present = await Promise.all(
    entries.map(({ namespace, queryHash }) =>
      result<IDBValidKey | undefined>(index.getKey([namespace, queryHash])),
    ),
  );
  const inserted = entries.map((entry, at): Inserted => {
    const key = keyOf(entry.namespace, entry.queryHash);
    const known = ids.get(key) ?? (present[at] as number | undefined);
    const id = known ?? ++lastId;
    ids.set(key, id);
    const { namespace, queryHash, createdAt, lastAccessedAt, ttl, accessCount } = entry;
    const head: Head = { id, namespace, queryHash, createdAt, lastAccessedAt, accessCount };
    if (ttl !== undefined) {
      head.ttl = ttl;
      head.expiresAt = createdAt + ttl;
    }
    heads.put(head);
    const { query, response, metadata } = entry;
    bodies.put({ id, query, response, metadata } satisfies Body);
    // A copy: a view would store the whole buffer behind it.
    vectors.put({ id, vector: entry.embedding.slice() } satisfies VectorRow);
    return { id, replaced: known !== undefined };
  });
  if (lastId > MAX) {
    throw new CorruptError(
      `the last id is ${before}, so no entry can get one; delete the database, or load an archive into another`,
    );
  }
  if (lastId > before) {
    settings.put(lastId, 'lastId');
  }
  return inserted;
}

async function bump(settings: IDBObjectStore): Promise<void> {
  settings.put((await number(settings, 'version')) + 1, 'version');
}

async function number(settings: IDBObjectStore, key: string): Promise<number> {
  const value = (await result<unknown>(settings.get(key))) ?? 0;
  if (!isCount(value)) {
    throw new CorruptError(
      `the setting ${key} is not a number from 0 to ${MAX}; delete the database, or load an archive into another`,
    );
  }
  return value;
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

async function accept(mode: ImportMode, heads: IDBObjectStore): Promise<void> {
  if (mode === 'empty' && (await result(heads.count())) > 0) {
    throw importNotEmpty();
  }
}

function page<T>(store: IDBObjectStore, lastId: number, limit: number): Promise<T[]> {
  // To `getAll`, 0 is no limit.
  return limit === 0
    ? Promise.resolve([])
    : result<T[]>(store.getAll(IDBKeyRange.lowerBound(lastId, true), limit));
}

/** The keys of an index that begins with the namespace. */
function within(namespace: string): IDBKeyRange {
  return IDBKeyRange.bound([namespace], [namespace, []]);
}

async function pairs<T>(store: IDBObjectStore): Promise<[string, T][]> {
  const [keys, values] = await Promise.all([
    result(store.getAllKeys()),
    result<T[]>(store.getAll()),
  ]);
  return keys
    .map((key, at): [string, T] => [key as string, values[at] as T])
    .sort(([a], [b]) => compareUtf8(a, b));
}

/** Calls `each` for every key, until it returns false. */
function walk(
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

function reference({ id, namespace, createdAt }: Head): EntryRef {
  return { id, namespace, createdAt };
}
