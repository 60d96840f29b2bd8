/** Measures in Node, Bun or Deno; prints JSON. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SemanticCache } from '../../dist/index.js';
import { memory } from '../../dist/stores/memory.js';
import { nodeSqlite } from '../../dist/stores/node-sqlite.js';
import { measure } from './measure.mjs';

const rows = Number(process.argv[2]);
const folder = mkdtempSync(join(tmpdir(), 'mneme-bench-'));
const results = {
  memory: await measure({ SemanticCache }, memory(), rows),
  'node-sqlite': await measure({ SemanticCache }, nodeSqlite(join(folder, 'bench.db')), rows),
};
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify(results));
