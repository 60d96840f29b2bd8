/** Cases of erasures that fail. */

import { byLetters, entryOf, equal, fails, ok } from './support/check.mjs';

/** More than some steps of an erasure find. */
const ENTRIES = 2500;
/** How many are stored at a time. */
const STORED = 500;

/** A store of `inner` whose call number `at` of a method fails, and all after it until `heal`. */
function failing(inner, method, at) {
  let calls = 0;
  let ill = true;
  const store = new Proxy(inner, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== 'function') {
        return value;
      }
      return (...args) => {
        calls += Number(name === method);
        if (name === method && ill && calls >= at) {
          throw new Error('the disk is ill');
        }
        return value.apply(target, args);
      };
    },
  });
  return { store, heal: () => (ill = false) };
}

/** An open store with entries that all carry a tag. */
function filled(env) {
  const store = env.memory();
  store.open('letters-1', 26);
  for (let from = 0; from < ENTRIES; from += STORED) {
    store.insert(
      Array.from({ length: STORED }, (_, i) =>
        entryOf({ queryHash: String(from + i).padStart(64, '0'), tags: ['t'] }),
      ),
    );
  }
  return store;
}

export const erasing = {
  async 'an erasure that fails half way says what it has erased'(env) {
    for (const [method, at] of [
      ['deleteUnchanged', 2],
      ['deleteUnchanged', 4],
      ['select', 3],
    ]) {
      const inner = filled(env);
      const { store, heal } = failing(inner, method, at);
      const cache = await env.SemanticCache.open({ store, ...byLetters() });
      const error = await fails(cache.erase({ tags: ['t'] }), 'backend', /the disk is ill/);
      const { ids, versionBefore, versionAfter } = error.receipt;
      ok(ids.length > 0 && ids.length < ENTRIES, `${ids.length} erased`);
      equal(inner.count(), ENTRIES - ids.length, method);
      equal(inner.getByIds(ids, false), [], method);
      const before = ENTRIES / STORED;
      equal([versionBefore, versionAfter], [before, inner.readVersionCounter()], method);
      heal();
      const rest = await cache.erase({ tags: ['t'] });
      equal(rest.ids.length, ENTRIES - ids.length, method);
      equal(rest.versionBefore, versionAfter, method);
      await cache.close();
    }
  },

  async 'an erasure that has erased nothing has no receipt'(env) {
    for (const [method, at, dryRun] of [
      ['select', 1, false],
      ['deleteUnchanged', 1, false],
      ['select', 2, true],
    ]) {
      const inner = filled(env);
      const { store } = failing(inner, method, at);
      const cache = await env.SemanticCache.open({ store, ...byLetters() });
      const error = await fails(cache.erase({ tags: ['t'] }, { dryRun }), 'backend');
      equal([error.receipt, inner.count()], [undefined, ENTRIES], `${method} ${dryRun}`);
      await cache.close();
    }
    const cache = await env.SemanticCache.open({ store: env.memory(), ...byLetters() });
    equal((await fails(cache.erase({}), 'invalid-argument')).receipt, undefined);
  },
};
