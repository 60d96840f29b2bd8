/** Cases of `dump`: an archive is read back before anybody gets it. */

import { Random, byLetters, equal, fails, ok } from './support/check.mjs';

const NOT_LOADABLE = /could not be loaded, so it is no backup/;

/** Runs `work` while bytes of each archive change on their way from the component; whether any did. */
async function damaging(work) {
  const { slice } = Uint8Array.prototype;
  let changed = false;
  Uint8Array.prototype.slice = function (...args) {
    const copy = slice.apply(this, args);
    if (copy.length > 40 && copy[0] === 0x1f && copy[1] === 0x8b) {
      copy.fill(0, copy.length >> 1, (copy.length >> 1) + 8);
      changed = true;
    }
    return copy;
  };
  try {
    await work();
  } finally {
    Uint8Array.prototype.slice = slice;
  }
  return changed;
}

/** A stream, what it was given, and how it ended. */
function sink() {
  const seen = { pieces: [], ends: [] };
  const to = new WritableStream({
    write: (bytes) => void seen.pieces.push(new Uint8Array(bytes)),
    close: () => void seen.ends.push('closed'),
    abort: () => void seen.ends.push('aborted'),
  });
  return { seen, to };
}

/** Text that compresses to much. */
function noise(random, length) {
  return Array.from({ length }, () => String.fromCharCode(33 + random.below(90))).join('');
}

export const archives = {
  async 'an archive in memory is read back'({ SemanticCache, memory }) {
    const cache = await SemanticCache.open({ store: memory(), ...byLetters() });
    await cache.put('question', 'answer '.repeat(20_000), {
      metadata: { many: 'x'.repeat(50_000) },
    });
    const { seen, to } = sink();
    const written = [];
    const changed = await damaging(async () => {
      for (const place of [undefined, (bytes) => void written.push(bytes), to]) {
        await fails(cache.dump({ to: place }), 'corrupt', NOT_LOADABLE);
      }
    });
    equal([changed, written.length, seen.pieces.length, seen.ends], [true, 0, 0, ['aborted']]);
    for (const compression of ['gzip', 'zstd']) {
      const { archive, entries } = await cache.dump({ compression });
      equal([entries, (await SemanticCache.inspect(archive)).entries], [1, 1]);
    }
  },

  async 'a native archive is read back, by the store that it comes from'(env) {
    for (const [name, make] of Object.entries(env.stores)) {
      const store = await make('read-back');
      if (!store.capabilities().snapshot) {
        await store.release?.();
        continue;
      }
      const cache = await env.SemanticCache.open({ store, ...byLetters() });
      await cache.put('question', noise(new Random(5), 20_000));
      await cache.get('question');
      const { seen, to } = sink();
      const changed = await damaging(async () => {
        await fails(cache.dump(), 'corrupt', NOT_LOADABLE);
        await fails(cache.dump({ to }), 'corrupt', NOT_LOADABLE);
      });
      equal([changed, seen.pieces.length, seen.ends], [true, 0, ['aborted']], name);
      const [a, b] = await Promise.all([cache.dump(), cache.put('another', 'b')]);
      equal([a.layout, b], ['native', 2], name);
      // Its data, its counters and its health are as they were.
      equal((await cache.get('question')).id, 1, name);
      equal(
        [(await cache.stats()).entries, (await cache.health({ deep: true })).healthy],
        [2, true],
      );
      await cache.close();
    }
  },

  async 'what is written to a stream is read back before the stream is closed'(env) {
    if (!env.hasJspi()) {
      return;
    }
    const store = Object.assign(new env.MemoryStore(), { synchronous: false });
    const cache = await env.SemanticCache.open({ store, ...byLetters() });
    const random = new Random(9);
    for (let i = 0; i < 4; i++) {
      await cache.put(`question ${i}`, noise(random, 200_000));
    }
    const good = sink();
    const { entries } = await cache.dump({ to: good.to });
    equal([entries, good.seen.ends], [4, ['closed']]);
    ok(good.seen.pieces.length > 2, `${good.seen.pieces.length} pieces`);
    const { inspect } = env.SemanticCache;
    equal((await inspect(new Blob(good.seen.pieces))).entries, 4);

    const torn = sink();
    const changed = await damaging(() =>
      fails(cache.dump({ to: torn.to }), 'corrupt', NOT_LOADABLE),
    );
    equal([changed, torn.seen.ends], [true, ['aborted']]);
    // Whoever fails ends it with its own error, and nothing goes on waiting.
    const full = new WritableStream({ write: () => Promise.reject(new Error('no room')) });
    await fails(cache.dump({ to: full }), 'backend', /no room/);
    const { iterSince } = store;
    store.iterSince = () => Promise.reject(new Error('the store is ill'));
    const left = sink();
    await fails(cache.dump({ to: left.to }), 'backend', /the store is ill/);
    equal(left.seen.ends, ['aborted']);
    store.iterSince = iterSince;
    equal((await cache.dump({ to: sink().to })).entries, 4);
    await cache.close();
  },
};
