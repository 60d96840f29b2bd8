/**
 * What holds in every runtime. Each case is given the package's entries and a way to make stores:
 * `{ SemanticCache, memory, MemoryStore, judge, stores: { name: (database) => store } }`, and perhaps
 * `failures`, how many calls in a row fail, and `change: { name: (database, sql) => ... }`, what somebody
 * else does to a database.
 */

import { archives } from './cases-archives.mjs';
import { bound } from './cases-bound.mjs';
import { embedding } from './cases-embedder.mjs';
import { erasing } from './cases-erasing.mjs';
import { failingStores } from './cases-failing.mjs';
import { keeping } from './cases-keeping.mjs';
import { labels } from './cases-labels.mjs';
import { options } from './cases-options.mjs';
import { names } from './cases-names.mjs';
import { turns } from './cases-turns.mjs';
import { vanishing } from './cases-vanishing.mjs';
import { verifier } from './cases-verifier.mjs';
import { vetoes } from './cases-vetoes.mjs';
import { Random, asynchronous, byLetters, equal, fails, letters, ok } from './support/check.mjs';

const QUESTION = 'How do I reset my password?';
let databases = 0;

/** A cache on a new memory store. */
function open({ SemanticCache, memory }, options = {}) {
  return SemanticCache.open({ store: memory(), ...byLetters(options) });
}

/** A memory store, some of whose methods are replaced. */
function memoryWith({ MemoryStore }, methods) {
  return Object.assign(new MemoryStore(), methods);
}

/** Makes the component stop in its next call. */
async function trap(cache, store) {
  store.capabilities = () => {
    throw new Error('no store');
  };
  await fails(cache.clear(), 'component', /no store; a new instance goes on/);
  await fails(cache.clear(), 'component');
  delete store.capabilities;
}

export const cases = {
  ...keeping,
  ...embedding,
  ...erasing,
  ...archives,
  ...failingStores,
  ...options,
  ...names,
  ...labels,
  ...vetoes,
  ...verifier,
  ...bound,
  ...turns,
  ...vanishing,

  async 'answers what is the same, and what means the same'(env) {
    const cache = await open(env);
    const id = await cache.put(QUESTION, 'Follow the link.', { metadata: { source: 'faq' } });
    equal(id, 1);
    const exact = await cache.get('  how do i RESET my password? ');
    equal(
      [exact.response, exact.layer, exact.similarity, exact.metadata, exact.query, exact.id],
      ['Follow the link.', 'exact', 1, { source: 'faq' }, QUESTION, 1],
    );
    const near = await cache.get('How do I reset my passwords?');
    equal([near.response, near.layer], ['Follow the link.', 'semantic']);
    ok(near.similarity > 0.95 && near.similarity < 1, `similarity ${near.similarity}`);
    equal(await cache.lookUp('zzz'), { miss: { reason: 'below-threshold' } });
    equal(await cache.lookUp('zzz', { namespace: 'empty' }), { miss: { reason: 'no-match' } });
    equal(await cache.lookUp(QUESTION, { bypass: true }), { miss: { reason: 'bypass' } });
    equal(await cache.get('How do I reset my passwords?', { threshold: 1 }), undefined);
    const { counters, entries } = await cache.stats('default');
    equal([entries, counters.hitsExact, counters.hitsSemantic, counters.misses], [1, 1, 1, 3]);
    equal(await cache.delete(QUESTION), true);
    equal(await cache.delete(QUESTION), false);
    await cache.close();
    await fails(cache.get(QUESTION), 'closed');
    await cache.close();
  },

  async 'several at once keep their order, and are embedded together'(env) {
    const embedder = letters();
    const cache = await open(env, { embedder });
    const ids = await cache.putMany([
      { query: 'abc', response: '1' },
      { query: 'xyz', response: '2', namespace: 'other', embedding: embedder.embed(['xyz'])[0] },
      { query: 'def', response: '3', ttlSeconds: 0 },
    ]);
    equal(ids, [1, 2, 3]);
    equal(embedder.calls.at(-1), ['abc', 'def']);
    const found = await cache.getMany([
      'abc',
      { query: 'xyz', namespace: 'other' },
      'zzz',
      'def',
      'abcc',
    ]);
    equal(
      found.map(({ hit, miss }) => hit?.response ?? miss.reason),
      ['1', '2', 'below-threshold', 'below-threshold', '1'],
    );
    equal(embedder.calls.at(-1), ['zzz', 'def', 'abcc']);
    equal(await cache.listNamespaces(), ['default', 'other']);
    equal(await cache.getMany([]), []);
    equal(await cache.putMany([]), []);
  },

  async 'an explanation says who would answer and why, and changes nothing'(env) {
    const cache = await open(env);
    await cache.putMany([
      { query: 'abc', response: '1', metadata: { n: 1 }, ttlSeconds: 60 },
      { query: 'abcd', response: '[ERROR] x' },
      { query: 'xyz', response: '3' },
    ]);
    const semantic = await cache.explain('abcc', { limit: 3, threshold: 0.7 });
    equal(semantic.outcome, { layer: 'semantic' });
    equal(semantic.normalized.text, 'abcc');
    equal(semantic.rows, 3);
    ok(semantic.exact === undefined && semantic.embedderError === undefined);
    const verdicts = semantic.candidates.map(({ query, verdict }) => `${query} ${verdict}`);
    equal(verdicts.sort(), ['abc answers', 'abcd refused', 'xyz below-threshold']);
    const answering = semantic.candidates.find(({ verdict }) => verdict === 'answers');
    equal([answering.metadata, answering.ttlSeconds, answering.accepted], [{ n: 1 }, 60, true]);
    const exact = await cache.explain(' ABC ', { limit: 1 });
    equal(
      [exact.outcome.layer, exact.exact.verdict, exact.candidates.length],
      ['exact', 'answers', 1],
    );
    equal((await cache.explain('abc', { bypass: true })).outcome, { reason: 'bypass' });
    await fails(cache.explain('abc', { limit: 0 }), 'invalid-argument', /1 to 1000/);
    const { entries, counters } = await cache.stats();
    equal([entries, counters.hitsExact, counters.misses], [3, 0, 0]);

    const failure = new Error('model is down');
    const broken = await open(env, {
      embedder: { fingerprint: 'x', dimensions: 4, embed: () => Promise.reject(failure) },
    });
    const none = await broken.explain('q');
    equal([none.outcome.reason, none.candidates], ['embedder-failure', []]);
    ok(none.embedderError === failure, 'with what it threw');
  },

  async 'callers who ask the same at the same time share one computation'(env) {
    const cache = await open(env);
    let runs = 0;
    const slow = async () => {
      runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return 'computed';
    };
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) => cache.resolve(i % 2 ? 'what?' : ' WHAT? ', slow)),
    );
    equal(runs, 1);
    equal(all.filter(({ origin }) => origin === 'computed').length, 1);
    ok(
      all.every(({ value }) => value === 'computed'),
      'one answer for all',
    );
    equal(await cache.getOrCompute('what?', slow), 'computed');
    equal(runs, 1);
    const failures = [1, 2].map((n) => new Error(`no model ${n}`));
    const outcomes = await Promise.allSettled([
      ...failures.map((failure) => cache.resolve('other', () => Promise.reject(failure))),
      cache.resolve('other', () => 'now'),
      cache.resolve('other', () => 'later'),
    ]);
    ok(
      failures.every((failure, at) => outcomes[at].reason === failure),
      'whoever computes gets the failure as it is',
    );
    equal(
      outcomes.slice(2).map(({ value }) => [value.value, value.origin]),
      [
        ['now', 'computed'],
        ['now', 'shared'],
      ],
      'those who waited compute themselves, one after another',
    );
    await fails(cache.getOrCompute('third', slow, { ttlSeconds: -1 }), 'invalid-argument', /ttl/);
    equal(runs, 1);
  },

  async 'a cache that fails does not keep the answer from the caller'(env) {
    const store = memoryWith(env, {});
    const cache = await open(env, { store });
    store.insert = () => {
      throw new Error('disk full');
    };
    const { value, origin, cacheError } = await cache.resolve('q', () => 'answer');
    equal([value, origin, cacheError.code], ['answer', 'computed', 'backend']);
    await cache.close();
    equal((await cache.resolve('q', () => 'again')).cacheError.code, 'closed');
  },

  async 'a question says how old its answer may be, and a hit how old it is'(env) {
    let now = 1_700_000_000_000;
    const cache = await open(env, { now: () => now });
    await cache.put('mno', '2');
    await cache.put('xyz', '3', { ttlSeconds: 69 });
    now += 60_000;
    const kept = await cache.get('mno');
    equal([kept.ageSeconds, kept.ttlLeftSeconds], [60, undefined]);
    ok(kept.createdAt.getTime() === 1_700_000_000_000);
    equal((await cache.get('xyz')).ttlLeftSeconds, 9);
    const { miss } = await cache.lookUp('mno', { maxAgeSeconds: 59 });
    equal(miss.reason, 'too-old');
    equal((await cache.get('mno', { maxAgeSeconds: 60, exactOnly: true })).response, '2');
    equal(await cache.get('mnoo', { exactOnly: true }), undefined);
    const both = { exactOnly: true, embedding: new Array(26).fill(1) };
    await fails(cache.get('mno', both), 'invalid-argument', /exactOnly/);
    equal(await cache.getOrCompute('mno', () => 'new', { maxAgeSeconds: 59 }), 'new');
  },

  async 'entries expire, are evicted, and fade'(env) {
    let now = 1_700_000_000_000;
    const events = [];
    const cache = await open(env, {
      now: () => now,
      defaultTtlSeconds: 60,
      maxEntries: 10,
      namespaceQuotas: { small: 1 },
      onEvent: (event) => events.push(event),
    });
    await cache.put('abc', '1');
    await cache.put('mno', '2', { ttlSeconds: null });
    now += 60_000;
    equal(await cache.get('abc'), undefined);
    equal((await cache.get('mno')).ageSeconds, 60);
    await cache.put('a', '1', { namespace: 'small' });
    await cache.put('z', '2', { namespace: 'small' });
    equal(await cache.get('a', { namespace: 'small' }), undefined);
    equal(await cache.namespaceQuota('small'), 1);
    await cache.setNamespaceQuota('small', null);
    equal(await cache.namespaceQuota('small'), undefined);
    await cache.setNamespaceQuota('closed', 0);
    await fails(cache.put('a', '1', { namespace: 'closed' }), 'quota-exceeded');
    now += 86_400_000;
    equal((await cache.get('mnoo')).response, '2', 'no answer fades by default');
    equal(
      events.map(({ type, namespace, reason, layer, count }) => [
        type,
        namespace,
        reason ?? layer ?? count,
      ]),
      [
        ['put', 'default', 1],
        ['put', 'default', 1],
        ['expiration', 'default', 1],
        ['miss', 'default', 'below-threshold'],
        ['hit', 'default', 'exact'],
        ['put', 'small', 1],
        ['put', 'small', 1],
        ['eviction', 'small', 1],
        ['miss', 'small', 'below-threshold'],
        ['hit', 'default', 'semantic'],
      ],
    );
    for (let i = 0; i < 12; i++) await cache.put(`${i}`, 'x');
    ok((await cache.stats()).entries <= 10, 'the cap holds');
    equal(await cache.clearNamespace('small'), 0);
    ok((await cache.clear()) > 0, 'all is cleared');
  },

  async 'confidence and validator may be functions'(env) {
    const asked = [];
    const cache = await open(env, {
      confidence: {
        compute: (similarity, age, metadata) => metadata.trust ?? similarity,
        cutOff: 0.5,
      },
      validator: (candidate) => {
        asked.push(candidate);
        return candidate.response !== 'bad';
      },
    });
    await cache.put('abcdefgh', 'good', { metadata: { trust: 0.4 } });
    equal((await cache.lookUp('abcdefghh')).miss.reason, 'low-confidence');
    await cache.put('abcdefgh', 'good', { metadata: { trust: 0.6 } });
    ok(Math.abs((await cache.get('abcdefghh')).confidence - 0.6) < 1e-6, 'the function decides');
    await cache.put('mnopqrst', 'bad');
    equal(await cache.get('mnopqrstt'), undefined);
    equal((await cache.stats()).entries, 2, 'a refusal deletes nothing');
    const last = asked.find(({ query }) => query === 'mnopqrstt');
    equal([last.query, last.entryQuery, last.metadata], ['mnopqrstt', 'mnopqrst', {}]);
    const failing = await open(env, {
      validator: () => {
        throw new RangeError('judge is ill');
      },
    });
    await failing.put('abcdefgh', 'good');
    const error = await failing.get('abcdefghh').catch((thrown) => thrown);
    equal(error instanceof RangeError, true, 'what it throws reaches the caller');
    equal((await failing.stats()).entries, 1, 'and nothing is deleted');
  },

  async 'vectors may be given as numbers of any kind'(env) {
    const cache = await open(env, { embedder: { fingerprint: 'given', dimensions: 3 } });
    await cache.put('a', '1', { embedding: [1, 2, 3] });
    await cache.put('b', '2', { embedding: new Float64Array([3, -2, 1]) });
    equal((await cache.get('c', { embedding: new Float32Array([2, 4, 6]) })).response, '1');
    await fails(cache.put('d', '3', { embedding: [1, 2] }), 'embedder-dimension', /2 dimensions/);
    await fails(cache.put('d', '3', { embedding: [0, 0, 0] }), 'invalid-argument', /zero vector/);
    await fails(cache.put('d', '3', { embedding: [1, Number.NaN, 0] }), 'invalid-argument', /NaN/);
    await fails(
      cache.put('d', '3', { embedding: ['1', 2, 3] }),
      'invalid-argument',
      /Float32Array/,
    );
    await fails(cache.put('d', '3', { embedding: 'abc' }), 'invalid-argument');
    await fails(cache.put('d', '3'), 'embedder', /no embed function/);
    equal((await cache.lookUp('d')).miss.reason, 'embedder-failure');
    equal((await cache.stats()).entries, 2);
    ok(Math.abs((await cache.similarity([1, 0], [1, 1])) - Math.SQRT1_2) < 1e-6, 'a cosine');
    await fails(cache.similarity([1, 0], [1, 1, 0]), 'embedder-dimension');
    await fails(
      cache.similarity([1, 0], [1, 1], 'int4'),
      'invalid-argument',
      /float32, float16 or int8/,
    );
  },

  async 'bad input is a typed error, and changes nothing'(env) {
    const cache = await open(env);
    const bad = [
      () => cache.get('\ud800'),
      () => cache.get('a\udc00b'),
      () => cache.getMany(['q', '\ud800']),
      () => cache.getOrCompute('\ud800', () => 'r'),
      () => cache.put('\ud800', 'r'),
      () => cache.putMany([{ query: '\udfff', response: 'r' }]),
      () => cache.put('q', 'r', { metadata: { a: '\ud800' } }),
      () => cache.delete('\ud800'),
      () => cache.normalize('\ud800'),
      () => cache.get(7),
      () => cache.put('q', '\ud83d'),
      () => cache.put('q', undefined),
      () => cache.put('q', 'r', { namespace: '' }),
      () => cache.put('q', 'r', { namespace: 'a\0b' }),
      () => cache.put('q', 'r', { namespace: '\udfff' }),
      () => cache.put('q', 'r', { ttlSeconds: -1 }),
      () => cache.put('q', 'r', { ttlSeconds: 1.5 }),
      () => cache.put('q', 'r', { ttlSeconds: '60' }),
      () => cache.put('q', 'r', { metadata: [] }),
      () => cache.put('q', 'r', { metadata: { a: 1n } }),
      () => cache.get('q', { threshold: 2 }),
      () => cache.get('q', { threshold: '1' }),
      () => cache.get('q', { bypass: 1 }),
      () => cache.setSimilarityThreshold(Number.NaN),
      () => cache.setNamespaceQuota('a', -1),
      () => cache.requantize('int4'),
      () => cache.dump({ compression: 'lzma' }),
      () => cache.dump({ level: 10 }),
      () => cache.load(new Uint8Array(0), { mode: 'some' }),
      () => cache.load('archive.tar.gz'),
      () => open(env, { similarityThreshold: 3 }),
      () => open(env, { maxEntries: 0 }),
      () => open(env, { index: 'flat' }),
      () => open(env, { store: {} }),
      () => open(env, { embedder: undefined }),
      () => open(env, { embedder: { fingerprint: '', dimensions: 3 } }),
      () => open(env, { embedder: { fingerprint: 'x', dimensions: 0 } }),
    ];
    for (const call of bad) {
      await fails((async () => call())(), 'invalid-argument');
    }
    await fails(cache.load(new Uint8Array([1, 2, 3])), 'checkpoint');
    equal((await cache.stats()).entries, 0);
    const pair = await cache.normalize(' \u{1F980} ß ');
    equal(pair.text, '\u{1F980} ss');
    equal(pair.hash.length, 64);
  },

  async 'an embedder that fails makes a miss, and an error of put'(env) {
    const failure = new Error('model is down');
    const cache = await open(env, {
      embedder: { fingerprint: 'x', dimensions: 4, embed: () => Promise.reject(failure) },
    });
    const { miss } = await cache.lookUp('q');
    equal(miss.reason, 'embedder-failure');
    ok(miss.embedderError === failure, 'with what it threw');
    const error = await fails(cache.put('q', 'r'), 'embedder', /model is down/);
    ok(error.cause === failure, 'with what it threw');
    for (const vectors of [
      [],
      [
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ],
      undefined,
      ['abc'],
    ]) {
      const odd = await open(env, {
        embedder: { fingerprint: 'x', dimensions: 4, embed: () => vectors },
      });
      await fails(odd.put('q', 'r'), 'embedder');
      equal((await odd.lookUp('q')).miss.reason, 'embedder-failure');
    }
    const short = await open(env, {
      embedder: { fingerprint: 'x', dimensions: 4, embed: () => [[1, 2, 3]] },
    });
    equal((await short.lookUp('q')).miss.reason, 'dim-mismatch');
  },

  async 'a store that fails in any way gives a typed error'(env) {
    const store = memoryWith(env, {});
    const cache = await open(env, { store });
    await cache.put(QUESTION, 'r');
    const odd = {
      throws: () => {
        throw new TypeError('no such table');
      },
      'throws text': () => {
        throw 'no';
      },
      'throws nothing': () => {
        throw undefined;
      },
      'returns undefined': () => undefined,
      'returns null': () => null,
      'returns text': () => 'entry',
      'returns a promise': () => Promise.resolve([]),
      'returns a rejection': () => Promise.reject(new Error('late')),
      'returns other entries': () => [{ id: 'one' }],
      'returns bare numbers': () => [7],
      'returns negative ids': () => [{ ...store.iterSince(0, 1)[0], id: -1 }],
      'returns no vector': () => [{ ...store.iterSince(0, 1)[0], embedding: [1, 2] }],
    };
    for (const [how, getByHash] of Object.entries(odd)) {
      store.getByHash = getByHash;
      const error = await fails(cache.get('x'), 'backend', /getByHash of the memory store/);
      equal(error.retryable, false, how);
      ok(!/wasm/.test(error.message), 'nothing of the guest is told');
    }
    store.getByHash = odd.throws;
    ok((await fails(cache.get('x'), 'backend')).cause instanceof TypeError, 'with what it threw');
    delete store.getByHash;
    equal((await cache.get(QUESTION)).response, 'r');
  },

  async 'failing store calls, however many, leave the cache working'(env) {
    const store = memoryWith(env, {});
    const cache = await open(env, { store });
    await cache.put(QUESTION, 'r');
    const error = new Error('down');
    store.getByHash = () => {
      throw error;
    };
    for (let i = 0; i < (env.failures ?? 1000); i++) {
      await cache.get('x').then(
        () => ok(false, 'it did not fail'),
        () => {},
      );
    }
    delete store.getByHash;
    equal((await cache.get(QUESTION)).response, 'r');
    equal((await cache.get('How do I reset my passwords?')).layer, 'semantic');
  },

  async 'a component that traps is replaced, on the same store'(env) {
    const store = memoryWith(env, {});
    const cache = await open(env, { store });
    await cache.put(QUESTION, 'r');
    await trap(cache, store);
    equal((await cache.get(QUESTION)).response, 'r');
    equal(await cache.put('abc', 'r'), 2);
  },

  async 'quotas of the options are set once'(env) {
    const namespaceQuotas = { archived: 100, changed: 100, kept: 100, removed: 100 };
    const store = memoryWith(env, {});
    const cache = await open(env, { store, namespaceQuotas });
    const quotas = () =>
      Promise.all(['archived', 'changed', 'kept', 'removed'].map((of) => cache.namespaceQuota(of)));
    await cache.setNamespaceQuota('changed', 7);
    await cache.setNamespaceQuota('removed', null);
    const other = await open(env);
    await other.put(QUESTION, 'r');
    await other.setNamespaceQuota('archived', 5);
    const { archive } = await other.dump();
    await cache.load(archive, { mode: 'replace' });
    equal(await quotas(), [5, 7, 100, undefined]);
    await trap(cache, store);
    equal(await quotas(), [5, 7, 100, undefined]);
    await cache.load(archive, { mode: 'replace' });
    equal(await quotas(), [5, 7, 100, undefined]);
  },

  async 'a thousand overlapping calls give right answers'(env) {
    for (const store of [env.memory(), ...(env.hasJspi() ? [asynchronous(env)] : [])]) {
      const cache = await open(env, { store, maxEntries: 5000 });
      const words = Array.from(
        { length: 250 },
        (_, i) => `question ${i} ${'abcdefghij'[i % 10].repeat(i)}`,
      );
      const calls = words.flatMap((word, i) => [
        cache.put(word, `answer ${i}`),
        cache.get(word).then((hit) => equal(hit?.response, `answer ${i}`)),
        cache
          .getOrCompute(`${word}!`, () => `computed ${i}`)
          .then((r) => ok(r.length > 0, 'an answer')),
        cache.stats().then(({ entries }) => ok(entries <= 500, 'entries')),
      ]);
      equal(calls.length, 1000);
      await Promise.all(calls);
      for (const [i, word] of words.entries()) {
        equal((await cache.get(word)).response, `answer ${i}`);
      }
      await cache.close();
    }
  },

  async 'waiting can be given up'(env) {
    const never = new Promise(() => {});
    const cache = await open(env, { embedder: { ...letters(), embed: () => never } });
    const gone = AbortSignal.abort(new Error('too late'));
    for (const call of [
      () => cache.get('q', { signal: gone }),
      () => cache.put('q', 'r', { signal: gone }),
      () => cache.getOrCompute('q', () => 'r', { signal: gone }),
    ]) {
      equal((await call().catch((error) => error)).message, 'too late');
    }
    const control = new AbortController();
    const waiting = [
      cache.get('q', { signal: control.signal }),
      cache.put('q', 'r', { signal: control.signal }),
    ];
    setTimeout(() => control.abort(new Error('enough')), 5);
    for (const call of waiting) {
      equal((await call.catch((error) => error)).message, 'enough');
    }
    equal((await cache.stats()).entries, 0);
  },

  async 'a store may take its time, but not for ever'(env) {
    if (!env.hasJspi()) {
      const error = await fails(open(env, { store: asynchronous(env) }), 'unsupported', /JSPI/);
      ok(/node-sqlite/.test(error.message), 'and says what to do');
      return;
    }
    const store = asynchronous(env);
    const cache = await open(env, { store, storeTimeoutSeconds: 0.03 });
    await cache.put(QUESTION, 'r');
    const { getByHash } = store;
    store.getByHash = () => new Promise(() => {});
    const late = await fails(
      cache.get(QUESTION),
      'backend',
      /has not settled within 30 ms; raise storeTimeoutSeconds/,
    );
    equal(late.retryable, false);
    // Nobody waits for it in a row: the next call fails at once, until one finds it well again.
    let called = 0;
    store.getByHash = () => {
      called += 1;
      return Promise.reject(new Error('lost'));
    };
    const resting = await fails(cache.get(QUESTION), 'backend', /was not called.*called again in/);
    equal([resting.retryable, called], [true, 0]);
    const deadline = Date.now() + 10_000;
    while (called === 0 && Date.now() < deadline) {
      await fails(cache.get(QUESTION), 'backend', /was not called|lost/);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await fails(cache.get(QUESTION), 'backend', /lost/);
    store.getByHash = async (...args) => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return getByHash(...args);
    };
    equal((await cache.get(QUESTION)).response, 'r');
  },

  async 'a hit does not wait long for what is written beside it, nor fail of it'(env) {
    if (!env.hasJspi()) {
      return;
    }
    const never = () => new Promise(() => {});
    for (const storeTimeoutSeconds of [undefined, null, 0.03]) {
      let now = 1_700_000_000_000;
      const store = asynchronous(env);
      const cache = await open(env, {
        store,
        storeTimeoutSeconds,
        touchLimit: 0,
        now: () => now,
        onError: () => {},
      });
      await cache.put('abcdefgh', 'r');
      await cache.put('mnopqrst', 'brief', { ttlSeconds: 1 });
      await cache.warmUp();
      Object.assign(store, { updateAccess: never, replaceMeta: never, deleteUnchanged: never });
      const start = performance.now();
      for (let i = 0; i < 10; i++) {
        now += 200;
        equal((await cache.get('abcdefgh')).layer, 'exact', `${i}`);
        equal((await cache.get('abcdefghh')).layer, 'semantic', `${i}`);
        equal((await cache.lookUp('mnopqrst')).hit?.response, i < 4 ? 'brief' : undefined, `${i}`);
      }
      const ms = performance.now() - start;
      ok(ms < 15_000, `30 look-ups took ${ms} ms`);
      const { getByHash } = store;
      store.getByHash = () => Promise.reject(new Error('lost'));
      await fails(cache.get('abcdefgh'), 'backend', /lost/);
      store.getByHash = getByHash;
    }
  },

  async 'a response may be stored for the exact layer only, or if the validator likes it'(env) {
    let isDown = true;
    const embedder = letters();
    const { embed } = embedder;
    embedder.embed = (texts) => (isDown ? Promise.reject(new Error('down')) : embed(texts));
    const cache = await open(env, { embedder, onError: () => {} });
    equal(await cache.put('abcdefgh', '1', { exactOnly: true }), 1);
    const exact = { query: 'mnopqrst', response: '2', exactOnly: true };
    equal(await cache.putMany([exact]), [2]);
    await fails(cache.put('q', 'r', { exactOnly: false }), 'embedder');
    isDown = false;
    equal(await cache.putMany([{ query: 'uvwxyz', response: '3' }, exact]), [3, 2]);
    for (const [query, response] of [
      ['abcdefgh', '1'],
      ['mnopqrst', '2'],
    ]) {
      equal((await cache.get(query)).response, response);
      equal(await cache.get(`${query}${query.at(-1)}`), undefined, 'it has no vector');
    }
    equal((await cache.get('uvwxyzz')).response, '3');
    const failure = '[ERROR] no model';
    await fails(cache.put('ijkl', failure, { validate: true }), 'refused');
    const refused = { query: 'ijkl', response: failure, validate: true };
    await fails(cache.putMany([refused, { query: 'jjjj', response: '4' }]), 'refused');
    equal([await cache.get('ijkl'), (await cache.get('jjjj')).response], [undefined, '4']);
    await cache.put('ijkl', failure);
    equal((await cache.get('ijkl')).response, failure, 'nobody asked');
    const both = { exactOnly: true, embedding: new Array(26).fill(1) };
    await fails(cache.put('q', 'r', both), 'invalid-argument', /exactOnly/);
    await fails(cache.put('q', 'r', { exactOnly: 1 }), 'invalid-argument', /exactOnly/);
    await fails(cache.put('q', 'r', { validate: 'yes' }), 'invalid-argument', /validate/);
    equal((await cache.stats()).entries, 5);
    equal(await cache.getOrCompute('q', () => 'r', { exactOnly: true }), 'r');
    equal((await cache.get('q', { exactOnly: true })).response, 'r');
  },

  async 'archives go from any cache to any other'(env) {
    const kinds = Object.values(env.stores);
    for (const compression of ['gzip', 'zstd']) {
      const from = await open(env);
      const long = 'long '.repeat(100_000);
      await from.putMany([
        { query: QUESTION, response: long, metadata: { a: [1, 'é'] } },
        { query: 'abc', response: '\0\ufeff\u{10ffff}', namespace: 'other', ttlSeconds: 9999 },
      ]);
      await from.setNamespaceQuota('other', 5);
      const chunks = [];
      const report = await from.dump({
        compression,
        to: (bytes) => void chunks.push(bytes.slice()),
      });
      equal([report.layout, report.entries, report.consistent], ['portable', 2, true]);
      const archive = new Blob(chunks);
      equal(archive.size, report.compressedBytes);
      const summary = await env.SemanticCache.inspect(archive);
      equal([summary.entries, summary.compression, summary.checksummed], [2, compression, true]);
      for (const make of [() => env.memory(), ...kinds]) {
        const to = await open(env, { store: await make(`load-${databases++}`) });
        const sources = [archive, await archive.arrayBuffer(), archive.stream()];
        const source = sources[databases % sources.length];
        const loaded = await to.load(source, { namespacePrefix: 'eu-' });
        equal([loaded.entries, loaded.manifest.embedderFingerprint], [2, 'letters-1']);
        equal((await to.get(QUESTION, { namespace: 'eu-default' })).response, long);
        equal((await to.get('abc', { namespace: 'eu-other' })).response, '\0\ufeff\u{10ffff}');
        equal(await to.namespaceQuota('eu-other'), 5);
        await fails(to.load(archive), 'checkpoint', /mode merge/);
        const damaged = new Uint8Array(await archive.arrayBuffer());
        damaged[damaged.length >> 1] ^= 1;
        await fails(to.load(damaged, { mode: 'merge' }), 'checkpoint');
        equal((await to.stats()).entries, 2);
        await to.close();
      }
    }
    const cache = await open(env);
    const broken = new ReadableStream({
      pull() {
        throw new Error('cable cut');
      },
    });
    ok(/cable cut/.test((await cache.load(broken).catch((error) => error)).message), 'the cause');
    const full = () => {
      throw new Error('no room');
    };
    ok(
      /no room/.test((await cache.dump({ to: full }).catch((error) => error)).message),
      'the cause',
    );
  },

  async 'native archives go from store to store of one kind'(env) {
    for (const [name, make] of Object.entries(env.stores)) {
      const from = await open(env, { store: await make(`native-${databases++}`) });
      const store = await make(`native-${databases++}`);
      if (!store.capabilities().snapshot) {
        await fails(from.dump({ layout: 'native' }), 'unsupported');
        await store.release?.();
        await from.close();
        continue;
      }
      await from.put(QUESTION, 'r', { metadata: { n: 1 } });
      await from.setNamespaceQuota('default', 9);
      await from.warmUp();
      const { archive, layout } = await from.dump({ layout: 'native' });
      equal(layout, 'native', name);
      const to = await open(env, { store });
      equal((await to.load(archive)).entries, 1, name);
      equal((await to.get('How do I reset my passwords?')).metadata, { n: 1 }, name);
      equal(await to.namespaceQuota('default'), 9, name);
      await fails(to.load(archive), 'checkpoint');
      const other = await make(`native-${databases++}`);
      const summary = await env.SemanticCache.inspect(archive, { store: other });
      equal([summary.entries, summary.manifest.store], [1, 'sqlite'], name);
      await to.close();
      await from.close();
    }
  },

  async 'stores keep what they are given, and refuse other embedders'(env) {
    for (const [name, make] of Object.entries(env.stores)) {
      const database = `keep-${databases++}`;
      const first = await open(env, { store: await make(database) });
      await first.put(QUESTION, 'r', { metadata: { n: 1 } });
      await first.warmUp();
      await first.close();
      const again = await open(env, { store: await make(database) });
      equal((await again.get(QUESTION)).metadata, { n: 1 }, name);
      equal((await again.get('How do I reset my passwords?')).layer, 'semantic', name);
      const { healthy, storeOk, deep } = await again.health({ deep: true });
      equal([healthy, storeOk, deep.integrityOk, deep.entries], [true, true, true, 1], name);
      equal((await again.health()).deep, undefined, name);
      await again.close();
      const other = { ...letters(), fingerprint: 'letters-2' };
      let store = await make(database);
      const error = await fails(open(env, { store, embedder: other }), 'embedder-mismatch');
      await store.release?.();
      equal([error.stored, error.given], ['letters-1', 'letters-2'], name);
      store = await make(database);
      await fails(
        open(env, { store, embedder: { ...letters(), dimensions: 9 } }),
        'embedder-dimension',
      );
      await store.release?.();
    }
  },

  async 'the index answers as a scan of all vectors does'(env) {
    const random = new Random(7);
    const dim = 32;
    const cache = await open(env, { embedder: { fingerprint: 'v', dimensions: dim } });
    const rows = Array.from({ length: 1500 }, () => random.vector(dim));
    await cache.putMany(
      rows.map((embedding, i) => ({ query: `q${i}`, response: `${i}`, embedding })),
    );
    await cache.warmUp();
    const unit = (v) => {
      const length = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
      return v.map((x) => x / length);
    };
    const units = rows.map(unit);
    for (let i = 0; i < 100; i++) {
      const query = rows[i * 7].map((x) => x + (random.below(100) - 50) / 200);
      const q = unit(query);
      const cosines = units.map((row) => row.reduce((sum, x, j) => sum + x * q[j], 0));
      const best = cosines.indexOf(Math.max(...cosines));
      const hit = await cache.get(`new ${i}`, { embedding: query, threshold: 0.3 });
      equal(hit.response, `${best}`);
      ok(Math.abs(hit.similarity - cosines[best]) < 1e-5, 'its cosine');
    }
    const stats = await cache.stats();
    equal([stats.indexRows, stats.indexCodedRows], [1500, 1500]);
    await cache.requantize('int8');
    equal((await cache.get('as before', { embedding: rows[3] })).response, '3');
  },

  async 'stores conform'(env) {
    const makes = { memory: () => new env.MemoryStore(), ...env.stores };
    if (env.hasJspi()) {
      makes['memory with promises'] = () => asynchronous(env);
    }
    for (const [name, make] of Object.entries(makes)) {
      const database = `conformance-${databases++}`;
      const report = await env.judge(() => make(database));
      const failures = report.cases.filter(({ outcome }) => outcome === 'failed');
      equal(
        failures.map((one) => `${one.name}: ${one.detail}`),
        [],
        name,
      );
      ok(report.summary.passed >= 350, `${name}: only ${report.summary.passed} cases passed`);
    }
  },
};

/** Runs the cases, one after another; a result for each. */
export async function run(env, only = /./) {
  const results = [];
  for (const [name, work] of Object.entries(cases)) {
    if (!only.test(name)) {
      continue;
    }
    const start = Date.now();
    try {
      await work(env);
      results.push({ name, ok: true, ms: Date.now() - start });
    } catch (error) {
      results.push({
        name,
        ok: false,
        ms: Date.now() - start,
        error: String(error?.stack ?? error),
      });
    }
  }
  return results;
}
