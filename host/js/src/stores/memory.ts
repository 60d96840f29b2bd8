/** A store in the memory of the process, or page. */

import { ClosedError, UnsupportedError } from '../errors.js';
import { known } from '../known.js';
import type {
  Capabilities,
  ChangePage,
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
import { ChangeLog, MAX_CHANGES } from './changes.js';
import {
  LOOKED_AT,
  MAX_BATCH,
  MAX_BLOB,
  NO_VECTOR,
  ANY_NUMBER,
  acceptEmbedder,
  checkBatch,
  checkBlob,
  checkBlobName,
  checkMetaKey,
  compareUtf8,
  pageOfNames,
  givenEmbedder,
  importNotEmpty,
  isExpired,
  meets,
  ownMeta,
  type StoredEmbedder,
} from './checks.js';
import { Ids, Tags } from './ids.js';
import { Lru } from './lru.js';
import { begun, memoryStage, stageAll, type Import } from './stage.js';

/** A new store in memory: the fastest store, lost with the page or process. It has no options. */
export function memory(options?: Record<string, never>): MemoryStore {
  known(options, {}, 'memory');
  return new MemoryStore();
}

/**
 * A store in memory. Closing and opening the same store keeps its entries. It shares nothing, so
 * every view is of one instant. It has no snapshots.
 */
export class MemoryStore implements Store {
  readonly synchronous = true;
  protected embedder: StoredEmbedder | undefined;
  protected isOpen = false;
  /** By id, ascending: ids grow, and a replacement keeps its place. */
  protected entries = new Map<number, Entry>();
  protected lastId = 0;
  protected version = 0;
  /** Undefined in a store that keeps none. */
  protected readonly changes: ChangeLog | undefined = new ChangeLog();
  protected meta = new Map<string, string>();
  protected quotas = new Map<string, number>();
  protected blobs = new Map<string, Uint8Array>();
  #namespaces = new Map<string, Map<string, number>>();
  #ids = new Ids();
  #tags = new Tags();
  /** The order of a namespace, or of all; made when it is first asked for. */
  #orders = new Map<string | undefined, Lru>();
  /** Entries received, and not yet part of the data. */
  protected import: Import | undefined;

  capabilities(): Capabilities {
    return {
      name: 'memory',
      durable: false,
      shared: false,
      snapshot: false,
      maxBatch: MAX_BATCH,
      maxDelete: ANY_NUMBER,
      maxBlob: MAX_BLOB,
      maxChanges: this.changes ? MAX_CHANGES : 0,
    };
  }

  open(embedderFingerprint: string, embedderDim: number): void {
    this.close();
    const given = givenEmbedder(embedderFingerprint, embedderDim);
    if (this.embedder) {
      acceptEmbedder(this.embedder, given);
    } else {
      this.embedder = given;
    }
    this.isOpen = true;
  }

  close(): void {
    this.isOpen = false;
    this.import = undefined;
  }

  protected opened(): StoredEmbedder {
    if (!this.isOpen || !this.embedder) {
      throw new ClosedError();
    }
    return this.embedder;
  }

  getByHash(keys: EntryKey[], vectors: boolean): (Entry | undefined)[] {
    this.opened();
    return keys.map(({ namespace, queryHash }) => {
      const id = this.#namespaces.get(namespace)?.get(queryHash);
      return id === undefined ? undefined : this.#read(id, vectors);
    });
  }

  getByIds(ids: number[], vectors: boolean): Entry[] {
    this.opened();
    return ids.flatMap((id) => this.#read(id, vectors) ?? []);
  }

  select(filter: Filter, lastId: number, limit: number): Selection {
    this.opened();
    const ids = this.#tags.fewest(filter.tags) ?? this.#ids;
    const entries: EntryRef[] = [];
    let lookedAt = 0;
    for (const id of ids.after(lastId)) {
      const entry = this.entries.get(id);
      if (entry && meets(entry, filter)) {
        entries.push(reference(entry));
      }
      if (entries.length >= limit || ++lookedAt >= LOOKED_AT) {
        return { entries, next: id };
      }
    }
    return { entries, next: undefined };
  }

  count(namespace?: string): number {
    this.opened();
    return namespace === undefined
      ? this.entries.size
      : (this.#namespaces.get(namespace)?.size ?? 0);
  }

  listNamespaces(after: string | undefined, limit: number): string[] {
    this.opened();
    return pageOfNames(this.#namespaces.keys(), after, limit);
  }

  countByNamespace(after: string | undefined, limit: number): [string, number][] {
    return this.listNamespaces(after, limit).map((name) => [name, this.count(name)]);
  }

  iterLruIds(n: number, namespace?: string): EntryRef[] {
    this.opened();
    const entry = (id: number) => this.entries.get(id) as Entry;
    let order = this.#orders.get(namespace);
    if (!order) {
      const ids = namespace === undefined ? undefined : this.#namespaces.get(namespace);
      if (namespace !== undefined && !ids) {
        return [];
      }
      order = new Lru(ids ? Array.from(ids.values(), entry) : this.entries.values());
      this.#orders.set(namespace, order);
    }
    return order
      .first(n, (use) => this.entries.get(use.id)?.lastAccessedAt === use.lastAccessedAt)
      .map(({ id }) => reference(entry(id)));
  }

  iterSince(lastId: number, limit: number): Entry[] {
    this.opened();
    return this.#page(lastId, limit);
  }

  iterVectors(lastId: number, limit: number): VectorPage {
    const { dim } = this.opened();
    const page = this.#page(lastId, limit);
    const vectors = new Float32Array(page.length * dim);
    page.forEach(({ embedding }, row) => vectors.set(embedding, row * dim));
    return {
      ids: page.map(({ id }) => id),
      namespaces: page.map(({ namespace }) => namespace),
      contexts: page.map(({ context }) => context),
      createdAt: page.map(({ createdAt }) => createdAt),
      vectors,
    };
  }

  iterStamps(lastId: number, limit: number): StampPage {
    this.opened();
    const page = this.#page(lastId, limit);
    return { ids: page.map(({ id }) => id), createdAt: page.map(({ createdAt }) => createdAt) };
  }

  insert(entries: Entry[]): Inserted[] {
    checkBatch(entries, MAX_BATCH, this.opened().dim);
    const inserted = entries.map((entry) => this.put(entry));
    this.#moved(
      inserted.map(({ id }) => id),
      false,
    );
    return inserted;
  }

  updateAccess(touches: Touch[]): void {
    this.opened();
    for (const { id, hits, lastAccessedAt } of touches) {
      const entry = this.entries.get(id);
      if (entry) {
        entry.accessCount = Math.min(entry.accessCount + hits, Number.MAX_SAFE_INTEGER);
        if (lastAccessedAt > entry.lastAccessedAt) {
          entry.lastAccessedAt = lastAccessedAt;
          this.#order(entry);
        }
      }
    }
  }

  deleteById(id: number): boolean {
    this.opened();
    const deleted = this.take(id);
    this.#moved(deleted ? [id] : [], true);
    return deleted;
  }

  deleteUnchanged(entries: EntryRef[]): number[] {
    this.opened();
    const deleted = entries
      .filter(({ id, createdAt }) => this.entries.get(id)?.createdAt === createdAt && this.take(id))
      .map(({ id }) => id);
    this.#moved(deleted, true);
    return deleted;
  }

  deleteExpired(now: number, namespace: string | undefined, limit: number): EntryRef[] {
    this.opened();
    const gone: EntryRef[] = [];
    for (const entry of this.entries.values()) {
      if (gone.length >= limit) {
        break;
      }
      if ((namespace === undefined || entry.namespace === namespace) && isExpired(entry, now)) {
        gone.push(reference(entry));
      }
    }
    const ids = gone.map(({ id }) => id);
    ids.forEach((id) => this.take(id));
    this.#moved(ids, true);
    return gone;
  }

  clearNamespace(namespace?: string): number {
    this.opened();
    let ids: number[];
    if (namespace === undefined) {
      ids = [...this.entries.keys()];
      this.#clearEntries();
    } else {
      ids = [...(this.#namespaces.get(namespace)?.values() ?? [])];
      ids.forEach((id) => this.take(id));
    }
    this.#moved(ids, true);
    return ids.length;
  }

  setNamespaceQuota(namespace: string, maxEntries: number | undefined): void {
    this.opened();
    if (maxEntries === undefined) {
      this.quotas.delete(namespace);
    } else {
      this.quotas.set(namespace, maxEntries);
    }
  }

  getNamespaceQuota(namespace: string): number | undefined {
    this.opened();
    return this.quotas.get(namespace);
  }

  listNamespaceQuotas(): [string, number][] {
    this.opened();
    return [...this.quotas].sort(([a], [b]) => compareUtf8(a, b));
  }

  readVersionCounter(): number {
    this.opened();
    return this.version;
  }

  changesSince(version: number, limit: number): ChangePage | undefined {
    this.opened();
    if (!this.changes) {
      throw new UnsupportedError(`the ${this.capabilities().name} store keeps no log of changes`);
    }
    return this.changes.since(version, this.version, limit);
  }

  readMeta(key: string): string | undefined {
    return ownMeta(this.opened(), key) ?? this.meta.get(key);
  }

  replaceMeta(key: string, expected: string | undefined, value: string | undefined): boolean {
    this.opened();
    checkMetaKey(key);
    if (this.meta.get(key) !== expected) {
      return false;
    }
    if (value === undefined) {
      this.meta.delete(key);
    } else {
      this.meta.set(key, value);
    }
    return true;
  }

  listMeta(): [string, string][] {
    this.opened();
    return [...this.meta].sort(([a], [b]) => compareUtf8(a, b));
  }

  integrityCheck(): boolean {
    this.opened();
    return true;
  }

  readBlob(name: string): Uint8Array | undefined {
    this.opened();
    checkBlobName(name);
    return this.blobs.get(name);
  }

  writeBlob(name: string, bytes: Uint8Array): void {
    this.opened();
    checkBlob(name, bytes, MAX_BLOB);
    this.blobs.set(name, bytes.slice());
  }

  deleteBlobs(names: string[]): void {
    this.opened();
    names.forEach(checkBlobName);
    for (const name of names) {
      this.blobs.delete(name);
    }
  }

  listBlobs(): string[] {
    this.opened();
    return [...this.blobs.keys()].sort();
  }

  beginView(): boolean {
    this.opened();
    return true;
  }

  endView(): void {
    this.opened();
  }

  beginImport(mode: ImportMode): void {
    this.opened();
    this.import = undefined;
    this.#accept(mode);
    this.import = { mode, stage: memoryStage() };
  }

  writeImport(entries: Entry[]): void {
    const { dim } = this.opened();
    const under = this.#takeImport();
    stageAll(under, entries, MAX_BATCH, dim);
    this.import = under;
  }

  commitImport(quotas: [string, number][], meta: MetaChange[]): boolean {
    this.opened();
    const under = this.#takeImport();
    for (const { key } of meta) {
      checkMetaKey(key);
    }
    this.#accept(under.mode);
    const replace = under.mode === 'replace';
    if (!replace && meta.some(({ key, expected }) => this.meta.get(key) !== expected)) {
      this.import = under;
      return false;
    }
    const added = [...under.stage.entries()];
    const changed = added.length > 0 || (replace && this.entries.size > 0);
    if (replace) {
      this.#clearEntries();
      this.quotas.clear();
      this.meta.clear();
    }
    if (changed) {
      this.version += 1;
      this.changes?.cut(this.version);
    }
    for (const entry of added) {
      this.put(entry);
    }
    for (const [namespace, quota] of quotas) {
      this.quotas.set(namespace, quota);
    }
    for (const { key, value } of meta) {
      this.meta.set(key, value);
    }
    return true;
  }

  endImport(): void {
    this.opened();
    this.import = undefined;
  }

  /** Stores one entry, which the store owns from now on. */
  protected put(entry: Entry): Inserted {
    const hashes = this.#hashesOf(entry.namespace);
    const present = hashes.get(entry.queryHash);
    const id = present ?? this.lastId + 1;
    if (present === undefined) {
      this.lastId = id;
      hashes.set(entry.queryHash, id);
      this.#ids.add(id);
    }
    const stored = { ...entry, id };
    const replaced = this.entries.get(id);
    this.entries.set(id, stored);
    if (replaced) {
      this.#tags.remove(replaced, this.entries);
    }
    this.#tags.add(stored);
    this.#order(stored);
    return { id, replaced: present !== undefined };
  }

  /** Puts back an entry that has its id, which is above all others. */
  protected restore(entry: Entry): void {
    this.#hashesOf(entry.namespace).set(entry.queryHash, entry.id);
    this.#ids.add(entry.id);
    this.entries.set(entry.id, entry);
    this.#tags.add(entry);
    this.#order(entry);
  }

  /** Forgets all of it. */
  protected reset(): void {
    this.#clearEntries();
    this.lastId = 0;
    this.version = 0;
    this.meta.clear();
    this.quotas.clear();
    this.blobs.clear();
  }

  /** Removes one entry; false if it does not exist. */
  protected take(id: number): boolean {
    const entry = this.entries.get(id);
    if (!entry) {
      return false;
    }
    this.entries.delete(id);
    const hashes = this.#namespaces.get(entry.namespace);
    hashes?.delete(entry.queryHash);
    if (hashes?.size === 0) {
      this.#namespaces.delete(entry.namespace);
      this.#orders.delete(entry.namespace);
    }
    this.#ids.remove((id) => this.entries.has(id));
    this.#tags.remove(entry, this.entries);
    return true;
  }

  /** The ids of a namespace by hash, for one to be added. */
  #hashesOf(namespace: string): Map<string, number> {
    let hashes = this.#namespaces.get(namespace);
    if (!hashes) {
      hashes = new Map();
      this.#namespaces.set(namespace, hashes);
    }
    return hashes;
  }

  #clearEntries(): void {
    this.entries.clear();
    this.#namespaces.clear();
    this.#orders.clear();
    this.#tags = new Tags();
    this.#ids = new Ids();
  }

  /** Moves the version counter on, after a write to these entries, if there are any. */
  #moved(ids: number[], deleted: boolean): void {
    if (ids.length > 0) {
      this.version += 1;
      this.changes?.append(this.version, ids, deleted);
    }
  }

  #read(id: number, vectors: boolean): Entry | undefined {
    const entry = this.entries.get(id);
    return entry && !vectors ? { ...entry, embedding: NO_VECTOR } : entry;
  }

  /** Tells the orders of an entry's last access. */
  #order(entry: Entry): void {
    for (const scope of [undefined, entry.namespace]) {
      const order = this.#orders.get(scope);
      order?.add(entry);
      // Enough are over to pay for making it again.
      if (order && order.length > 2 * this.count(scope) + 64) {
        this.#orders.delete(scope);
      }
    }
  }

  #page(lastId: number, limit: number): Entry[] {
    const page: Entry[] = [];
    if (limit === 0) {
      return page;
    }
    for (const id of this.#ids.after(lastId)) {
      const entry = this.entries.get(id);
      if (entry && page.push(entry) >= limit) {
        break;
      }
    }
    return page;
  }

  #takeImport(): Import {
    const under = begun(this.import);
    this.import = undefined;
    return under;
  }

  #accept(mode: ImportMode): void {
    if (mode === 'empty' && this.entries.size > 0) {
      throw importNotEmpty();
    }
  }
}

function reference({ id, namespace, createdAt }: Entry): EntryRef {
  return { id, namespace, createdAt };
}
