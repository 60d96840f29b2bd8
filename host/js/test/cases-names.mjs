/** Cases of tenants whose names look alike: none sees, counts or deletes what another has. */

import { equal, letters } from './support/check.mjs';

const NAMES = [
  'tenant',
  'Tenant',
  'TENANT',
  'tenant ',
  ' tenant',
  'tenan',
  'tenant1',
  'tenant/1',
  'tenant:1',
  'tenant\t',
  't%',
  't_nant',
  '%',
  '_',
  '*',
  "'; DROP TABLE entries; --",
  '"',
  '\\',
  'é',
  'e\u0301',
  '\u{1f980}',
  '\uffee',
  'ﬁ',
  'fi',
  'ß',
  'ss',
  'ı',
  'i',
  'I',
  '__proto__',
  'constructor',
  'undefined',
  '1',
  '01',
  '1e0',
  '\ufeff1',
  'x'.repeat(1023),
  'x'.repeat(1024),
];

let databases = 0;

export const names = {
  async 'names that look alike are different'(env) {
    const makes = { memory: () => env.memory(), ...env.stores };
    for (const [name, make] of Object.entries(makes)) {
      const store = await make(`names-${databases++}`);
      const cache = await env.SemanticCache.open({ store, embedder: letters(), touchLimit: 1 });
      const own = (namespace) => `of ${JSON.stringify(namespace)}`;
      for (const [at, namespace] of NAMES.entries()) {
        await cache.put('abc', own(namespace), { namespace, ttlSeconds: at % 2 ? null : 1e9 });
        await cache.setNamespaceQuota(namespace, 10 + at);
      }
      const bytes = new TextEncoder();
      const sorted = [...NAMES].sort((a, b) => {
        const [x, y] = [a, b].map((one) => [...bytes.encode(one)]);
        const differs = x.findIndex((byte, i) => byte !== y[i]);
        return differs < 0 ? x.length - y.length : x[differs] - (y[differs] ?? -1);
      });
      equal(await cache.listNamespaces(), sorted, name);
      const left = new Set(NAMES);
      for (const [at, namespace] of NAMES.entries()) {
        const what = `${name}, ${own(namespace)}`;
        for (const query of ['abc', 'abcc']) {
          const hit = await cache.get(query, { namespace, threshold: 0.5 });
          equal([hit.response, hit.namespace], [own(namespace), namespace], what);
        }
        equal((await cache.stats(namespace)).entries, 1, what);
        equal(await cache.namespaceQuota(namespace), 10 + at, what);
      }
      for (const namespace of NAMES) {
        const what = `${name}, ${own(namespace)}`;
        equal(await cache.vacuum({ namespace }), 0, what);
        equal(await cache.clearNamespace(namespace), 1, what);
        left.delete(namespace);
        equal(
          (await cache.listNamespaces()).length,
          left.size,
          `${what}: nothing else was deleted`,
        );
        equal((await cache.lookUp('abc', { namespace })).hit, undefined, what);
      }
      await cache.close();
    }
  },
};
