/** Cases of tenants whose names look alike: none sees, counts or deletes what another has. */

import { Random, byLetters, entryOf, equal } from './support/check.mjs';

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

/** By their UTF-8 bytes. */
function sorted(names) {
  const bytes = new TextEncoder();
  return [...names].sort((a, b) => {
    const [x, y] = [a, b].map((one) => [...bytes.encode(one)]);
    const differs = x.findIndex((byte, i) => byte !== y[i]);
    return differs < 0 ? x.length - y.length : x[differs] - (y[differs] ?? -1);
  });
}

/** What stores, their queries and JavaScript may take for something else. */
const PIECES = [
  ...'aAiIıİ0 \t\u007f%_*?[]{}\'"\\/:;.,-+#\uffff\ufeff\u00a0éßſK',
  'e\u0301',
  '\u{1f980}',
];

/** Names of few pieces, so that many are a part, a beginning or another case of each other. */
function randomNames(random, count) {
  const names = new Set();
  while (names.size < count) {
    const known = [...names];
    const one = known[random.below(known.length || 1)] ?? 'tenant';
    const any = () => PIECES[random.below(PIECES.length)];
    const name = [
      () => Array.from({ length: 1 + random.below(3) }, any).join(''),
      () => one + any(),
      () => any() + one,
      () => one.toUpperCase(),
      () => one.toLowerCase(),
      () => one.normalize(random.below(2) ? 'NFC' : 'NFD'),
      () => [...one].reverse().join(''),
      () => one.repeat(2),
    ][random.below(8)]();
    if (name !== '' && name.length < 200) {
      names.add(name);
    }
  }
  return [...names];
}

export const names = {
  async 'more namespaces than one call lists are all listed'(env) {
    const store = env.memory();
    store.open('letters-1', 26);
    const all = Array.from({ length: 65_540 }, (_, n) => `n${String(n).padStart(6, '0')}`);
    for (let at = 0; at < all.length; at += 1000) {
      store.insert(all.slice(at, at + 1000).map((namespace) => entryOf({ namespace })));
    }
    const cache = await env.SemanticCache.open({ store, ...byLetters() });
    equal(await cache.listNamespaces(), all);
    const stats = await cache.stats();
    equal(
      [stats.namespaces.length, stats.namespaceCount, stats.entries],
      [65_536, all.length, all.length],
    );
    equal((await cache.stats(all.at(-1))).namespaceCount, 1);
    await cache.close();
  },

  async 'random names have what was given to them, and nothing of others'(env) {
    const makes = { memory: () => env.memory(), ...env.stores };
    for (const [name, make] of Object.entries(makes)) {
      for (const seed of [1, 2, 3]) {
        const random = new Random(1000 * seed + 7);
        const names = randomNames(random, 40);
        const store = await make(`names-${databases++}`);
        const cache = await env.SemanticCache.open({ store, ...byLetters(), touchLimit: 1 });
        /** By namespace: its entries by query, and its quota. */
        const entries = new Map(names.map((one) => [one, new Map()]));
        const quotas = new Map();
        for (let n = 0; n < 250; n++) {
          const namespace = names[random.below(names.length)];
          const what = `${name}, seed ${seed}, step ${n}, ${JSON.stringify(namespace)}`;
          const own = entries.get(namespace);
          const query = ['abc', 'mnop', 'xyz'][random.below(3)];
          switch (random.below(8)) {
            case 0:
              equal(await cache.clearNamespace(namespace), own.size, what);
              own.clear();
              break;
            case 1:
              equal(await cache.delete(query, { namespace }), own.delete(query), what);
              break;
            case 2: {
              const quota = random.below(3) ? 5 + random.below(9) : null;
              await cache.setNamespaceQuota(namespace, quota);
              quotas.set(namespace, quota ?? undefined);
              break;
            }
            case 3: {
              const hit = await cache.get(query, { namespace });
              equal(hit?.response, own.get(query), what);
              break;
            }
            case 4: {
              // By meaning: it has the letters of one.
              const hit = await cache.get(`${query}${query}`, { namespace });
              equal(
                [hit?.response, hit && hit.namespace],
                [own.get(query), hit && namespace],
                what,
              );
              break;
            }
            default:
              own.set(query, `${n} of ${namespace}`);
              await cache.put(query, own.get(query), { namespace });
          }
          equal((await cache.stats(namespace)).entries, own.size, what);
          equal(await cache.namespaceQuota(namespace), quotas.get(namespace), what);
        }
        const filled = names.filter((one) => entries.get(one).size > 0);
        equal(await cache.listNamespaces(), sorted(filled), name);
        // Neither does an archive mix them.
        const { archive } = await cache.dump({ layout: 'portable' });
        await cache.close();
        const copy = await env.SemanticCache.open({ store: env.memory(), ...byLetters() });
        await copy.load(await archive.arrayBuffer());
        equal(await copy.listNamespaces(), sorted(filled), name);
        for (const namespace of filled) {
          for (const [query, response] of entries.get(namespace)) {
            equal((await copy.get(query, { namespace })).response, response, name);
          }
        }
        await copy.close();
      }
    }
  },

  async 'names that look alike are different'(env) {
    const makes = { memory: () => env.memory(), ...env.stores };
    for (const [name, make] of Object.entries(makes)) {
      const store = await make(`names-${databases++}`);
      const cache = await env.SemanticCache.open({ store, ...byLetters(), touchLimit: 1 });
      const own = (namespace) => `of ${JSON.stringify(namespace)}`;
      for (const [at, namespace] of NAMES.entries()) {
        await cache.put('abc', own(namespace), { namespace, ttlSeconds: at % 2 ? null : 1e9 });
        await cache.setNamespaceQuota(namespace, 10 + at);
      }
      equal(await cache.listNamespaces(), sorted(NAMES), name);
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
