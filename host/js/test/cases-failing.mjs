/** Cases of a store that fails at any one of its calls. */

import { byLetters, equal, ok } from './support/check.mjs';

const QUESTION = 'How do I reset my password?';

/** What a program does with a cache, and what must come of it where nothing fails. */
const STEPS = [
  [(cache) => cache.put(QUESTION, 'link'), 1],
  [
    (cache) =>
      cache.putMany([
        { query: 'abc', response: '2' },
        { query: 'xyz', response: '3' },
      ]),
    [2, 3],
  ],
  [async (cache) => (await cache.get(QUESTION))?.response, 'link'],
  [async (cache) => (await cache.get('How do I reset my passwords?'))?.response, 'link'],
  [(cache) => cache.getOrCompute('jjj', () => ({ n: 4 })), { n: 4 }],
  [(cache) => cache.getOrCompute('jjj', () => ({ n: 4 })), { n: 4 }],
  [async (cache) => (await cache.explain('abd')).candidates.length, 4],
  [(cache) => cache.setNamespaceQuota('other', 1), undefined],
  [(cache) => cache.put('o', 'o', { namespace: 'other' }), 5],
  [(cache) => cache.listNamespaces(), ['default', 'other']],
  [async (cache) => (await cache.stats()).entries, 5],
  [async (cache) => (await cache.health({ deep: true })).healthy, true],
  [async (cache) => (await cache.dump()).entries, 5],
  [(cache) => cache.delete('abc'), true],
  [(cache) => cache.vacuum({ compact: true }), 0],
  [(cache) => cache.requantize('int8'), undefined],
  [(cache) => cache.warmUp(), 4],
  [(cache) => cache.flush(), undefined],
  [(cache) => cache.clearNamespace('other'), 1],
];

/** A store of which the call number `at` fails, and how many there were. */
function failing(inner, at) {
  const counted = { calls: 0, failed: undefined, over: false };
  const store = new Proxy(inner, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== 'function' || name === 'capabilities' || name === 'release') {
        return value;
      }
      return (...args) => {
        counted.calls += 1;
        if (counted.calls === at && !counted.over) {
          counted.failed = name;
          const error = new Error('the disk is ill');
          if (target.synchronous) {
            throw error;
          }
          return Promise.reject(error);
        }
        return value.apply(target, args);
      };
    },
  });
  return { store, counted };
}

async function attempt(env, inner, at) {
  const { store, counted } = failing(inner, at);
  const errors = [];
  const told = [];
  let cache;
  const open = async () => {
    cache = await env.SemanticCache.open({
      store,
      ...byLetters(),
      onError: (error) => told.push(error),
    });
  };
  await open().catch(async (error) => {
    errors.push(error);
    // Nothing of it is left that hinders another.
    await open();
  });
  for (const [step, expected] of STEPS) {
    try {
      const found = await step(cache);
      if (at === undefined) {
        equal(found, expected, String(step));
      }
      if (String(step).includes('getOrCompute')) {
        equal(found, expected, `call ${at}, ${counted.failed}`);
      }
    } catch (error) {
      ok(!String(step).includes('getOrCompute'), `call ${at}: what was computed is lost: ${error}`);
      errors.push(error);
    }
  }
  for (const error of [...errors, ...told]) {
    ok(
      error.code === 'backend' && error.message.includes(counted.failed),
      `call ${at}, ${counted.failed}: ${error.code}: ${error.message}`,
    );
  }
  ok(
    errors.length <= 1,
    `call ${at}, ${counted.failed}: it failed once, and ${errors.length} calls did`,
  );
  const { calls } = counted;
  // All is well afterwards. How many calls there are depends on the time that they take, so the one
  // that was to fail may not have come.
  counted.over = true;
  await cache.put(QUESTION, 'again');
  equal((await cache.get(QUESTION)).response, 'again');
  equal((await cache.get('How do I reset my passwords?')).response, 'again');
  const { storeOk, deep, problems } = await cache.health({ deep: true });
  ok(storeOk && deep.integrityOk, `call ${at}, ${counted.failed}: ${problems}`);
  // What is kept beside the entries may be behind for a while.
  const behind = problems.filter((one) => !/failed and will be tried again/.test(one));
  equal(behind, [], `call ${at}, ${counted.failed}`);
  await cache.close();
  return { failed: counted.failed, calls, errors: errors.length };
}

export const failingStores = {
  async 'a store may fail at any of its calls'(env) {
    const makes = [() => env.memory()];
    if (env.hasJspi()) {
      makes.push(() => Object.assign(new env.MemoryStore(), { synchronous: false }));
    }
    for (const make of makes) {
      const { calls, errors } = await attempt(env, make(), undefined);
      equal(errors, 0);
      ok(calls > 40, `${calls} calls`);
      const names = new Set();
      let thrown = 0;
      // With promises the calls are the same, so some of them will do.
      const step = make().synchronous ? 1 : 5;
      for (let at = 1; at <= calls; at += step) {
        const one = await attempt(env, make(), at);
        if (one.failed) {
          names.add(one.failed);
        }
        thrown += one.errors;
      }
      ok(names.size > 15 / step, `only ${[...names]} failed`);
      ok(thrown > 15 / step, `only ${thrown} failures reached a caller`);
    }
  },
};
