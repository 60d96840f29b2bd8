/** Cases of data that vanish under an open cache. */

import { byLetters, equal, fails, letters, ok } from './support/check.mjs';

/** The calls of a cache that ask its store, or write to it. */
const CALLS = {
  get: (cache) => cache.get('abcdefghh'),
  getMany: (cache) => cache.getMany(['abcdefgh', 'zzz']),
  put: (cache) => cache.put('other', 'r'),
  delete: (cache) => cache.delete('abcdefgh'),
  clear: (cache) => cache.clear(),
  clearNamespace: (cache) => cache.clearNamespace('default'),
  vacuum: (cache) => cache.vacuum({ compact: true }),
  stats: (cache) => cache.stats(),
  health: (cache) => cache.health({ deep: true }),
  dump: (cache) => cache.dump(),
  setNamespaceQuota: (cache) => cache.setNamespaceQuota('default', 5),
  namespaceQuota: (cache) => cache.namespaceQuota('default'),
  listNamespaces: (cache) => cache.listNamespaces(),
  warmUp: (cache) => cache.warmUp(),
};

let databases = 0;

/** Each gets `vanish`, which by the name of a store removes all of its database, or a table. */
export const vanishing = {
  async 'what vanishes under an open cache is an error at most once, and then it goes on'(env) {
    for (const [name, vanish] of Object.entries(env.vanish ?? {})) {
      for (const [what, call] of Object.entries(CALLS)) {
        const database = `vanishing-${databases++}`;
        const store = await env.stores[name](database);
        const embedder = letters();
        const cache = await env.SemanticCache.open({
          store,
          ...byLetters({ embedder, onError: () => {} }),
        });
        await cache.put('abcdefgh', 'old');
        await cache.get('abcdefghh');
        await vanish(database);
        let lost = 0;
        const outcome = (work) =>
          work().catch((error) => {
            lost += 1;
            equal([error.code, error.retryable], ['backend', true], `${name}, ${what}: ${error}`);
          });
        await outcome(() => call(cache));
        await outcome(() => cache.put('wxyz', 'new'));
        ok(lost <= 1, `${name}, ${what}: ${lost} calls failed`);
        await cache.put('wxyz', 'new');
        equal((await cache.get('wxyzz')).response, 'new', `${name}, ${what}`);
        equal((await cache.lookUp('abcdefgh')).hit, undefined, `${name}, ${what}`);
        const { entries, namespaces } = await cache.stats();
        equal([entries, namespaces.length], [what === 'put' && lost === 0 ? 2 : 1, 1]);
        equal((await cache.health({ deep: true })).healthy, true);
        equal(await cache.getOrCompute('computed', () => 'value'), 'value');
        await cache.close();
        const again = await env.SemanticCache.open({
          store: await env.stores[name](database),
          embedder,
        });
        equal((await again.get('wxyz')).response, 'new', `${name}, ${what}`);
        await again.close();
      }
    }
  },

  async 'a table that vanishes is told as such, and made again'(env) {
    for (const [name, vanish] of Object.entries(env.vanish ?? {})) {
      for (const [table, ask] of [
        ['entries', (store) => store.count()],
        ['namespace_quotas', (store) => store.listNamespaceQuotas()],
        ['multi_process_state', (store) => store.readVersionCounter()],
        ['derived_blobs', (store) => store.listBlobs()],
        ['derived_blobs', (store) => store.readBlob('blob')],
        ['derived_blobs', (store) => store.deleteBlobs(['blob'])],
        [undefined, (store) => store.listMeta()],
        [undefined, (store) => store.listBlobs()],
      ]) {
        const database = `vanishing-${databases++}`;
        const store = await env.stores[name](database);
        store.open('letters-1', 26);
        store.writeBlob('blob', new Uint8Array(3));
        store.setNamespaceQuota('n', 5);
        if ((await vanish(database, table)) === 'reads what was there') {
          store.close();
          continue;
        }
        const error = await fails((async () => ask(store))(), 'backend', /no such table/);
        equal([error.retryable, error.vanished], [true, true], `${name}, ${table}`);
        store.open('letters-1', 26);
        equal(store.count(), 0);
        store.writeBlob('blob', new Uint8Array(2));
        equal([store.listBlobs(), store.readBlob('blob').length], [['blob'], 2]);
        equal(
          store.listNamespaceQuotas(),
          table === undefined || table === 'namespace_quotas' ? [] : [['n', 5]],
        );
        equal(store.integrityCheck(), true);
        store.close();
      }
    }
  },
};
