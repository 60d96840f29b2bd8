/** Writes a SQLite file and a native archive of it into a folder. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SemanticCache } from '../../dist/index.js';
import { nodeSqlite } from '../../dist/stores/node-sqlite.js';

const folder = process.argv[2];
const cache = await SemanticCache.open({
  store: nodeSqlite(join(folder, 'javascript.db')),
  embedder: { fingerprint: 'javascript-1', dimensions: 3 },
});
await cache.put('What is \u{1F980}?', 'A crab.\0', { embedding: [1, 2, 3], metadata: { n: 1 } });
await cache.put('other', 'answer', {
  embedding: [3, -2, 1],
  namespace: 'tenant',
  ttlSeconds: 4_000_000_000,
});
await cache.put('other', 'of a context', {
  embedding: [3, -2, 1],
  namespace: 'tenant',
  context: 'small \u{1F980}',
  tags: ['user:7', 'doc:\u{1F980}'],
});
await cache.get('WHAT is \u{1F980}?');
await cache.setNamespaceQuota('tenant', 7);
const { layout, archive } = await cache.dump({ layout: 'native' });
writeFileSync(join(folder, 'native.tar.gz'), new Uint8Array(await archive.arrayBuffer()));
const { entries } = await cache.stats();
await cache.close();
console.log(JSON.stringify({ layout, entries }));
