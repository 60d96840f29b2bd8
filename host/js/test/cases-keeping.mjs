/** Cases of `getOrCompute`: what it keeps, and that the caller gets what was computed, come what may. */

import { byLetters, equal, fails, letters, ok } from './support/check.mjs';

/** A cache on a memory store, and what `onError` heard: `during code`. */
async function open({ SemanticCache, MemoryStore }, options = {}) {
  const told = [];
  const store = new MemoryStore();
  const cache = await SemanticCache.open({
    store,
    onError: (error, { during }) => told.push(`${during} ${error.code}`),
    ...byLetters(options),
  });
  return { cache, store, told };
}

export const keeping = {
  async 'values come back as they were computed'(env) {
    const { cache, told } = await open(env);
    const values = [
      'text',
      '',
      '{"a":1}',
      0,
      -1.5,
      true,
      null,
      [],
      [1, [2, { b: null }]],
      {},
      { a: { b: [1, 'é\u{1F980}'] } },
    ];
    for (const [i, value] of values.entries()) {
      // A blank text is refused, and the others are kept.
      const question = `${'abcdefghijk'[i].repeat(9)}`;
      equal(await cache.getOrCompute(question, () => value), value);
      if (value !== '') {
        const again = await cache.resolve(question, () => ok(false, 'it was kept'));
        equal([again.value, again.origin], [value, 'cache']);
      }
    }
    const metadata = { model: 'small' };
    await cache.getOrCompute('lllll', async () => ({ n: 1 }), { metadata, ttlSeconds: undefined });
    const hit = await cache.get('lllll');
    equal([hit.response, hit.metadata.model], ['{"n":1}', 'small']);
    equal(told, ['keep refused']);
  },

  async 'an entry that says it is JSON and is not is computed again'(env) {
    const { cache } = await open(env);
    const metadata = { 'mneme.value': 'json' };
    await cache.put('abcdef', '{"cut', { metadata });
    const found = await cache.resolve('abcdef', () => ({ n: 1 }));
    equal([found.value, found.origin, found.cacheError], [{ n: 1 }, 'computed', undefined]);
    equal((await cache.resolve('abcdef', () => 'other')).value, { n: 1 }, 'and replaced');
    // A text stays one, whatever the caller's metadata say.
    for (const [question, text] of [
      ['zzzz', 'plain'],
      ['yyyy', '{"a":1}'],
    ]) {
      const options = { metadata: { ...metadata, model: 'small' } };
      await cache.getOrCompute(question, () => text, options);
      const hit = await cache.get(question);
      equal([hit.response, hit.metadata], [text, { model: 'small' }]);
      equal(await cache.getOrCompute(question, () => 'other'), text);
    }
  },

  async 'what JSON cannot hold reaches the caller, and is not kept'(env) {
    const { cache, told } = await open(env);
    const circle = {};
    circle.self = circle;
    const odd = [
      undefined,
      Number.NaN,
      1n,
      new Date(0),
      new Map(),
      () => 1,
      Symbol('s'),
      circle,
      [1, , 2],
      '\ud800',
      new (class Answer {})(),
    ];
    for (const value of odd) {
      const { value: got, origin, cacheError } = await cache.resolve('abc', () => value);
      ok(Object.is(got, value), `the caller gets ${String(value)}`);
      equal([origin, cacheError.code], ['computed', 'invalid-argument']);
    }
    equal(
      told,
      odd.map(() => 'keep invalid-argument'),
    );
    equal((await cache.stats()).entries, 0);
  },

  async 'a computed answer is never lost'(env) {
    const broken = {
      'too long a question': [{}, 'q'.repeat(33_000), 'answer', 'invalid-argument'],
      'too long an answer': [
        { maxBytes: { response: 10 } },
        'q',
        'a long answer',
        'invalid-argument',
      ],
      'too much metadata': [{ maxBytes: { metadata: 10 } }, 'q', { a: 1 }, 'invalid-argument'],
      'a closed namespace': [{ namespaceQuotas: { default: 0 } }, 'q', 'answer', 'quota-exceeded'],
    };
    for (const [what, [options, question, value, code]] of Object.entries(broken)) {
      const { cache, told } = await open(env, options);
      const found = await cache.resolve(question, () => value);
      equal([found.value, found.origin, found.cacheError.code], [value, 'computed', code], what);
      equal(told, [`keep ${code}`], what);
    }
    const failures = {
      getByHash: ['look-up backend'],
      insert: ['keep backend'],
      iterVectors: ['look-up backend'],
      iterStamps: [],
    };
    for (const [operation, heard] of Object.entries(failures)) {
      const { cache, store, told } = await open(env);
      await cache.put('zzz', 'r');
      store[operation] = () => {
        throw new Error('disk full');
      };
      const found = await cache.resolve('abc', () => 'answer');
      equal(found.value, 'answer', operation);
      equal(told, heard, operation);
      equal(found.cacheError?.code, operation === 'insert' ? 'backend' : undefined, operation);
      delete store[operation];
      equal(await cache.getOrCompute('abc', () => 'answer'), 'answer');
      equal((await cache.get('abc')).response, 'answer', 'and it is kept again');
    }
    // Options that are wrong are told before anything is computed.
    const { cache } = await open(env);
    let runs = 0;
    const compute = () => `${(runs += 1)}`;
    for (const wrong of [{ ttlSeconds: -1 }, { threshold: 7 }, { namespace: '' }, { tll: 1 }]) {
      await fails(cache.getOrCompute('q', compute, wrong), 'invalid-argument');
    }
    await fails(cache.getOrCompute(7, compute), 'invalid-argument');
    await fails(cache.getOrCompute('q', 'answer'), 'invalid-argument', /give a function/);
    equal(runs, 0);
  },

  async 'an abort counts whenever it happens'(env) {
    const reason = new Error('enough');
    const outcome = (promise) =>
      promise.then(
        ({ origin }) => origin,
        (error) => (error === reason ? 'aborted' : String(error)),
      );
    // While the question is normalised, after the look-up; and while another one computes it.
    for (const isShared of [false, true]) {
      const { cache } = await open(env);
      let finish;
      const first =
        isShared && cache.resolve('abc', () => new Promise((resolve) => (finish = resolve)));
      while (isShared && !finish) await new Promise((resolve) => setTimeout(resolve));
      const control = new AbortController();
      const normalize = cache.normalize.bind(cache);
      cache.normalize = async (query) => {
        const found = await normalize(query);
        control.abort(reason);
        return found;
      };
      let runs = 0;
      const compute = () => `${(runs += 1)}`;
      const options = { signal: control.signal, bypass: true };
      equal(await outcome(cache.resolve('abc', compute, options)), 'aborted');
      equal(runs, 0);
      finish?.('first');
      ok(!isShared || (await first).value === 'first', 'the other one goes on');
    }
  },

  async 'who waits for another to compute does not wait for the embedder'(env) {
    const embedder = letters();
    const { embed } = embedder;
    let asked = 0;
    let go;
    embedder.embed = async (texts) => {
      asked += 1;
      if (texts.includes('abc')) {
        await new Promise((resolve) => (go = resolve));
      }
      return embed(texts);
    };
    const { cache } = await open(env, { embedder });
    let computed;
    const bypassing = cache.resolve('abc', () => (computed = 'fresh'), { bypass: true });
    const deadline = Date.now() + 10_000;
    while (!go && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    equal([asked, computed], [1, undefined], 'it is embedded before it is computed');
    // Whoever asks meanwhile has a vector, and computes.
    const embedding = embed(['abc'])[0];
    const other = await cache.resolve('abc', () => 'other', { embedding });
    equal([other.value, other.origin], ['other', 'computed']);
    go();
    equal((await bypassing).value, 'fresh');
    equal([(await cache.get('abc')).response, asked], ['fresh', 1]);
    equal((await cache.get('abcc')).response, 'fresh', 'with its vector');
    // Without one it is kept all the same.
    embedder.embed = () => Promise.reject(new Error('down'));
    const found = await cache.resolve('mno', () => 'r', { bypass: true });
    equal([found.origin, found.cacheError], ['computed', undefined]);
    equal((await cache.get('mno')).layer, 'exact');
  },

  async 'who bypasses the cache never shares a stored answer'(env) {
    const { cache, store } = await open(env);
    // One caller's look-up misses, and then somebody stores the answer. While that caller looks
    // again, another one, who bypasses the cache, finds it at work.
    const found = await cache.normalize('abc');
    let join;
    const joined = new Promise((resolve) => (join = resolve));
    let bypassing;
    cache.normalize = async () => {
      if (bypassing) {
        await joined;
        return found;
      }
      await cache.put('abc', 'stored');
      let reached;
      const waits = new Promise((resolve) => (reached = resolve));
      bypassing = cache.resolve('abc', () => 'computed', { bypass: true });
      const normalize = cache.normalize;
      cache.normalize = () => {
        reached();
        return normalize();
      };
      await waits;
      const getByHash = store.getByHash.bind(store);
      store.getByHash = (keys, vectors) => {
        join();
        return getByHash(keys, vectors);
      };
      return found;
    };
    const embedding = new Array(26).fill(1);
    const first = await cache.resolve('abc', () => 'never', { embedding });
    equal([first.value, first.origin], ['stored', 'cache']);
    const { value, origin } = await bypassing;
    equal([value, origin], ['computed', 'computed']);
  },

  async 'blank and failed answers are not kept'(env) {
    const { cache, told } = await open(env);
    for (const failed of ['', ' \n', '[ERROR] no model', ' [LLM Error] quota']) {
      const found = await cache.resolve('question', () => failed);
      equal([found.value, found.cacheError.code], [failed, 'refused']);
    }
    equal(told, Array(4).fill('keep refused'));
    equal(await cache.getOrCompute('question', () => 'good'), 'good');
    equal(await cache.getOrCompute('question', () => 'other'), 'good');
    const strict = await open(env, { validator: ({ response }) => response !== 'bad' });
    await strict.cache.getOrCompute('question', () => 'bad');
    equal((await strict.cache.stats()).entries, 0);
    // Callers who put an answer themselves say that it is one.
    await cache.put('blank', ' ');
    equal((await cache.get('blank')).response, ' ');
    // Where it can be computed, it is no answer, and is replaced.
    equal(await cache.getOrCompute('blank', () => 'good'), 'good');
    equal(await cache.getOrCompute('blank', () => 'other'), 'good');
    equal((await cache.get('blank')).response, 'good');
  },

  async 'a failing computation comes out as itself'(env) {
    const { cache, told } = await open(env);
    for (const failure of [new RangeError('no model'), 'text', undefined, { code: 'backend' }]) {
      let caught;
      try {
        await cache.getOrCompute('q', () => {
          throw failure;
        });
      } catch (thrown) {
        caught = { thrown };
      }
      ok(caught && caught.thrown === failure, `the failure is passed on: ${String(failure)}`);
    }
    equal([(await cache.stats()).entries, told], [0, []]);
  },

  async 'a broken embedder costs no more than one computation'(env) {
    const refuses = () => Promise.reject(Object.assign(new Error('no key'), { status: 401 }));
    const hangs = () => new Promise(() => {});
    for (const embed of [refuses, hangs]) {
      let [asked, runs] = [0, 0];
      const embedder = {
        ...letters(),
        timeoutSeconds: 0.02,
        embed: (texts) => {
          asked += 1;
          return embed(texts);
        },
      };
      const { cache, told } = await open(env, { embedder });
      for (let i = 0; i < 3; i++) {
        equal(await cache.getOrCompute('the same', () => `${(runs += 1)}`), '1');
      }
      equal([runs, asked, told], [1, 1, ['embed embedder']]);
      equal((await cache.get('THE same')).layer, 'exact');
      equal((await cache.lookUp('the sames')).miss.reason, 'embedder-failure');
    }
    const silent = await open(env, { embedder: { fingerprint: 'x', dimensions: 3 } });
    equal(await silent.cache.getOrCompute('q', () => 'r'), 'r');
    equal(await silent.cache.getOrCompute('q', () => 'other'), 'r');
    equal(silent.told, [], 'an embedder that has no function is a choice');
  },
};
