/** A store in a browser's IndexedDB. It needs WebAssembly JSPI; see `hasJspi`. */

import { oneOf } from '../checks.js';
import { InvalidArgumentError } from '../errors.js';
import type {
  Capabilities,
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
} from '../store.js';
import { known } from '../known.js';
import {
  ANY_NUMBER,
  LOOKED_AT,
  MAX_BATCH,
  MAX_BLOB,
  checkBatch,
  checkBlob,
  checkBlobName,
  checkMetaKey,
  givenEmbedder,
  importNotEmpty,
  meets,
  ownMeta,
} from './checks.js';
import { Connection, type IndexedDbOptions } from './idb/connection.js';
import {
  ENTRY_STORES,
  bump,
  number,
  type Body,
  type Head,
  type StoreName,
  type Stores,
  type VectorRow,
} from './idb/layout.js';
import { namesAfter, page, pairs, rarest, result, walkFrom, within } from './idb/requests.js';
import { Rows, deleteAll, putAll, reference } from './idb/rows.js';
import { begun, memoryStage, stageAll, type Import } from './stage.js';

export type { IndexedDbOptions } from './idb/connection.js';

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
  readonly #connection: Connection;
  #import: Import | undefined;

  constructor(name: string, options?: IndexedDbOptions) {
    if (typeof name !== 'string' || name === '') {
      throw new InvalidArgumentError('an IndexedDB store needs the name of a database; give one');
    }
    const given = known<IndexedDbOptions>(
      options,
      { factory: true, durability: true },
      'indexedDB',
    );
    oneOf(given.durability ?? 'relaxed', ['relaxed', 'strict'], 'durability');
    this.#name = name;
    this.#connection = new Connection(name, given);
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
      maxChanges: 0,
    };
  }

  async open(embedderFingerprint: string, embedderDim: number): Promise<void> {
    this.close();
    await this.#connection.open(givenEmbedder(embedderFingerprint, embedderDim));
  }

  close(): void {
    this.#import = undefined;
    this.#connection.close();
  }

  getByHash(keys: EntryKey[], vectors: boolean): Promise<(Entry | undefined)[]> {
    return this.#connection.read(storesOf(vectors), (stores) =>
      Promise.all(
        keys.map(async ({ namespace, queryHash }) => {
          const index = stores.heads.index('key');
          const head = await result<Head | undefined>(index.get([namespace, queryHash]));
          return head && this.#rows().whole(stores, head, vectors);
        }),
      ),
    );
  }

  getByIds(ids: number[], vectors: boolean): Promise<Entry[]> {
    return this.#connection.read(storesOf(vectors), async (stores) => {
      const found = await Promise.all(
        ids.map(async (id) => {
          const head = await result<Head | undefined>(stores.heads.get(id));
          return head && this.#rows().whole(stores, head, vectors);
        }),
      );
      return found.filter((entry) => entry !== undefined);
    });
  }

  select(filter: Filter, lastId: number, limit: number): Promise<Selection> {
    return this.#connection.read(['heads'], async ({ heads }) => {
      const tag = await rarest(heads.index('tags'), filter.tags);
      const [source, key] =
        tag !== undefined
          ? [heads.index('tags'), tag]
          : filter.namespace !== undefined
            ? [heads.index('namespace'), filter.namespace]
            : [heads, undefined];
      const rows = this.#rows();
      const found: Selection = { entries: [], next: undefined };
      let lookedAt = 0;
      if (limit > 0) {
        await walkFrom<Head>(source, key, lastId, (head) => {
          const { id, namespace, context = '', tags = [], createdAt } = rows.checked(head);
          if (meets({ namespace, context, tags, createdAt }, filter)) {
            found.entries.push(reference(head));
          }
          const isEnough = found.entries.length >= limit || ++lookedAt >= LOOKED_AT;
          found.next = isEnough ? id : undefined;
          return !isEnough;
        });
      }
      return found;
    });
  }

  count(namespace?: string): Promise<number> {
    return this.#connection.read(['heads'], ({ heads }) =>
      result(namespace === undefined ? heads.count() : heads.index('namespace').count(namespace)),
    );
  }

  listNamespaces(after: string | undefined, limit: number): Promise<string[]> {
    return this.#connection.read(['heads'], ({ heads }) =>
      namesAfter(heads.index('namespace'), after, limit),
    );
  }

  countByNamespace(after: string | undefined, limit: number): Promise<[string, number][]> {
    return this.#connection.read(['heads'], async ({ heads }) => {
      const index = heads.index('namespace');
      const names = await namesAfter(index, after, limit);
      return Promise.all(
        names.map(async (name): Promise<[string, number]> => [
          name,
          await result(index.count(name)),
        ]),
      );
    });
  }

  iterLruIds(n: number, namespace?: string): Promise<EntryRef[]> {
    if (n === 0) {
      return this.#connection.read(['heads'], async () => []);
    }
    return this.#connection.read(['heads'], async ({ heads }) => {
      const rows = await result<Head[]>(
        namespace === undefined
          ? heads.index('lru').getAll(null, n)
          : heads.index('lruIn').getAll(within(namespace), n),
      );
      return rows.map(reference);
    });
  }

  iterSince(lastId: number, limit: number): Promise<Entry[]> {
    return this.#connection.read([...ENTRY_STORES], async (stores) => {
      const [heads, bodies, vectors] = await Promise.all([
        page<Head>(stores.heads, lastId, limit),
        page<Body>(stores.bodies, lastId, limit),
        page<VectorRow>(stores.vectors, lastId, limit),
      ]);
      const rows = this.#rows();
      return heads.map((head, at) => rows.joined(head, bodies[at], rows.vector(head, vectors[at])));
    });
  }

  iterVectors(lastId: number, limit: number): Promise<VectorPage> {
    return this.#connection.read(['heads', 'vectors'], async (stores) => {
      const [heads, vectors] = await Promise.all([
        page<Head>(stores.heads, lastId, limit),
        page<VectorRow>(stores.vectors, lastId, limit),
      ]);
      const rows = this.#rows();
      const { dim } = rows;
      const all = new Float32Array(heads.length * dim);
      heads.forEach((head, at) => all.set(rows.vector(head, vectors[at]), at * dim));
      return {
        ids: heads.map((head) => rows.checked(head).id),
        namespaces: heads.map(({ namespace }) => namespace),
        contexts: heads.map(({ context }) => context ?? ''),
        createdAt: heads.map(({ createdAt }) => createdAt),
        vectors: all,
      };
    });
  }

  iterStamps(lastId: number, limit: number): Promise<StampPage> {
    return this.#connection.read(['heads'], async ({ heads }) => {
      const found = await page<Head>(heads, lastId, limit);
      const rows = this.#rows();
      return {
        ids: found.map((head) => rows.checked(head).id),
        createdAt: found.map(({ createdAt }) => createdAt),
      };
    });
  }

  async insert(entries: Entry[]): Promise<Inserted[]> {
    checkBatch(entries, MAX_BATCH, this.#connection.opened().dim);
    if (entries.length === 0) {
      return [];
    }
    return this.#connection.write(['settings', ...ENTRY_STORES], async (stores) => {
      await bump(stores.settings);
      return putAll(stores, entries);
    });
  }

  async updateAccess(touches: Touch[]): Promise<void> {
    if (touches.length === 0) {
      this.#connection.opened();
      return;
    }
    await this.#connection.write(['heads'], async ({ heads }) => {
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
    // To `getAll`, 0 is no limit.
    if (limit === 0) {
      return this.#connection.read(['heads'], async () => []);
    }
    const gone = await this.#delete(({ heads }) =>
      result<Head[]>(
        namespace === undefined
          ? heads.index('expiry').getAll(IDBKeyRange.upperBound(now), limit)
          : heads
              .index('expiryIn')
              .getAll(IDBKeyRange.bound([namespace, -Infinity], [namespace, now]), limit),
      ),
    );
    return gone.map(reference);
  }

  async clearNamespace(namespace?: string): Promise<number> {
    if (namespace !== undefined) {
      const gone = await this.#delete(({ heads }) =>
        result<Head[]>(heads.index('namespace').getAll(namespace)),
      );
      return gone.length;
    }
    return this.#connection.write(['settings', ...ENTRY_STORES], async (stores) => {
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
    await this.#connection.write(['quotas'], async ({ quotas }) => {
      await (maxEntries === undefined
        ? result(quotas.delete(namespace))
        : result(quotas.put(maxEntries, namespace)));
    });
  }

  getNamespaceQuota(namespace: string): Promise<number | undefined> {
    return this.#connection.read(['quotas'], ({ quotas }) => result(quotas.get(namespace)));
  }

  listNamespaceQuotas(): Promise<[string, number][]> {
    return this.#connection.read(['quotas'], ({ quotas }) => pairs<number>(quotas));
  }

  readVersionCounter(): Promise<number> {
    return this.#connection.read(['settings'], ({ settings }) => number(settings, 'version'));
  }

  readMeta(key: string): Promise<string | undefined> {
    return this.#connection.read(['meta'], async ({ meta }) => {
      const own = ownMeta(this.#connection.opened(), key);
      return own ?? result(meta.get(key));
    });
  }

  async replaceMeta(
    key: string,
    expected: string | undefined,
    value: string | undefined,
  ): Promise<boolean> {
    this.#connection.opened();
    checkMetaKey(key);
    return this.#connection.write(['meta'], async ({ meta }) => {
      if ((await result<string | undefined>(meta.get(key))) !== expected) {
        return false;
      }
      await (value === undefined ? result(meta.delete(key)) : result(meta.put(value, key)));
      return true;
    });
  }

  listMeta(): Promise<[string, string][]> {
    return this.#connection.read(['meta'], ({ meta }) => pairs<string>(meta));
  }

  integrityCheck(): Promise<boolean> {
    return this.#connection.read(['settings', ...ENTRY_STORES], async (stores) => {
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
    this.#connection.opened();
    checkBlobName(name);
    return this.#connection.read(['blobs'], ({ blobs }) => result(blobs.get(name)));
  }

  async writeBlob(name: string, bytes: Uint8Array): Promise<void> {
    this.#connection.opened();
    checkBlob(name, bytes, MAX_BLOB);
    await this.#connection.write(['blobs'], ({ blobs }) => result(blobs.put(bytes.slice(), name)));
  }

  async deleteBlobs(names: string[]): Promise<void> {
    this.#connection.opened();
    names.forEach(checkBlobName);
    await this.#connection.write(['blobs'], async ({ blobs }) => {
      for (const name of names) {
        await result(blobs.delete(name));
      }
    });
  }

  listBlobs(): Promise<string[]> {
    return this.#connection.read(['blobs'], async ({ blobs }) =>
      ((await result(blobs.getAllKeys())) as string[]).sort(),
    );
  }

  /** A transaction ends as soon as nothing is asked of it, so that none can last. */
  beginView(): Promise<boolean> {
    return this.#connection.read(['settings'], async () => false);
  }

  endView(): Promise<void> {
    return this.#connection.read(['settings'], async () => {});
  }

  async beginImport(mode: ImportMode): Promise<void> {
    this.#connection.opened();
    this.#import = undefined;
    await this.#connection.read(['heads'], ({ heads }) => accept(mode, heads));
    this.#import = { mode, stage: memoryStage() };
  }

  async writeImport(entries: Entry[]): Promise<void> {
    const { dim } = this.#connection.opened();
    const under = this.#takeImport();
    stageAll(under, entries, MAX_BATCH, dim);
    this.#import = under;
  }

  async commitImport(quotas: [string, number][], meta: MetaChange[]): Promise<boolean> {
    this.#connection.opened();
    const under = this.#takeImport();
    for (const { key } of meta) {
      checkMetaKey(key);
    }
    const added = [...under.stage.entries()];
    const names: StoreName[] = ['settings', 'meta', 'quotas', ...ENTRY_STORES];
    const committed = await this.#connection.write(names, async (stores) => {
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
    this.#connection.opened();
    this.#import = undefined;
  }

  /** Deletes the entries that `find` finds, and returns them. */
  #delete(find: (stores: Stores) => Promise<(Head | undefined)[]>): Promise<Head[]> {
    return this.#connection.write(['settings', ...ENTRY_STORES], async (stores) => {
      const gone = (await find(stores)).filter((head) => head !== undefined);
      await deleteAll(stores, gone);
      return gone;
    });
  }

  #rows(): Rows {
    return new Rows(this.#name, this.#connection.opened().dim);
  }

  #takeImport(): Import {
    const under = begun(this.#import);
    this.#import = undefined;
    return under;
  }
}

/** Where entries are, with their vectors or without. */
function storesOf(vectors: boolean): StoreName[] {
  return vectors ? [...ENTRY_STORES] : ['heads', 'bodies'];
}

async function accept(mode: ImportMode, heads: IDBObjectStore): Promise<void> {
  if (mode === 'empty' && (await result(heads.count())) > 0) {
    throw importNotEmpty();
  }
}
