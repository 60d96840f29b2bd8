/** Entries of an import that wait until they are committed. */

import type { Entry } from '../../store.js';
import { keyOf } from '../checks.js';
import type { SqlDriver, Stage } from './driver.js';
import { INSERT, entry, idOf, since, valuesOf } from './rows.js';

const CREATE = `CREATE TABLE entries (
  id INTEGER PRIMARY KEY, namespace, query_hash, query, response, embedding, metadata,
  created_at, last_accessed_at, ttl, access_count, UNIQUE(namespace, query_hash))`;
const PAGE = 1000;

/** In a database of its own. */
export function databaseStage(database: SqlDriver, dim: number): Stage {
  database.run(CREATE);
  const page = since(database.text);
  return {
    add: (one) => database.one(INSERT, ...valuesOf(one)) !== undefined,
    *entries() {
      for (let last = 0; ;) {
        const rows = database.all(page, last, PAGE);
        for (const row of rows) {
          last = idOf(row);
          yield entry(row, 4 * dim);
        }
        if (rows.length < PAGE) {
          return;
        }
      }
    },
    drop: () => database.close(),
  };
}

/** In memory. */
export function memoryStage(): Stage {
  const entries = new Map<string, Entry>();
  return {
    add: (one) => {
      const key = keyOf(one.namespace, one.queryHash);
      const isNew = !entries.has(key);
      if (isNew) {
        entries.set(key, one);
      }
      return isNew;
    },
    entries: () => entries.values(),
    drop: () => entries.clear(),
  };
}
