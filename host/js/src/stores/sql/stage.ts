/** Entries of an import that wait in a separate database. */

import type { Stage } from '../stage.js';
import type { SqlDriver } from './driver.js';
import { INSERT, entry, idOf, since, valuesOf } from './rows.js';

const CREATE = `CREATE TABLE entries (
  id INTEGER PRIMARY KEY, namespace, query_hash, query, response, embedding, metadata,
  created_at, last_accessed_at, ttl, access_count, context, tags, UNIQUE(namespace, query_hash))`;
const PAGE = 1000;

/** In this database, which is closed with the stage. */
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
