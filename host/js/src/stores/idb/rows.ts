/** Entries as rows of three object stores. */

import { CorruptError } from '../../errors.js';
import type { Entry, EntryRef, Inserted } from '../../store.js';
import { NO_VECTOR, isCount, keyOf } from '../checks.js';
import {
  ENTRY_STORES,
  MAX,
  bump,
  number,
  type Body,
  type Head,
  type Stores,
  type VectorRow,
} from './layout.js';
import { result } from './requests.js';

/** Reads rows, and refuses those that no cache writes. */
export class Rows {
  readonly #database: string;
  /** The number of values in a vector. */
  readonly dim: number;

  constructor(database: string, dim: number) {
    this.#database = database;
    this.dim = dim;
  }

  /** The entry of a head, with its vector or without. */
  async whole(stores: Stores, head: Head, vectors: boolean): Promise<Entry> {
    const [body, vector] = await Promise.all([
      result<Body | undefined>(stores.bodies.get(head.id)),
      vectors ? result<VectorRow | undefined>(stores.vectors.get(head.id)) : undefined,
    ]);
    return this.joined(head, body, vectors ? this.vector(head, vector) : NO_VECTOR);
  }

  /** The entry of these rows. */
  joined(head: Head, body: Body | undefined, embedding: Float32Array): Entry {
    if (body?.id !== head.id) {
      throw this.#damaged(head, 'lacks its text');
    }
    const { id, namespace, queryHash, createdAt, lastAccessedAt, ttl, accessCount } =
      this.checked(head);
    const { query, response, metadata } = body;
    return {
      id,
      namespace,
      context: head.context ?? '',
      queryHash,
      query,
      response,
      embedding,
      metadata,
      tags: head.tags ?? [],
      createdAt,
      lastAccessedAt,
      ttl,
      accessCount,
    };
  }

  /** A head whose numbers and texts are such. */
  checked(head: Head): Head {
    const { id, namespace, createdAt, lastAccessedAt, ttl, accessCount } = head;
    if (!(isCount(id) && id > 0) || typeof namespace !== 'string') {
      throw this.#damaged(head, 'has an invalid id or namespace');
    }
    if (typeof (head.context ?? '') !== 'string' || !areTexts(head.tags ?? [])) {
      throw this.#damaged(head, 'has a context that is no text, or tags that are no list of texts');
    }
    if (![createdAt, lastAccessedAt, ttl ?? 0, accessCount].every(isCount)) {
      throw this.#damaged(head, `has a number that is not one from 0 to ${MAX}`);
    }
    return head;
  }

  /** The vector of a head. */
  vector(head: Head, row: VectorRow | undefined): Float32Array {
    if (row?.id !== head.id || row.vector?.length !== this.dim) {
      throw this.#damaged(head, 'lacks its vector, or has another length');
    }
    return row.vector;
  }

  #damaged(head: Head, what: string): CorruptError {
    return new CorruptError(
      `IndexedDB ${this.#database}, entry ${head.id} ${what}; delete the database, or load an archive`,
    );
  }
}

function areTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

/** Stores entries, each in the place of the one with its namespace and hash. */
export async function putAll(stores: Stores, entries: Entry[]): Promise<Inserted[]> {
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
    const { namespace, context, queryHash, tags } = entry;
    const { createdAt, lastAccessedAt, ttl, accessCount } = entry;
    const head: Head = { id, namespace, queryHash, createdAt, lastAccessedAt, accessCount };
    if (context !== '') {
      head.context = context;
    }
    if (tags.length > 0) {
      head.tags = tags;
    }
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

/** Deletes entries. */
export async function deleteAll(stores: Stores, heads: Head[]): Promise<void> {
  for (const { id } of heads) {
    for (const name of ENTRY_STORES) {
      stores[name].delete(id);
    }
  }
  if (heads.length > 0) {
    await bump(stores.settings);
  }
}

export function reference({ id, namespace, createdAt }: Head): EntryRef {
  return { id, namespace, createdAt };
}
