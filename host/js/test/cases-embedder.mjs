/** Cases of the embedder: batches, deadlines, retries, rests, and how much of a text it reads. */

import { byLetters, equal, fails, letters, ok } from './support/check.mjs';

/** An embedder that answers with what `outcome(call, texts)` returns or throws. */
function scripted(outcome, more = {}) {
  const embedder = {
    ...letters(),
    ...more,
    asked: 0,
    embed: async (texts, options) => {
      embedder.asked += 1;
      return (await outcome(embedder.asked, texts, options)) ?? letters().embed(texts);
    },
  };
  return embedder;
}

const http = (status, headers) => Object.assign(new Error(`status ${status}`), { status, headers });

function open({ SemanticCache, memory }, embedder, options = {}) {
  return SemanticCache.open({
    store: memory(),
    ...byLetters({ embedder, onError: () => {}, ...options }),
  });
}

export const embedding = {
  async 'an embedder gets no more texts than it takes'(env) {
    for (const [maxBatch, expected] of [
      [undefined, [100, 100, 50]],
      [64, [64, 64, 64, 58]],
      [1000, [250]],
    ]) {
      const embedder = { ...letters(), maxBatch };
      const cache = await open(env, embedder);
      const texts = Array.from({ length: 250 }, (_, i) => `text ${i}`);
      const lengths = () => embedder.calls.splice(0).map(({ length }) => length);
      embedder.calls.length = 0;
      await cache.putMany(texts.map((query) => ({ query, response: query })));
      equal(lengths(), expected);
      const found = await cache.getMany(texts.map((text) => `${text}!`));
      equal(lengths(), expected);
      ok(
        found.every(({ hit }) => hit),
        'all are found',
      );
    }
    // What was embedded before the failure is used.
    const half = scripted((call) => (call > 1 ? Promise.reject(http(401)) : undefined), {
      maxBatch: 2,
    });
    const cache = await open(env, half);
    await cache.putMany([
      { query: 'abc', response: 'r' },
      { query: 'xyz', response: 's' },
    ]);
    half.asked = 0;
    const found = await cache.getMany(['abcc', 'xyzz', 'abccc']);
    equal(
      found.map(({ hit, miss }) => hit?.response ?? miss.reason),
      ['r', 's', 'embedder-failure'],
    );
    await fails(
      cache.putMany(['q1', 'q2', 'q3'].map((query) => ({ query, response: 'r' }))),
      'embedder',
    );
    equal((await cache.stats()).entries, 2, 'nothing of a call that fails is stored');
  },

  async 'what may pass is tried again, and nothing else'(env) {
    const soon = { 'retry-after-ms': '1' };
    const network = new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } });
    for (const [failure, asked] of [
      [http(429, soon), 3],
      [http(503, new Map([['retry-after', '0']])), 3],
      [{ message: 'axios', response: { status: 429, headers: soon } }, 3],
      [Object.assign(network, { headers: soon }), 3],
      [http(400), 1],
      [http(401), 1],
      [http(403), 1],
      [new Error('a bug'), 1],
    ]) {
      const embedder = scripted(() => Promise.reject(failure));
      const error = await fails((await open(env, embedder)).put('q', 'r'), 'embedder');
      equal([embedder.asked, error.retryable], [asked, asked > 1], String(failure.status));
      ok(error.cause === failure, 'with what it threw');
      const passing = scripted((call) => (call < 3 ? Promise.reject(failure) : undefined));
      const cache = await open(env, passing);
      equal(await cache.put('q', 'r').catch(({ code }) => code), asked > 1 ? 1 : 'embedder');
    }
    const never = scripted(() => Promise.reject(http(429, soon)), { retries: 0 });
    await fails((await open(env, never)).put('q', 'r'), 'embedder', /HTTP 429/);
    equal(never.asked, 1);
    // A service that asks for more patience than there is gets it: nobody waits, and nobody asks.
    let now = 1_700_000_000_000;
    const busy = scripted(() => Promise.reject(http(429, { 'retry-after': '30' })));
    const cache = await open(env, busy, { now: () => now });
    const first = await fails(cache.put('q', 'r'), 'embedder', /HTTP 429/);
    equal(first.retryable, true);
    await fails(cache.put('q', 'r'), 'embedder', /asked again in 30\.0 s/);
    equal(busy.asked, 1);
    now += 30_000;
    await fails(cache.put('q', 'r'), 'embedder', /HTTP 429/);
    equal(busy.asked, 2);
  },

  async 'an embedder that hangs is left alone for a while'(env) {
    let now = 1_700_000_000_000;
    let mode = 'hang';
    let aborted = 0;
    const embedder = scripted(
      (_, __, { signal }) => {
        signal.addEventListener('abort', () => (aborted += 1));
        return mode === 'hang' ? new Promise(() => {}) : undefined;
      },
      { timeoutSeconds: 0.02 },
    );
    const cache = await open(env, embedder, { now: () => now });
    await cache.put('exact', 'r', { embedding: letters().embed(['exact'])[0] });
    const late = await fails(cache.put('q', 'r'), 'embedder', /not answered within 0\.02 s/);
    equal([late.retryable, aborted, embedder.asked], [true, 1, 1]);
    for (let i = 0; i < 100; i++) {
      equal((await cache.lookUp(`q${i}`)).miss.reason, 'embedder-failure');
    }
    equal((await cache.get('exact')).layer, 'exact');
    equal(embedder.asked, 1, 'nobody waits in vain');
    now += 1000;
    await fails(cache.put('q', 'r'), 'embedder', /not answered/);
    now += 1000;
    await fails(cache.put('q', 'r'), 'embedder', /is not asked/);
    equal(embedder.asked, 2, 'and longer after each attempt');
    now += 1000;
    mode = 'well';
    equal((await cache.get('exactt')).layer, 'semantic');
    await cache.put('q', 'r');
    // A clock that was set back makes it rest no longer.
    mode = 'hang';
    await fails(cache.put('other', 'r'), 'embedder', /not answered/);
    now -= 3_600_000;
    mode = 'well';
    await cache.put('other', 'r');
  },

  async 'failures in a row make it rest, those of one text do not'(env) {
    const broken = scripted(() => Promise.reject(http(401)));
    const cache = await open(env, broken, { now: () => 1_700_000_000_000 });
    for (let i = 0; i < 10; i++) await cache.lookUp(`q${i}`);
    equal(broken.asked, 3);
    const picky = scripted((_, [text]) =>
      text.startsWith('bad') ? Promise.reject(http(400)) : undefined,
    );
    const other = await open(env, picky);
    for (let i = 0; i < 10; i++) await other.lookUp(`bad ${i}`);
    equal(await other.put('good', 'r'), 1);
  },

  async 'calls that fail together make it rest once, and only a probe lengthens that'(env) {
    for (const [failure, asked] of [
      [http(401), 1000],
      [http(429, { 'retry-after': '3' }), 3000],
    ]) {
      let now = 1_700_000_000_000;
      let isBroken = true;
      const pending = [];
      const embedder = scripted(
        async () => {
          await new Promise((resolve) => pending.push(resolve));
          if (isBroken) throw failure;
        },
        { retries: 0 },
      );
      const cache = await open(env, embedder, { now: () => now });
      const tick = () => new Promise((resolve) => setTimeout(resolve));
      const together = async () => {
        const before = embedder.asked;
        let left = 16;
        const all = Array.from({ length: left }, (_, i) =>
          cache.lookUp(`question ${i}`).finally(() => (left -= 1)),
        );
        while (left > 0) {
          // All of them are under way before one fails.
          if (pending.length + (before > 0 ? 15 : 0) >= 16 || left < 16) {
            pending.splice(0).forEach((resolve) => resolve());
          }
          await tick();
        }
        equal(
          (await Promise.all(all)).every(({ hit }) => hit === undefined),
          true,
        );
        return embedder.asked - before;
      };
      equal(await together(), 16);
      const rests = async (ms) => {
        now += ms - 1;
        await fails(cache.put('q', 'r'), 'embedder', /asked again in 0\.0 s/);
        now += 1;
      };
      await rests(asked);
      equal(await together(), 1, 'one of them finds out');
      await rests(asked === 1000 ? 2000 : asked);
      isBroken = false;
      const put = cache.put('q', 'r');
      while (pending.length === 0) await tick();
      pending.pop()();
      equal(await put, 1);
    }
  },

  async 'what an embedder throws as an error of this package makes it rest too'(env) {
    // As another copy of the package has it: not of the class that is known here.
    const another = (retryable) =>
      Object.assign(new Error('overloaded'), {
        code: 'embedder',
        retryable,
        [Symbol.for('mneme-cache-wasm.error')]: true,
      });
    for (const retryable of [true, false]) {
      const failing = scripted(() => Promise.reject(another(retryable)), { retries: 0 });
      const cache = await open(env, failing, { now: () => 1_700_000_000_000 });
      for (let i = 0; i < 10; i++) {
        equal((await cache.lookUp(`q${i}`)).miss.reason, 'embedder-failure');
      }
      equal(failing.asked, 3);
      const error = await fails(cache.put('q', 'r'), 'embedder', /is not asked.*overloaded/);
      equal(error.retryable, true);
    }
  },

  async 'a service that asks for no patience gets a second'(env) {
    let now = 1_700_000_000_000;
    const busy = scripted(() => Promise.reject(http(429, { 'retry-after': '0' })), { retries: 0 });
    const cache = await open(env, busy, { now: () => now });
    for (let i = 0; i < 10; i++) await cache.lookUp(`q${i}`);
    equal(busy.asked, 1);
    now += 999;
    await fails(cache.put('q', 'r'), 'embedder', /is not asked/);
    now += 1;
    await fails(cache.put('q', 'r'), 'embedder', /HTTP 429/);
    equal(busy.asked, 2);
  },

  async 'only so many calls are under way at a time'(env) {
    for (const [concurrency, expected] of [
      [undefined, 16],
      [3, 3],
      [0, 1],
    ]) {
      let [running, most] = [0, 0];
      const pending = [];
      const embedder = scripted(
        async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => pending.push(resolve));
          running -= 1;
        },
        { concurrency },
      );
      const cache = await open(env, embedder);
      const control = new AbortController();
      const all = Array.from({ length: 40 }, (_, i) => cache.lookUp(`question ${i}`));
      const aborted = cache.lookUp('aborted', { signal: control.signal }).catch(({ name }) => name);
      const tick = () => new Promise((resolve) => setTimeout(resolve));
      while (pending.length < expected) await tick();
      control.abort();
      equal(await aborted, 'AbortError', 'the wait for a turn ends with the signal');
      let left = all.length;
      for (const one of all) one.then(() => (left -= 1));
      while (left > 0) {
        pending.splice(0).forEach((resolve) => resolve());
        await tick();
      }
      equal([most, embedder.asked], [expected, 40]);
    }
    // Who waits behind an embedder that hangs does not wait for it.
    const hanging = scripted(() => new Promise(() => {}), { timeoutSeconds: 0.02, concurrency: 2 });
    const cache = await open(env, hanging, { now: () => 1_700_000_000_000 });
    const found = await Promise.all(Array.from({ length: 50 }, (_, i) => cache.lookUp(`q${i}`)));
    ok(
      found.every(({ miss }) => miss.reason === 'embedder-failure'),
      'all are misses',
    );
    equal(hanging.asked, 2);
  },

  async 'a blank text is of the exact layer, and never embedded'(env) {
    let asked = 0;
    const cache = await open(env, {
      fingerprint: 'counting',
      dimensions: 26,
      embed: (texts) => {
        asked += texts.length;
        return texts.map(() => letters().embed(['a'])[0]);
      },
    });
    for (const blank of ['', ' \n']) {
      equal((await cache.lookUp(blank)).miss.reason, 'unreadable');
      await cache.put(blank, 'kept');
      equal((await cache.get(blank)).layer, 'exact');
      await cache.delete(blank);
      equal(await cache.getOrCompute(blank, () => 'computed', { bypass: true }), 'computed');
      equal((await cache.get(blank)).response, 'computed');
      await cache.delete(blank);
    }
    equal(asked, 0);
    await cache.put('a question', 'r');
    equal(asked, 1);
  },

  async 'a text that was not read is compared in the exact layer only'(env) {
    // It reads eight letters, and knows those of ASCII.
    const reading = () => ({
      fingerprint: 'eight',
      dimensions: 26,
      embed: (texts) =>
        texts.map((text) => {
          const read = [...text].slice(0, 8);
          return {
            vector: letters().embed([read.join('')])[0],
            tokens: [...text].length,
            tokensRead: read.length,
            tokensUnknown: read.filter((c) => c > '~').length,
          };
        }),
    });
    const cache = await open(env, reading());
    await cache.put('abcdefgh and one end', 'one');
    equal((await cache.lookUp('abcdefgh and another')).miss.reason, 'unreadable');
    equal((await cache.get('ABCDEFGH and one end')).layer, 'exact');
    await cache.put('你好嗎', 'two');
    equal((await cache.lookUp('再見了')).miss.reason, 'unreadable');
    await cache.put('abcdef', 'short');
    equal((await cache.get('abcdeff')).layer, 'semantic');
    equal(await cache.getOrCompute('abcdefgh and a third', () => 'three'), 'three');
    equal((await cache.get('abcdefgh and a third')).layer, 'exact');
    const allowing = await open(env, reading(), { allowUnreadable: true });
    await allowing.put('abcdefgh and one end', 'one');
    equal((await allowing.get('abcdefgh and another')).similarity, 1);
    const bare = await open(env, {
      ...reading(),
      embed: (texts) =>
        reading()
          .embed(texts)
          .map(({ vector }) => ({ vector })),
    });
    await bare.put('abcdefgh and one end', 'one');
    equal((await bare.get('abcdefgh and another')).layer, 'semantic', 'without a reading');
    for (const [wrong, words] of [
      [{ tokens: -1 }, /tokens is -1/],
      [{ tokens: 1.5 }, /tokens is 1\.5/],
      [{ tokens: '7' }, /tokens is of type string/],
      [{ tokens: Number.NaN }, /tokens is NaN/],
      // A reading that is not whole must not pass for a text that was read.
      [{ tokens: undefined }, /tokensRead is 1 and tokens is missing/],
      [{ tokens: null, tokensRead: 128 }, /tokensRead is 128 and tokens is missing/],
      [
        { tokens: undefined, tokensRead: undefined },
        /tokensUnknown is 0 and tokensRead is missing/,
      ],
      [{ tokensread: 1 }, /no option "tokensread"; did you mean tokensRead/],
      [{ token: 1 }, /no option "token"; did you mean tokens/],
      [{ model: 'm' }, /no option "model"; it knows tokens, tokensRead, tokensUnknown, vector/],
      [{ tokens: 10, tokensRead: 11 }, /tokensRead is 11 and tokens is 10/],
      [{ tokens: 9, tokensRead: 5, tokensUnknown: 6 }, /tokensUnknown is 6 and tokensRead is 5/],
      [{ tokens: 3, tokensRead: undefined, tokensUnknown: 4 }, /tokensUnknown is 4 and/],
    ]) {
      const odd = await open(env, {
        ...reading(),
        embed: (texts) =>
          reading()
            .embed(texts)
            .map((one) => ({ ...one, ...wrong })),
      });
      await fails(odd.put('q', 'r'), 'embedder', words);
      equal((await odd.lookUp('q')).miss.reason, 'embedder-failure');
      equal((await odd.stats()).entries, 0);
    }
  },
};
