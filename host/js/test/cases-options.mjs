/** Cases of the options: unknown names, words for errors, listeners that throw. */

import { byLetters, equal, fails, letters, ok } from './support/check.mjs';

function open({ SemanticCache, memory }, options = {}) {
  return SemanticCache.open({ store: memory(), ...byLetters(options) });
}

export const options = {
  async 'options that nobody knows are errors, which suggest the right name'(env) {
    const cache = await open(env);
    const archive = await (await cache.dump()).archive.arrayBuffer();
    const inspect = (given) => env.SemanticCache.inspect(archive, given);
    const wrong = [
      [(o) => open(env, o), { similarityTreshold: 0.9 }, 'similarityThreshold'],
      [(o) => open(env, o), { threshold: 0.9 }, 'similarityThreshold'],
      [(o) => open(env, o), { staleMs: 0 }, 'staleSeconds'],
      [(o) => open(env, o), { tll: 1 }, 'defaultTtlSeconds'],
      [(o) => open(env, o), { keepCase: true }, 'normalize: false'],
      [(o) => open(env, o), { embedTimeout: 1 }, 'embedder.timeoutSeconds'],
      [(o) => open(env, o), { onevent: () => {} }, 'onEvent'],
      [(o) => open(env, { maxBytes: o }), { respone: 1 }, 'response'],
      [(o) => open(env, { graph: o }), { efsearch: 1 }, 'efSearch'],
      [(o) => open(env, { decay: o }), { halfLife: 1 }, 'halfLifeSeconds'],
      [(o) => open(env, { confidence: { compute: () => 1, ...o } }), { cutoff: 1 }, 'cutOff'],
      [(o) => cache.get('q', o), { treshold: 1 }, 'threshold'],
      [(o) => cache.get('q', o), { similarityThreshold: 1 }, 'threshold'],
      [(o) => cache.lookUp('q', o), { namspace: 'a' }, 'namespace'],
      [(o) => cache.lookUp('q', o), { veto: 'none' }, 'vetoes'],
      [(o) => cache.getMany(['q'], o), { signl: undefined }, 'signal'],
      [(o) => cache.getMany([{ query: 'q', ...o }]), { bypas: true }, 'bypass'],
      [(o) => cache.explain('q', o), { limits: 3 }, 'limit'],
      [(o) => cache.put('q', 'r', o), { tll: 60 }, 'ttlSeconds'],
      [(o) => cache.put('q', 'r', o), { ttl: 60 }, 'ttlSeconds'],
      [(o) => cache.putMany([{ query: 'q', response: 'r', ...o }]), { ttlMs: 1 }, 'ttlSeconds'],
      [(o) => cache.putMany([], o), { singal: undefined }, 'signal'],
      [(o) => cache.getOrCompute('q', () => 'r', o), { metaData: {} }, 'metadata'],
      [(o) => cache.resolve('q', () => 'r', o), { ttlSecond: 1 }, 'ttlSeconds'],
      [(o) => cache.delete('q', o), { namespaces: 'a' }, 'namespace'],
      [(o) => cache.vacuum(o), { compat: true }, 'compact'],
      [(o) => cache.health(o), { depp: true }, 'deep'],
      [(o) => cache.dump(o), { onprogress: () => {} }, 'onProgress'],
      [(o) => cache.load(archive, o), { ttl: 60 }, 'ttlSeconds'],
      [inspect, { maxExpansions: 1 }, 'maxExpansion'],
      [(o) => open(env, { embedder: { ...letters(), ...o } }), { maxbatch: 3 }, 'maxBatch'],
      [(o) => open(env, { embedder: { ...letters(), ...o } }), { timeoutMs: 3 }, 'timeoutSeconds'],
      [(o) => open(env, { embedder: { ...letters(), ...o } }), { retrie: 3 }, 'retries'],
      [
        (o) => open(env, { embedder: { ...letters(), embed: undefined, ...o } }),
        { Embed: () => [] },
        'embed',
      ],
      [(o) => open(env, { embedder: { fingerprint: 'f', ...o } }), { dimension: 3 }, 'dimensions'],
      [(o) => env.judge(env.memory, o), { timeLimit: 1 }, 'timeLimitSeconds'],
    ];
    for (const [call, given, right] of wrong) {
      const error = await fails(
        (async () => call(given))(),
        'invalid-argument',
        new RegExp(`${Object.keys(given)[0]}"; did you mean .*${right.replace('.', '\\.')}`),
      );
      ok(!/-/.test(error.message.split(';')[1]), error.message);
    }
    await fails(
      cache.get('q', { xyzzy: 1 }),
      'invalid-argument',
      /it knows bypass, context, embedding/,
    );
    await fails(cache.get('q', 'default'), 'invalid-argument', /give an object/);
    await fails(cache.getMany('q'), 'invalid-argument', /give an array/);
    // An embedder may be anybody's object, and has names of its own.
    const own = { ...letters(), model: 'm', calls: 3, batch: [], maxBatch: 9, maxbatch: 7 };
    await (await open(env, { embedder: own })).close();
    await fails(
      (async () => env.memory({ a: 1 }))(),
      'invalid-argument',
      /memory has no option "a"/,
    );
    await fails((async () => env.memory('a'))(), 'invalid-argument', /give an object/);
    // What is undefined is not given.
    const none = { ttlSeconds: undefined, metadata: undefined, namespace: undefined };
    equal(await cache.put('q', 'r', { ...none, signal: undefined, embedding: undefined }), 1);
    equal((await cache.get('q', null)).response, 'r');
    equal((await open(env, { defaultTtlSeconds: undefined, decay: null })) !== undefined, true);
  },

  async 'a clock that gives no time is an error that names it, and changes nothing'(env) {
    const thrown = new Error('no clock');
    const clocks = [
      [() => Number.NaN, /option now returned NaN/],
      [() => Number.POSITIVE_INFINITY, /option now returned Infinity/],
      [() => Number.NEGATIVE_INFINITY, /option now returned -Infinity/],
      [() => 1e300, /option now returned 1e\+300/],
      [() => 'x', /option now returned string/],
      [() => undefined, /option now returned undefined/],
      [() => null, /option now returned null/],
      [() => 5n, /option now returned bigint/],
      [() => new Date(), /option now returned object/],
      [() => Promise.reject(thrown), /option now returned a promise/],
      [
        () => {
          throw thrown;
        },
        /option now threw: no clock/,
      ],
    ];
    let clock;
    const now = () => clock();
    for (const [wrong, words] of clocks) {
      clock = wrong;
      await fails(open(env, { now }), 'invalid-argument', words);
      clock = Date.now;
      const cache = await open(env, { now });
      await cache.put('abc', 'r');
      for (const call of [
        () => cache.put('other', 's'),
        () => cache.get('abc'),
        () => cache.getMany(['abc']),
        () => cache.putMany([{ query: 'other', response: 's' }]),
        () => cache.vacuum(),
        () => cache.clear(),
        () => cache.delete('abc'),
        () => cache.dump(),
        () => cache.stats(),
      ]) {
        clock = wrong;
        const error = await fails(call(), 'invalid-argument', words);
        ok(error.cause === undefined || error.cause === thrown, 'with what it threw');
        clock = Date.now;
        equal([(await cache.get('abc')).response, (await cache.stats()).entries], ['r', 1]);
      }
      // One that fails in the middle of a call.
      let calls = 0;
      clock = () => ((calls += 1) > 1 ? wrong() : Date.now());
      await fails(cache.get('abc'), 'invalid-argument', words);
      clock = wrong;
      await cache.close();
    }
    for (const time of [0, -5, Number.MAX_SAFE_INTEGER, 1.5]) {
      const cache = await open(env, { now: () => time });
      await cache.put('q', 'r');
      equal((await cache.get('q')).response, 'r');
    }
  },

  async 'errors name options as JavaScript does'(env) {
    for (const [given, words] of [
      [{ maxEntries: 0 }, /maxEntries is 0/],
      [{ maxBytes: { total: 0 } }, /maxBytes\.total is 0/],
      [{ maxBytes: { total: -1 } }, /maxBytes\.total is -1/],
      [{ maxBytes: { all: 1 } }, /no option "all"/],
      [{ embedder: { ...letters(), dimensions: 0 } }, /embedder's dim is 0/],
      [{ embedder: { ...letters(), fingerprint: '' } }, /embedder's fingerprint has 0 bytes/],
      [{ graph: { efSearch: 0 } }, /efSearch is 0/],
      [{ decay: { halfLifeSeconds: 0 } }, /halfLifeSeconds must be/],
      [{ decay: { cutOff: 2 } }, /cut-off is 2/],
      [{ staleSeconds: -1 }, /staleSeconds is -1; give seconds/],
      [{ storeTimeoutSeconds: 1e9 }, /storeTimeoutSeconds/],
      [{ decay: {}, confidence: { compute: () => 1 } }, /give one of them/],
      [{ confidence: {} }, /compute is not a function/],
      [{ onEvent: 'log' }, /onEvent is of type string/],
    ]) {
      const error = await fails(open(env, given), 'invalid-argument', words);
      ok(!/\b[a-z]+-(dim|entries|fingerprint|search|life|ms)\b/.test(error.message), error.message);
    }
    const cache = await open(env, { maxBytes: { query: 4 } });
    await fails(cache.get('too long'), 'invalid-argument', /maxBytes\.query/);
    await fails(
      cache.load(new Uint8Array(9), { maxExpansion: 0 }),
      'invalid-argument',
      /maxExpansion/,
    );
  },

  async 'the cache is a class'(env) {
    const cache = await open(env);
    ok(cache instanceof env.SemanticCache, 'an instance of what opened it');
    ok(!({} instanceof env.SemanticCache), 'and nothing else is');
    let thrown;
    try {
      new env.SemanticCache({ store: env.memory(), ...byLetters() });
    } catch (error) {
      thrown = error;
    }
    equal([thrown.code, thrown.name], ['invalid-argument', 'InvalidArgumentError']);
    ok(/SemanticCache\.open/.test(thrown.message), thrown.message);
  },

  async 'a listener that throws disturbs nobody'(env) {
    const told = [];
    const failing = [
      () => {
        throw new Error('listener');
      },
      () => Promise.reject(new Error('listener')),
    ];
    for (const onEvent of failing) {
      const cache = await open(env, {
        onEvent,
        onError: (error, { during }) => {
          told.push(`${during} ${error.message}`);
          throw new Error('this one too');
        },
      });
      equal(await cache.put('q', 'r'), 1);
      equal((await cache.get('q')).response, 'r');
      await cache.dump({ onProgress: onEvent });
    }
    await new Promise((resolve) => setTimeout(resolve));
    ok(told.length >= 6, `${told}`);
    equal([...new Set(told)].sort(), ['onEvent listener', 'onProgress listener']);
  },

  async 'options may be instances of classes, with getters'(env) {
    class Tenant {
      #name;
      constructor(name) {
        this.#name = name;
      }
      get namespace() {
        return this.#name;
      }
    }
    class Asked extends Tenant {
      get query() {
        return 'abcdef';
      }
    }
    class Answered extends Asked {
      get response() {
        return 'of b, put with others';
      }
    }
    const [a, b] = [new Tenant('a'), new Tenant('b')];
    const cache = await open(env);
    await cache.put('abcdef', 'of a', a);
    equal([await cache.get('abcdef', b), await cache.get('abcdef')], [undefined, undefined]);
    equal((await cache.get('abcdef', a)).response, 'of a');
    equal((await cache.getMany([new Asked('b')]))[0].hit, undefined);
    equal((await cache.explain('abcdef', b)).candidates, []);
    equal(await cache.getOrCompute('abcdef', () => 'of b', b), 'of b');
    equal(await cache.getOrCompute('abcdef', () => 'new', a), 'of a');
    await cache.putMany([new Answered('b')]);
    equal((await cache.lookUp('abcdef', b)).hit.response, 'of b, put with others');
    equal((await cache.get('abcdef', a)).response, 'of a');
    equal(await cache.listNamespaces(), ['a', 'b']);
    equal(await cache.delete('abcdef', b), true);
    equal(await cache.vacuum(a), 0);
    class Settings {
      get store() {
        return env.memory();
      }
      get embedder() {
        return letters();
      }
      get maxEntries() {
        return 1;
      }
    }
    const small = await env.SemanticCache.open(new Settings());
    equal((await small.stats()).maxEntries, 1);
  },

  async 'all entries together have no more bytes than are allowed'(env) {
    const total = 50_000;
    const cache = await open(env, { maxBytes: { total } });
    for (let n = 0; n < 100; n++) {
      await cache.put(`question ${n}`, 'r'.repeat(1000));
      // The first one is used all the time.
      ok(await cache.get('question 0', { exactOnly: true }), `${n}`);
      const { bytes, maxBytes } = await cache.stats();
      ok(bytes > 0 && bytes <= total, `${bytes} bytes after ${n}`);
      equal(maxBytes, total);
    }
    const { entries, counters } = await cache.stats();
    ok(entries > 30 && entries < 50, `${entries} entries`);
    ok(counters.evictions > 40, `${counters.evictions} evicted`);
    equal((await cache.get('question 99', { exactOnly: true })).query, 'question 99');
    equal(await cache.get('question 1', { exactOnly: true }), undefined);
    const any = await open(env, { maxBytes: { total: null } });
    await any.put('q', 'r');
    equal((await any.stats()).maxBytes, undefined);
  },

  async 'what decides must decide at once'(env) {
    for (const validator of [
      async () => true,
      async () => {
        throw new Error('late');
      },
      () => 'yes',
      () => undefined,
    ]) {
      const cache = await open(env, { validator });
      await cache.put('abcdefgh', 'r');
      await fails(cache.get('abcdefghh'), 'invalid-argument', /validator returned/);
      equal((await cache.get('abcdefgh')).layer, 'exact');
      equal((await cache.stats()).entries, 1);
    }
    const cache = await open(env, { confidence: { compute: async () => 1 } });
    await cache.put('abcdefgh', 'r');
    await fails(cache.get('abcdefghh'), 'invalid-argument', /compute returned a promise/);
  },

  async 'answers fade only if they are asked to, and case counts if it is'(env) {
    let now = 1_700_000_000_000;
    const plain = await open(env, { now: () => now });
    const fading = await open(env, {
      now: () => now,
      decay: { halfLifeSeconds: 3600, cutOff: 0.6 },
    });
    const exact = await open(env, { normalize: false });
    for (const cache of [plain, fading, exact]) await cache.put('abcdefgh', 'r');
    equal((await fading.get('abcdefghh')).layer, 'semantic');
    now += 3_600_000;
    equal((await fading.lookUp('abcdefghh')).miss.reason, 'low-confidence');
    now += 365 * 86_400_000;
    equal((await plain.get('abcdefghh')).layer, 'semantic');
    equal((await exact.get('abcdefgh')).layer, 'exact');
    equal((await exact.lookUp('ABCDEFGH', { threshold: 1 })).miss.reason, 'below-threshold');
  },
};
