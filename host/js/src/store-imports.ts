/**
 * A store as the component imports it: integers as bigints, failures as the contract's errors.
 *
 * Whatever a store throws or returns, what reaches the component is well-formed: a wrong value
 * would trap it, and an `Error` of the runtime would carry its stack along.
 */

import {
  BackendError,
  InvalidArgumentError,
  UnsupportedError,
  returned,
  toValue,
} from './errors.js';
import { callBegins, callSucceeded } from './locks.js';
import { kindOf } from './platform.js';
import type { Change, Entry, EntryRef, Filter, Neighbour, Store } from './store.js';

/** Integers beyond it are not exact numbers. */
const MAX = Number.MAX_SAFE_INTEGER;

/** An entry as the component has it. */
interface RawEntry {
  id: bigint;
  namespace: string;
  context: string;
  queryHash: string;
  query: string;
  response: string;
  embedding: Float32Array;
  metadata: string;
  tags: string[];
  createdAt: bigint;
  lastAccessedAt: bigint;
  ttl?: bigint | undefined;
  accessCount: bigint;
}

/** A filter as the component has it. */
interface RawFilter {
  namespace?: string | undefined;
  context?: string | undefined;
  tags: string[];
  createdFrom?: bigint | undefined;
  createdBefore?: bigint | undefined;
}

/** A search as the component has it. */
interface RawVectorQuery {
  namespace: string;
  context: string;
  tags: string[];
  freshAt?: bigint | undefined;
  vector: Float32Array;
}

/** How a store is called. */
export interface Calling {
  /** The store. */
  store: Store;
  /** Milliseconds after which a promise is given up (see {@link LONG}); undefined: never. */
  timeout?: number | undefined;
  /** Hears of what a store threw that is no error of this package, for `cause`. */
  onThrow?: (thrown: unknown) => void;
}

type Method = (...args: never[]) => unknown;

/** Calls that work on all data, for which the time-out is so many times as long. */
const LONG = new Set([
  'clearNamespace',
  'integrityCheck',
  'commitImport',
  'beginSnapshot',
  'checkRestore',
  'commitRestore',
]);
const TIMES = 10;
/** Bookkeeping, for which no answer waits longer: the cache does it later. */
const BOOKKEEPING = new Set(['updateAccess', 'replaceMeta', 'deleteUnchanged']);
const BOOKKEEPING_MS = 1000;
const [SHORTEST_REST_MS, LONGEST_REST_MS] = [1000, 60_000];

/** Leaves a store that was silent alone, longer after each time, so that nobody waits in a row. */
class Rest {
  #until = 0;
  #ms = 0;

  /** Milliseconds until a call finds out whether the store answers again. */
  get left(): number {
    return Math.max(this.#until - performance.now(), 0);
  }

  begin(timeout: number): void {
    const first = Math.min(timeout, SHORTEST_REST_MS);
    this.#ms = this.#ms === 0 ? first : Math.min(2 * this.#ms, LONGEST_REST_MS);
    this.#until = performance.now() + this.#ms;
  }

  end(): void {
    this.#ms = 0;
    this.#until = 0;
  }
}

/** The functions of the interface `store`. */
export function storeImports({ store, timeout, onThrow }: Calling): Record<string, Method> {
  const name = () => {
    try {
      return String(store.capabilities().name);
    } catch {
      return 'given';
    }
  };
  const where = (operation: string) => `${operation} of the ${name()} store`;
  /** Throws what the component takes for a returned error. */
  const fail = (thrown: unknown, operation: string): never => {
    onThrow?.(thrown);
    throw returned(toValue(thrown, where(operation)));
  };

  const rest = new Rest();
  /** The outcome of a promise, or an error when it is given up. */
  const within = (promise: Promise<unknown>, operation: string): Promise<unknown> => {
    const isBookkeeping = BOOKKEEPING.has(operation);
    if (timeout === undefined && !isBookkeeping) {
      return Promise.resolve(promise);
    }
    const patience = timeout ?? Number.POSITIVE_INFINITY;
    const ms = isBookkeeping
      ? Math.min(BOOKKEEPING_MS, patience)
      : LONG.has(operation)
        ? TIMES * patience
        : patience;
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // Bookkeeping is given up before it is known that the store is silent.
        if (!isBookkeeping) {
          rest.begin(patience);
        }
        // Whether a write has happened meanwhile is unknown, so it is not to be repeated.
        reject(
          new BackendError(
            `${where(operation)} has not settled within ${ms} ms; ${isBookkeeping ? '' : 'raise storeTimeoutSeconds, or '}look at what the backend is doing`,
          ),
        );
      }, ms);
    });
    const settled = Promise.resolve(promise).finally(() => rest.end());
    return Promise.race([settled, late]).finally(() => clearTimeout(timer));
  };

  /** An operation: arguments as the store takes them, its method, the result as it must be. */
  const operation = <A extends unknown[], R>(
    operation: string,
    call: (...args: A) => unknown,
    check: (result: unknown, wrong: Wrong) => R,
  ): Method => {
    const wrong: Wrong = (what) =>
      new BackendError(
        `${where(operation)} returned ${what}; the store is at fault, judge it with the conformance battery`,
      );
    const finish = (result: unknown): R => {
      try {
        const checked = check(result, wrong);
        callSucceeded(operation);
        return checked;
      } catch (thrown) {
        return fail(thrown, operation);
      }
    };
    return (...args: A) => {
      let result: unknown;
      try {
        // Closing releases what the store holds, and is not tried again.
        if (rest.left > 0 && operation !== 'close') {
          throw new BackendError(
            `${where(operation)} was not called, for the store did not answer a moment ago; it is called again in ${(rest.left / 1000).toFixed(1)} s`,
            { retryable: true },
          );
        }
        callBegins(operation);
        result = call(...args);
      } catch (thrown) {
        return fail(thrown, operation);
      }
      if (!isPromise(result)) {
        return finish(result);
      }
      if (store.synchronous) {
        result.then(
          () => {},
          () => {},
        );
        return fail(wrong('a promise, though it says that it is synchronous'), operation);
      }
      return within(result, operation).then(finish, (thrown) => fail(thrown, operation));
    };
  };

  /** An operation that a store may lack. */
  const optional = <A extends unknown[], R>(
    name: string,
    method: ((...args: A) => unknown) | undefined,
    check: (result: unknown, wrong: Wrong) => R,
  ): Method =>
    operation<A, R>(
      name,
      (...args) => {
        if (!method) {
          throw new UnsupportedError(`${where(name)} does not exist`);
        }
        return method.apply(store, args);
      },
      check,
    );

  return {
    capabilities: () => {
      // No result type: what is wrong here shows at `open`.
      const claimed = store.capabilities();
      return {
        name: String(claimed.name),
        durable: Boolean(claimed.durable),
        shared: Boolean(claimed.shared),
        snapshot: Boolean(claimed.snapshot),
        maxBatch: u32(claimed.maxBatch),
        maxDelete: u32(claimed.maxDelete),
        maxBlob: u32(claimed.maxBlob),
        maxChanges: u32(claimed.maxChanges),
        nearest: Boolean(claimed.nearest),
      };
    },
    open: operation(
      'open',
      (fingerprint: string, dim: number) => store.open(fingerprint, dim),
      nothing,
    ),
    close: operation('close', () => store.close(), nothing),
    getByHash: operation(
      'getByHash',
      (keys: { namespace: string; queryHash: string }[], vectors: boolean) =>
        store.getByHash(keys, vectors),
      list((item, wrong) => (item === undefined || item === null ? undefined : entry(item, wrong))),
    ),
    getByIds: operation(
      'getByIds',
      (ids: BigUint64Array, vectors: boolean) => store.getByIds(numbers(ids), vectors),
      list(entry),
    ),
    select: operation(
      'select',
      (filter: RawFilter, lastId: bigint, limit: number) =>
        store.select(filterOf(filter), Number(lastId), limit),
      (found, wrong) => {
        const { entries, next } = object(found, wrong);
        return { entries: list(reference)(entries, wrong), next: maybe(integer)(next, wrong) };
      },
    ),
    count: operation('count', (namespace?: string) => store.count(namespace), integer),
    listNamespaces: operation(
      'listNamespaces',
      (after: string | undefined, limit: number) => store.listNamespaces(after, limit),
      list(text),
    ),
    countByNamespace: operation(
      'countByNamespace',
      (after: string | undefined, limit: number) => store.countByNamespace(after, limit),
      list(pair(text, integer)),
    ),
    iterLruIds: operation(
      'iterLruIds',
      (n: number, namespace?: string) => store.iterLruIds(n, namespace),
      list(reference),
    ),
    iterSince: operation(
      'iterSince',
      (lastId: bigint, limit: number) => store.iterSince(Number(lastId), limit),
      list(entry),
    ),
    iterVectors: operation(
      'iterVectors',
      (lastId: bigint, limit: number) => store.iterVectors(Number(lastId), limit),
      (page, wrong) => {
        const { ids, namespaces, contexts, createdAt, vectors } = object(page, wrong);
        return {
          ids: integers(ids, wrong),
          namespaces: list(text)(namespaces, wrong),
          contexts: list(text)(contexts, wrong),
          createdAt: integers(createdAt, wrong),
          vectors: floats(vectors, wrong),
        };
      },
    ),
    iterStamps: operation(
      'iterStamps',
      (lastId: bigint, limit: number) => store.iterStamps(Number(lastId), limit),
      (page, wrong) => {
        const { ids, createdAt } = object(page, wrong);
        return { ids: integers(ids, wrong), createdAt: integers(createdAt, wrong) };
      },
    ),
    insert: operation(
      'insert',
      (entries: RawEntry[]) => store.insert(entries.map(given)),
      list((item, wrong) => {
        const { id, replaced } = object(item, wrong);
        return { id: integer(id, wrong), replaced: flag(replaced, wrong) };
      }),
    ),
    updateAccess: operation(
      'updateAccess',
      (touches: { id: bigint; hits: number; lastAccessedAt: bigint }[]) =>
        store.updateAccess(
          touches.map(({ id, hits, lastAccessedAt }) => ({
            id: Number(id),
            hits,
            lastAccessedAt: exact(lastAccessedAt, 'lastAccessedAt'),
          })),
        ),
      nothing,
    ),
    deleteById: operation('deleteById', (id: bigint) => store.deleteById(Number(id)), flag),
    deleteUnchanged: operation(
      'deleteUnchanged',
      (entries: { id: bigint; namespace: string; createdAt: bigint }[]) =>
        store.deleteUnchanged(
          entries.map(({ id, namespace, createdAt }) => ({
            id: Number(id),
            namespace,
            createdAt: Number(createdAt),
          })),
        ),
      integers,
    ),
    deleteExpired: operation(
      'deleteExpired',
      (now: bigint, namespace: string | undefined, limit: number) =>
        store.deleteExpired(Number(now), namespace, limit),
      list(reference),
    ),
    clearNamespace: operation(
      'clearNamespace',
      (namespace?: string) => store.clearNamespace(namespace),
      integer,
    ),
    setNamespaceQuota: operation(
      'setNamespaceQuota',
      (namespace: string, quota?: bigint) =>
        store.setNamespaceQuota(namespace, quota === undefined ? undefined : exact(quota, 'quota')),
      nothing,
    ),
    getNamespaceQuota: operation(
      'getNamespaceQuota',
      (namespace: string) => store.getNamespaceQuota(namespace),
      maybe(integer),
    ),
    listNamespaceQuotas: operation(
      'listNamespaceQuotas',
      () => store.listNamespaceQuotas(),
      list(pair(text, integer)),
    ),
    readVersionCounter: operation('readVersionCounter', () => store.readVersionCounter(), integer),
    changesSince: optional<[bigint, number], unknown>(
      'changesSince',
      store.changesSince && ((version, limit) => store.changesSince?.(Number(version), limit)),
      maybe((page, wrong) => {
        const { changes, version } = object(page, wrong);
        return { changes: list(change)(changes, wrong), version: integer(version, wrong) };
      }),
    ),
    nearest: optional<[RawVectorQuery, number], unknown>(
      'nearest',
      store.nearest &&
        (({ namespace, context, tags, freshAt, vector }, limit) =>
          store.nearest?.(
            {
              namespace,
              context,
              tags,
              freshAt: freshAt === undefined ? undefined : Number(freshAt),
              vector,
            },
            limit,
          )),
      list(neighbour),
    ),
    readMeta: operation('readMeta', (key: string) => store.readMeta(key), maybe(text)),
    replaceMeta: operation(
      'replaceMeta',
      (key: string, expected?: string, value?: string) => store.replaceMeta(key, expected, value),
      flag,
    ),
    listMeta: operation('listMeta', () => store.listMeta(), list(pair(text, text))),
    integrityCheck: operation('integrityCheck', () => store.integrityCheck(), flag),

    readBlob: optional('readBlob', store.readBlob, maybe(bytes)),
    writeBlob: optional('writeBlob', store.writeBlob, nothing),
    deleteBlobs: optional('deleteBlobs', store.deleteBlobs, nothing),
    listBlobs: optional('listBlobs', store.listBlobs, list(text)),

    beginView: operation('beginView', () => store.beginView(), flag),
    endView: operation('endView', () => store.endView(), nothing),

    beginImport: operation(
      'beginImport',
      (mode: 'empty' | 'merge' | 'replace') => store.beginImport(mode),
      nothing,
    ),
    writeImport: operation(
      'writeImport',
      (entries: RawEntry[]) => store.writeImport(entries.map(given)),
      nothing,
    ),
    commitImport: operation(
      'commitImport',
      (quotas: [string, bigint][], meta: { key: string; expected?: string; value: string }[]) =>
        store.commitImport(
          quotas.map(([namespace, quota]) => [namespace, exact(quota, 'quota')]),
          meta.map(({ key, expected, value }) => ({ key, expected, value })),
        ),
      flag,
    ),
    endImport: operation('endImport', () => store.endImport(), nothing),

    beginSnapshot: optional('beginSnapshot', store.beginSnapshot, integer),
    readSnapshot: optional('readSnapshot', store.readSnapshot, bytes),
    endSnapshot: optional('endSnapshot', store.endSnapshot, nothing),
    beginRestore: optional('beginRestore', store.beginRestore, nothing),
    writeRestore: optional('writeRestore', store.writeRestore, nothing),
    checkRestore: optional('checkRestore', store.checkRestore, (result, wrong) => {
      const { entries, quotas, meta } = object(result, wrong);
      return {
        entries: integer(entries, wrong),
        quotas: list(pair(text, integer))(quotas, wrong),
        meta: list(pair(text, text))(meta, wrong),
      };
    }),
    readRestore: optional<[bigint, number], unknown>(
      'readRestore',
      store.readRestore && ((lastId, limit) => store.readRestore?.(Number(lastId), limit)),
      list(entry),
    ),
    commitRestore: optional('commitRestore', store.commitRestore, nothing),
    endRestore: optional('endRestore', store.endRestore, nothing),
  };
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

// ---- from the component -------------------------------------------------------

function given(raw: RawEntry): Entry {
  return {
    id: 0,
    namespace: raw.namespace,
    context: raw.context,
    queryHash: raw.queryHash,
    query: raw.query,
    response: raw.response,
    embedding: raw.embedding,
    metadata: raw.metadata,
    tags: raw.tags,
    createdAt: exact(raw.createdAt, 'createdAt'),
    lastAccessedAt: exact(raw.lastAccessedAt, 'lastAccessedAt'),
    ttl: raw.ttl === undefined ? undefined : exact(raw.ttl, 'ttl'),
    accessCount: exact(raw.accessCount, 'accessCount'),
  };
}

function filterOf({ namespace, context, tags, createdFrom, createdBefore }: RawFilter): Filter {
  const time = (given: bigint | undefined) => (given === undefined ? undefined : Number(given));
  return {
    namespace,
    context,
    tags,
    createdFrom: time(createdFrom),
    createdBefore: time(createdBefore),
  };
}

/** A number to be stored, which must not change on the way. */
function exact(value: bigint, field: string): number {
  if (value > MAX) {
    throw new InvalidArgumentError(
      `${field} is ${value}, and stores in JavaScript hold numbers up to ${MAX}; give a smaller one`,
    );
  }
  return Number(value);
}

/** Ids to look for. One that is no exact number is no id of any entry. */
function numbers(ids: BigUint64Array): number[] {
  return Array.from(ids, Number);
}

// ---- from the store -----------------------------------------------------------

type Wrong = (what: string) => Error;
type Check<R> = (value: unknown, wrong: Wrong) => R;

function nothing(): void {}

function kind(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
}

function text(value: unknown, wrong: Wrong): string {
  if (typeof value !== 'string') {
    throw wrong(`${kind(value)} where a string is due`);
  }
  return value;
}

function flag(value: unknown, wrong: Wrong): boolean {
  if (typeof value !== 'boolean') {
    throw wrong(`${kind(value)} where true or false is due`);
  }
  return value;
}

function integer(value: unknown, wrong: Wrong): bigint {
  if (typeof value === 'bigint' && value >= 0n && value <= MAX) {
    return value;
  }
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    const isNumber = typeof value === 'number' || typeof value === 'bigint';
    throw wrong(`${isNumber ? value : kind(value)} where a whole number from 0 to ${MAX} is due`);
  }
  return BigInt(value);
}

function u32(value: number): number {
  return Math.min(Math.max(Math.trunc(Number(value)) || 0, 0), 0xffff_ffff);
}

function integers(values: unknown, wrong: Wrong): BigUint64Array {
  const given = arrayLike(values, wrong);
  const found = new BigUint64Array(given.length);
  for (let i = 0; i < given.length; i++) {
    found[i] = integer(given[i], wrong);
  }
  return found;
}

function floats(value: unknown, wrong: Wrong): Float32Array {
  if (kindOf(value) === 'Float32Array') {
    return value as Float32Array;
  }
  throw wrong(`${kind(value)} where a Float32Array is due`);
}

function bytes(value: unknown, wrong: Wrong): Uint8Array {
  if (kindOf(value) === 'Uint8Array') {
    return value as Uint8Array;
  }
  throw wrong(`${kind(value)} where a Uint8Array is due`);
}

function arrayLike(value: unknown, wrong: Wrong): ArrayLike<unknown> {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    return value as unknown as ArrayLike<unknown>;
  }
  throw wrong(`${kind(value)} where a list is due`);
}

function object(value: unknown, wrong: Wrong): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) {
    throw wrong(`${kind(value)} where an object is due`);
  }
  return value as Record<string, unknown>;
}

function maybe<R>(check: Check<R>): Check<R | undefined> {
  return (value, wrong) =>
    value === undefined || value === null ? undefined : check(value, wrong);
}

function list<R>(check: Check<R>): Check<R[]> {
  return (value, wrong) => {
    const items = arrayLike(value, wrong);
    const found = new Array<R>(items.length);
    for (let i = 0; i < items.length; i++) {
      found[i] = check(items[i], wrong);
    }
    return found;
  };
}

function pair<A, B>(first: Check<A>, second: Check<B>): Check<[A, B]> {
  return (value, wrong) => {
    const items = arrayLike(value, wrong);
    return [first(items[0], wrong), second(items[1], wrong)];
  };
}

function entry(value: unknown, wrong: Wrong): RawEntry {
  const found = object(value, wrong) as unknown as Entry;
  return {
    id: integer(found.id, wrong),
    namespace: text(found.namespace, wrong),
    context: text(found.context, wrong),
    queryHash: text(found.queryHash, wrong),
    query: text(found.query, wrong),
    response: text(found.response, wrong),
    embedding: floats(found.embedding, wrong),
    metadata: text(found.metadata, wrong),
    tags: list(text)(found.tags, wrong),
    createdAt: integer(found.createdAt, wrong),
    lastAccessedAt: integer(found.lastAccessedAt, wrong),
    ttl: maybe(integer)(found.ttl, wrong),
    accessCount: integer(found.accessCount, wrong),
  };
}

function reference(value: unknown, wrong: Wrong) {
  const found = object(value, wrong) as unknown as EntryRef;
  return {
    id: integer(found.id, wrong),
    namespace: text(found.namespace, wrong),
    createdAt: integer(found.createdAt, wrong),
  };
}

function neighbour(value: unknown, wrong: Wrong) {
  const found = object(value, wrong) as unknown as Neighbour;
  if (typeof found.similarity !== 'number') {
    throw wrong(`${kind(found.similarity)} where a similarity is due`);
  }
  return { id: integer(found.id, wrong), similarity: found.similarity };
}

function change(value: unknown, wrong: Wrong) {
  const found = object(value, wrong) as unknown as Change;
  return {
    version: integer(found.version, wrong),
    id: integer(found.id, wrong),
    deleted: flag(found.deleted, wrong),
  };
}
