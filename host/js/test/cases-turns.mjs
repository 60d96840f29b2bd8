/** Cases of long work: everything else has its turn meanwhile, and it ends. */

import { byLetters, equal, letters, ok } from './support/check.mjs';

/** Entries enough for many steps, in a memory store that is open. */
function filled({ MemoryStore }, entries, dimensions) {
  const store = new MemoryStore();
  store.open('letters-1', dimensions);
  for (let from = 0; from < entries; from += 1000) {
    store.insert(
      Array.from({ length: Math.min(1000, entries - from) }, (_, i) => ({
        id: 0,
        namespace: 'default',
        context: '',
        tags: [],
        queryHash: String(from + i).padStart(64, '0'),
        query: `q${from + i}`,
        response: 'r',
        embedding: Float32Array.from(
          { length: dimensions },
          (_, j) => ((from + i) % (j + 7)) - 3.5,
        ),
        metadata: '{}',
        createdAt: 1_700_000_000,
        lastAccessedAt: 1_700_000_000 + ((from + i) % 10),
        ttl: undefined,
        accessCount: 0,
      })),
    );
  }
  store.close();
  return store;
}

function open({ SemanticCache }, store, dimensions, options = {}) {
  return SemanticCache.open({ store, ...byLetters({ embedder: letters(dimensions), ...options }) });
}

/** What `work` comes to, and how often a timer ran meanwhile. */
async function ticking(work) {
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 1);
  try {
    return [await work(), ticks];
  } finally {
    clearInterval(timer);
  }
}

export const turns = {
  async 'timers run while a store that never waits is worked through'(env) {
    if (globalThis.navigator?.userAgent === 'Cloudflare-Workers') {
      return; // Its timers fire where a request waits for something outside.
    }
    const cache = await open(env, filled(env, 20_000, 64), 64);
    const [rows, warming] = await ticking(() => cache.warmUp());
    equal(rows, 20_000);
    ok(warming >= 2, `${warming} ticks while the index was read`);
    const answers = Array.from({ length: 12_000 }, (_, i) => ({
      query: `new ${i}`,
      response: `${i}`,
      exactOnly: true,
    }));
    // The last of two answers to one question stays.
    answers.push({ query: 'new 0', response: 'last', exactOnly: true });
    const [ids, storing] = await ticking(() => cache.putMany(answers));
    equal([ids.length, new Set(ids).size, ids[0]], [12_001, 12_000, ids[12_000]]);
    ok(storing >= 2, `${storing} ticks while entries were stored`);
    equal((await cache.get('new 0')).response, 'last');
    const [cleared, clearing] = await ticking(() => cache.clear());
    equal(cleared, 32_000);
    ok(clearing >= 2, `${clearing} ticks while entries were deleted`);
    await cache.close();
  },

  async 'all is deleted in a time that grows as the number of entries'(env) {
    const time = async (entries) => {
      const cache = await open(env, filled(env, entries, 4), 4);
      const start = performance.now();
      equal(await cache.clear(), entries);
      const ms = performance.now() - start;
      await cache.close();
      return ms;
    };
    await time(5000);
    const [few, many] = [await time(10_000), await time(80_000)];
    ok(many < 30 * (few + 10), `${few} ms for 10,000 entries, ${many} ms for 80,000`);
  },

  async 'the least recently used go first, whatever was touched, replaced and deleted'(env) {
    const store = filled(env, 2000, 4);
    store.open('letters-1', 4);
    const all = () =>
      store
        .iterSince(0, 0xffff_ffff)
        .sort((a, b) => a.lastAccessedAt - b.lastAccessedAt || a.id - b.id)
        .map(({ id }) => id);
    let seed = 1;
    const below = (n) => (seed = (seed * 48_271) % 2_147_483_647) % n;
    for (let round = 0; round < 300; round++) {
      const touched = { id: 1 + below(2000), hits: 1, lastAccessedAt: 1_700_000_000 + below(40) };
      store.updateAccess([touched]);
      const [one] = store.getByIds([1 + below(2000)], true);
      if (one) {
        store.insert([{ ...one, lastAccessedAt: 1_700_000_000 + below(40) }]);
      }
      store.deleteById(1 + below(2000));
      const n = below(50);
      equal(
        store.iterLruIds(n).map(({ id }) => id),
        all().slice(0, n),
        `round ${round}`,
      );
      equal(store.iterLruIds(n, 'default'), store.iterLruIds(n));
    }
    equal(
      store.iterLruIds(0xffff_ffff).map(({ id }) => id),
      all(),
    );
    equal(store.iterLruIds(5, 'other'), []);
    const left = all().length;
    equal(store.clearNamespace('default'), left);
    equal([store.iterLruIds(5), store.iterLruIds(5, 'default')], [[], []]);
  },

  async 'indexes that are changed at the same time are changed one after another'(env) {
    const store = filled(env, 20_000, 64);
    const cache = await open(env, store, 64);
    let pages = 0;
    const { iterVectors } = store;
    store.iterVectors = function (...args) {
      pages += 1;
      return iterVectors.apply(this, args);
    };
    await cache.requantize('float16');
    await cache.warmUp();
    const once = pages;
    pages = 0;
    await Promise.all([
      cache.requantize('int8'),
      cache.requantize('float16'),
      cache.requantize('int8'),
      cache.requantize('float16'),
    ]);
    const { vectorDtype, indexRows } = await cache.stats();
    equal([vectorDtype, indexRows], ['float16', 20_000]);
    ok(once > 0 && pages <= 5 * once, `${pages} pages were read, where one walk takes ${once}`);
    await cache.close();
  },
};
