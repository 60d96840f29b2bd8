/** Runs the cases in Node, Bun or Deno, and prints the results as JSON. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasJspi, SemanticCache } from '../../dist/index.js';
import { judge } from '../../conformance/dist/index.js';
import { MemoryStore, memory } from '../../dist/stores/memory.js';
import { run } from '../cases.mjs';

const folder = mkdtempSync(join(tmpdir(), 'mneme-js-'));
const stores = {};
let sqlite;
try {
  sqlite = await import('../../dist/stores/node-sqlite.js');
  stores['node-sqlite'] = (database) => sqlite.nodeSqlite(join(folder, `${database}.db`));
} catch (error) {
  if (!process.argv.includes('--without-sqlite')) {
    throw error;
  }
}
const option = (name) =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3);
const only = option('only');
const failures = option('failures') && Number(option('failures'));
/** A file that has lost its names is still read by whoever has it open. */
const vanish = {
  'node-sqlite': (database) => {
    for (const end of ['', '-wal', '-shm']) {
      rmSync(join(folder, `${database}.db${end}`), { force: true });
    }
    return 'reads what was there';
  },
};
/** What somebody else does to a database. */
const change = {
  'node-sqlite': async (database, sql) => {
    const { DatabaseSync } = await import('node:sqlite');
    const db = new DatabaseSync(join(folder, `${database}.db`));
    db.exec(sql);
    db.close();
  },
};
const results = await run(
  {
    SemanticCache,
    hasJspi,
    judge,
    memory,
    MemoryStore,
    stores,
    failures,
    vanish: sqlite ? vanish : {},
    change: sqlite ? change : {},
  },
  only ? new RegExp(only) : undefined,
);
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify({ jspi: hasJspi(), stores: Object.keys(stores), results }));
