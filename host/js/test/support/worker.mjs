/** The worker of the tests: runs the cases in a Durable Object with a SQLite database. */

import { DurableObject } from 'cloudflare:workers';
import { judge } from '../../conformance/dist/index.workerd.js';
import { hasJspi, SemanticCache } from '../../dist/index.workerd.js';
import { durableObject } from '../../dist/stores/durable-object.js';
import { MemoryStore, memory } from '../../dist/stores/memory.js';
import { run } from '../cases.mjs';
import { script } from '../script.mjs';

export class Tests extends DurableObject {
  #database;

  /** The object has one database; another name begins with nothing in it. */
  #store(database) {
    const { sql } = this.ctx.storage;
    if (database !== this.#database) {
      this.#database = database;
      const tables = sql
        .exec(
          "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )
        .toArray();
      for (const { name } of tables) {
        sql.exec(`DROP TABLE ${name}`);
      }
    }
    return durableObject(this.ctx.storage);
  }

  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const env = {
      SemanticCache,
      hasJspi,
      judge,
      memory,
      MemoryStore,
      stores: { 'durable-object': (database) => this.#store(database) },
      vanish: {
        'durable-object': (_, table) =>
          table === undefined
            ? this.ctx.storage.deleteAll()
            : this.ctx.storage.sql.exec(`DROP TABLE ${table}`),
      },
      change: { 'durable-object': (_, sql) => this.ctx.storage.sql.exec(sql) },
    };
    if (pathname === '/script') {
      return Response.json(await script(env));
    }
    const only = searchParams.get('only');
    const results = await run(env, only ? new RegExp(only) : undefined);
    return Response.json({ jspi: hasJspi(), stores: Object.keys(env.stores), results });
  }
}

export default {
  fetch(request, env) {
    return env.TESTS.get(env.TESTS.idFromName('tests')).fetch(request);
  },
};
