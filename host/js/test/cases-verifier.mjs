/** Cases of the verifier, and of what is linked. */

import { byLetters, equal, fails, ok, outcome } from './support/check.mjs';

function open({ SemanticCache, memory }, options = {}) {
  return SemanticCache.open({ store: memory(), ...byLetters(options) });
}

/** An embedder of directions: a text ends with its angle, in degrees. */
const directions = {
  fingerprint: 'degrees',
  dimensions: 2,
  embed: (texts) =>
    texts.map((text) => {
      const radians = (Math.PI / 180) * Number(/\d*$/.exec(text)[0]);
      return [Math.cos(radians), Math.sin(radians)];
    }),
};

/** A cache whose candidates `verify` judges, with `one at 0` in it, and what `onError` heard. */
async function verified(env, verify, more = {}) {
  const told = [];
  const cache = await open(env, {
    embedder: directions,
    verify,
    onError: (error, { during }) => told.push({ during, error }),
    ...more,
  });
  const id = await cache.put('one at 0', 'first', { metadata: { n: 1 } });
  return { cache, told, id };
}

const tick = () => new Promise((resolve) => setTimeout(resolve));

async function until(condition) {
  while (!(await condition())) await tick();
}

/** A verifier whose calls end when they are told to. */
function manual() {
  const calls = [];
  const verify = (candidate, { signal }) =>
    new Promise((resolve, reject) => calls.push({ candidate, signal, resolve, reject }));
  return { calls, verify };
}

export const verifier = {
  async 'what is no verifier is an error'(env) {
    const verify = () => true;
    for (const [options, words] of [
      [{ verify: true }, /verify is of type boolean; give a function/],
      [{ verify: null }, /verify is of type object/],
      [{ verifyBand: 0.5 }, /verifyBand is given without verify/],
      [{ verifyLater: true }, /verifyLater is given without verify/],
      [{ verifyTimeoutSeconds: 1 }, /verifyTimeoutSeconds is given without verify/],
      [{ verifyConcurrency: 1 }, /verifyConcurrency is given without verify/],
      [{ verify, verifyBand: 1.5 }, /option verifyBand: the band begins at 1\.5/],
      [{ verify, verifyBand: Number.NaN }, /option verifyBand: the band begins at NaN/],
      [{ verify, verifyBand: '0.5' }, /verifyBand is of type string/],
      [{ verify, verifyLater: 1 }, /verifyLater is 1; give true or false/],
      [{ verify, verifyTimeoutSeconds: -1 }, /verifyTimeoutSeconds is -1/],
      [{ verify, verifyTimeoutSeconds: Infinity }, /verifyTimeoutSeconds is Infinity/],
      [{ verify, verifyConcurrency: 1.5 }, /verifyConcurrency is 1\.5/],
      [{ verify, verifyTimeoutMs: 100 }, /did you mean verifyTimeoutSeconds\?/],
      [{ verifier: verify }, /did you mean verify\?/],
    ]) {
      await fails(open(env, options), 'invalid-argument', words);
    }
    await (await open(env, { verifyLater: false })).close();
  },

  async 'the verifier decides about the candidate that is about to answer'(env) {
    let now = 1_700_000_000_999;
    let answer;
    const asked = [];
    const events = [];
    const verify = (candidate) => {
      asked.push(candidate);
      return answer;
    };
    const options = { now: () => now, onEvent: ({ type }) => events.push(type) };
    const { cache, told, id } = await verified(env, verify, options);
    now += 30_000;
    for (const [given, expected] of [
      [true, 'first'],
      ['yes', 'first'],
      ['unknown', 'first'],
      [false, 'unverified'],
      ['no', 'unverified'],
    ]) {
      for (answer of [given, Promise.resolve(given)]) {
        asked.length = events.length = 0;
        equal(outcome(await cache.lookUp('two at 10')), expected, String(given));
        equal(events, [expected === 'first' ? 'hit' : 'miss'], 'it is counted once');
        const found = await cache.explain('two at 10');
        equal(found.outcome.reason ?? 'first', expected);
        const verdict = expected === 'first' ? 'answers' : 'unverified';
        equal(found.candidates[0].verdict, verdict);
        const opinion = { true: 'yes', false: 'no' }[given] ?? given;
        equal([found.verification.id, found.verification.opinion], [id, opinion]);
        equal(found.verification.createdAt.getTime(), 1_700_000_000_000);
        equal(asked.length, 2, 'once each');
      }
    }
    const [{ similarity, createdAt, ...candidate }] = asked;
    equal(candidate, {
      id,
      namespace: 'default',
      query: 'two at 10',
      entryQuery: 'one at 0',
      response: 'first',
      metadata: { n: 1 },
      ageSeconds: 30,
    });
    ok(Math.abs(similarity - Math.cos(Math.PI / 18)) < 1e-6, `similarity ${similarity}`);
    equal(createdAt.getTime(), 1_700_000_000_000);
    const before = asked.length;
    answer = false;
    equal(outcome(await cache.lookUp('ONE at 0')), 'first', 'exact answers are not verified');
    equal(outcome(await cache.lookUp('far at 90')), 'below-threshold');
    equal(outcome(await cache.lookUp('two at 10', { exactOnly: true })), 'no-match');
    equal(outcome(await cache.lookUp('two at 10', { bypass: true })), 'bypass');
    equal(asked.length, before);
    const { verifiedFrom, verification } = await cache.explain('far at 90');
    equal([Math.fround(0.85), undefined], [verifiedFrom, verification]);
    // With a vector of the caller's.
    equal(outcome(await cache.lookUp('other', { embedding: [1, 0] })), 'unverified');
    equal(asked.length, before + 1);
    equal([(await cache.stats()).entries, told], [1, []], 'nothing is deleted');
    // Whoever computes gets an answer.
    equal(await cache.getOrCompute('two at 10', () => 'computed'), 'computed');
    equal((await cache.get('two at 10')).layer, 'exact');
    answer = true;
    const { value, origin } = await cache.resolve('three at 11', () => 'computed');
    equal([value, origin], ['computed', 'cache'], 'that of the nearest');
    equal((await (await open(env)).explain('q')).verifiedFrom, undefined);
  },

  async 'several questions are verified each, side by side'(env) {
    const { calls, verify } = manual();
    const { cache } = await verified(env, verify);
    await cache.put('one at 90', 'second');
    const found = cache.getMany(['a at 5', 'one at 0', 'b at 45', 'c at 85', 'd at 10', 'e at 7']);
    await until(() => calls.length === 4);
    equal(
      calls.map(({ candidate }) => `${candidate.query}: ${candidate.response}`),
      ['a at 5: first', 'c at 85: second', 'd at 10: first', 'e at 7: first'],
    );
    calls[3].resolve(false);
    calls[1].resolve(true);
    calls[2].reject(new Error('no judge'));
    calls[0].resolve('unknown');
    equal((await found).map(outcome), [
      'first',
      'first',
      'below-threshold',
      'second',
      'verifier-failure',
      'unverified',
    ]);
  },

  async 'a verifier that fails is a miss, is told of, and deletes nothing'(env) {
    const failure = new RangeError('judge is ill');
    const nonsense = (what) => [() => what, /the verifier returned .*; return true, false/, false];
    const http = (status) => Object.assign(new Error('service'), { status });
    const VERIFIER = Symbol.for('mneme-cache-wasm.error');
    let now = 1_700_000_000_000;
    let asked = 0;
    let judge;
    const counted = (...args) => {
      asked += 1;
      return judge(...args);
    };
    const { cache, told } = await verified(env, counted, { now: () => now });
    for (const [verify, words, cause, retryable = false] of [
      [
        () => {
          throw failure;
        },
        /the verifier failed: judge is ill/,
        failure,
      ],
      [() => Promise.reject(failure), /the verifier failed: judge is ill/, failure],
      [() => Promise.reject(undefined), /the verifier failed: undefined/, undefined],
      [() => Promise.reject(http(401)), /service \(HTTP 401\)/],
      [() => Promise.reject(http(503)), /service \(HTTP 503\)/, undefined, true],
      [
        // As another copy of the package has it.
        () => {
          throw Object.assign(new Error('busy'), { code: 'verifier', [VERIFIER]: true });
        },
        /^busy$/,
        undefined,
        undefined,
      ],
      nonsense(undefined),
      nonsense(null),
      nonsense(1),
      nonsense('YES'),
      nonsense('failed'),
      nonsense('secret '.repeat(1000)),
      nonsense({ opinion: 'yes' }),
      nonsense(Object.create(null)),
      nonsense(Promise.resolve([])),
    ]) {
      now += 60_000;
      judge = () => true;
      equal(outcome(await cache.lookUp('two at 10')), 'first');
      judge = verify;
      asked = 0;
      equal(outcome(await cache.lookUp('two at 10')), 'verifier-failure', String(words));
      equal(told.length, 1);
      const [{ during, error }] = told.splice(0);
      equal([during, error.code, asked], ['verify', 'verifier', 1], String(words));
      ok(words.test(error.message), error.message);
      ok(!/secret/.test(error.message), error.message);
      if (cause) ok(error.cause === cause, 'with what it threw');
      if (error.name === 'VerifierError') equal(error.retryable, retryable, error.message);
      const explained = await cache.explain('two at 10');
      equal(
        [explained.outcome.reason, explained.verification.opinion, explained.candidates[0].verdict],
        ['verifier-failure', 'failed', 'unverified'],
      );
      equal(outcome(await cache.lookUp('one at 0')), 'first');
      equal((await cache.stats()).entries, 1);
      equal(told.splice(0).length, 1);
    }
    equal(await cache.getOrCompute('three at 9', () => 'computed'), 'computed');
    equal(told[0].during, 'verify');
  },

  async 'a verifier that takes too long is given up, and left alone for a while'(env) {
    let now = 1_700_000_000_000;
    let isWell = false;
    const { calls, verify } = manual();
    const options = { verifyTimeoutSeconds: 0.02, now: () => now };
    const judge = (...args) => isWell || verify(...args);
    const { cache, told } = await verified(env, judge, options);
    equal(outcome(await cache.lookUp('two at 10')), 'verifier-failure');
    const [{ error }] = told;
    ok(
      /not answered within 0\.02 s; raise verifyTimeoutSeconds/.test(error.message),
      error.message,
    );
    equal([error.retryable, calls[0].signal.aborted], [true, true]);
    // What it says then comes too late.
    calls[0].resolve(true);
    isWell = true;
    for (let i = 0; i < 20; i++) {
      equal(outcome(await cache.lookUp('two at 10')), 'verifier-failure');
    }
    equal(calls.length, 1, 'nobody waits in vain');
    ok(/the verifier is not asked, .* in 1\.0 s/.test(told.at(-1).error.message), 'it says why');
    equal(outcome(await cache.lookUp('one at 0')), 'first');
    now += 1000;
    equal(outcome(await cache.lookUp('two at 10')), 'first');

    let asked = 0;
    const broken = await verified(
      env,
      () => {
        asked += 1;
        throw new Error('a bug');
      },
      { now: () => now },
    );
    for (let i = 0; i < 10; i++) await broken.cache.lookUp('two at 10');
    equal([asked, broken.told.length], [3, 10], 'failures in a row make it rest');
  },

  async 'while the verifier is asked, other calls go on'(env) {
    const { calls, verify } = manual();
    const { cache, told } = await verified(env, verify, { verifyConcurrency: 2 });
    const control = new AbortController();
    const all = [1, 2, 3].map((i) => cache.lookUp(`question at ${i}`));
    const aborted = cache.lookUp('aborted at 4', { signal: control.signal }).catch((e) => e.name);
    await until(() => calls.length === 2);
    await cache.put('other at 90', 'second');
    equal(outcome(await cache.lookUp('one at 0')), 'first');
    await cache.flush();
    equal(calls.length, 2, 'no more at a time');
    control.abort();
    equal(await aborted, 'AbortError', 'the wait in line ends with the signal');
    calls[0].resolve(true);
    await until(() => calls.length === 3);
    calls[1].resolve(true);
    calls[2].resolve(true);
    equal((await Promise.all(all)).map(outcome), ['first', 'first', 'first']);
    // The wait for the verifier too, which hears of it.
    const again = new AbortController();
    const waiting = [
      cache.lookUp('again at 4', { signal: again.signal }),
      cache.getMany(['again at 5'], { signal: again.signal }),
    ].map((promise) => promise.catch((error) => error.name));
    await until(() => calls.length === 5);
    again.abort();
    equal(await Promise.all(waiting), ['AbortError', 'AbortError']);
    equal(
      calls.slice(3).map(({ signal }) => signal.aborted),
      [true, true],
    );
    equal(told, []);
    // A cache that is closed meanwhile.
    const last = cache.lookUp('last at 5').catch((error) => error.code);
    await until(() => calls.length === 6);
    await cache.close();
    calls[5].resolve(true);
    equal(await last, 'closed');
  },

  async 'what was verified is one version of one entry'(env) {
    let now = 1_700_000_000_000;
    let meanwhile;
    let cache;
    const verify = async () => {
      await meanwhile();
      return true;
    };
    ({ cache } = await verified(env, verify, { now: () => now }));
    for (meanwhile of [
      () => cache.put('one at 0', 'replaced'),
      () => cache.put('nearer at 9', 'another'),
    ]) {
      now += 1000;
      equal(outcome(await cache.lookUp('two at 10')), 'unverified');
    }
    meanwhile = () => cache.clear();
    equal(outcome(await cache.lookUp('two at 10')), 'no-match');
  },

  async 'below the threshold only a yes answers'(env) {
    let answer;
    const { cache, told } = await verified(env, () => answer, { verifyBand: 0.8 });
    for (const [given, expected] of [
      ['yes', 'first'],
      ['no', 'unverified'],
      ['unknown', 'below-threshold'],
      ['nonsense', 'verifier-failure'],
    ]) {
      answer = given;
      equal(outcome(await cache.lookUp('two at 35')), expected, given);
      equal((await cache.getMany(['two at 35'])).map(outcome), [expected], given);
      const found = await cache.explain('two at 35');
      equal(found.outcome.reason ?? 'first', expected, given);
      ok(Math.abs(found.verifiedFrom - 0.8) < 1e-6, 'from the band');
    }
    equal(told.length, 3);
    equal(outcome(await cache.lookUp('two at 40')), 'below-threshold');
  },

  async 'what is verified afterwards is linked, and nobody waits'(env) {
    const { calls, verify } = manual();
    let now = 1_700_000_000_000;
    const options = { verifyBand: 0.8, verifyLater: true, now: () => now };
    const { cache, told } = await verified(env, verify, options);
    const scope = { namespace: 'n', context: 'c' };
    await cache.put('one at 0', 'scoped', { ...scope, tags: ['t'], metadata: { m: 2 } });
    equal(await cache.lookUp('two at 35', scope), { miss: { reason: 'below-threshold' } });
    // Asked again meanwhile, it is verified once; elsewhere, it is another question.
    equal((await cache.getMany([{ query: 'two at 35', ...scope }])).map(outcome), [
      'below-threshold',
    ]);
    equal((await cache.getMany(['two at 35', 'far at 80'])).map(outcome), [
      'below-threshold',
      'below-threshold',
    ]);
    await until(() => calls.length === 2);
    equal(
      calls.map(({ candidate }) => `${candidate.query}: ${candidate.response}`),
      ['two at 35: scoped', 'two at 35: first'],
    );
    await tick();
    equal(calls.length, 2);
    calls[0].resolve(true);
    await until(async () => (await cache.stats()).entries === 3);
    const hit = await cache.get('TWO at 35', scope);
    equal([hit.layer, hit.response, hit.tags, hit.metadata], ['exact', 'scoped', ['t'], { m: 2 }]);
    // A no links nothing, and the question is verified when it is asked again.
    calls[1].resolve(false);
    const askAgain = async (count) => {
      await until(async () => {
        equal(outcome(await cache.lookUp('two at 35')), 'below-threshold');
        return calls.length === count;
      });
    };
    await askAgain(3);
    calls[2].reject(new Error('no judge'));
    await askAgain(4);
    equal(
      told.splice(0).map(({ during, error }) => [during, error.code]),
      [['verify', 'verifier']],
    );
    // What was replaced meanwhile is not linked.
    now += 1000;
    await cache.put('one at 0', 'replaced');
    calls[3].resolve(true);
    await askAgain(5);
    // A link that fails is told.
    await cache.setNamespaceQuota('default', 0);
    calls[4].resolve(true);
    await until(() => told.length > 0);
    equal([told[0].during, told[0].error.code], ['link', 'quota-exceeded']);
    await cache.setNamespaceQuota('default', null);
    // What is similar enough is verified at once.
    const near = cache.lookUp('near at 10');
    await until(() => calls.length === 6);
    calls[5].resolve(true);
    equal(outcome(await near), 'replaced');
    // Whoever computes does not wait either, and the answer is the question's.
    equal(await cache.getOrCompute('three at 35', () => 'computed'), 'computed');
    await until(() => calls.length === 7);
    calls[6].resolve(true);
    equal((await cache.get('three at 35')).response, 'computed');
    equal(told.length, 1);
  },

  async 'what is verified afterwards waits in line, and ends with the cache'(env) {
    const { calls, verify } = manual();
    const options = { verifyBand: 0.8, verifyLater: true };
    const { cache, told } = await verified(env, verify, options);
    const questions = Array.from({ length: 300 }, (_, i) => `question ${i} at 35`);
    ok(
      (await cache.getMany(questions)).every(({ miss }) => miss?.reason === 'below-threshold'),
      'nobody waits',
    );
    await tick();
    equal(calls.length, 16);
    for (let i = 0; i < calls.length; i++) {
      calls[i].resolve(i % 2 === 0);
      await until(() => calls.length >= Math.min(i + 17, 256));
    }
    equal(calls.length, 256, 'and the line has an end');
    await until(async () => (await cache.stats()).entries === 1 + 128);
    await cache.getMany(questions.slice(256).map((question) => `later ${question}`));
    await until(() => calls.length === 256 + 16);
    // `tick` runs before, so that all are under way.
    await cache.close();
    equal(
      calls.slice(256).map(({ signal }) => signal.aborted),
      Array.from({ length: 16 }, () => true),
    );
    for (const { resolve } of calls) resolve(true);
    await tick();
    equal([calls.length, told], [256 + 16, []]);
  },

  async 'a query is linked to the answer of an entry'(env) {
    let now = 1_700_000_000_000;
    const cache = await open(env, { embedder: directions, now: () => now });
    const scope = { namespace: 'n', context: 'c' };
    const kept = { ...scope, ttlSeconds: 60, tags: ['t'], metadata: { n: 1 } };
    const id = await cache.put('one at 0', 'first', kept);
    const createdAt = new Date(now);
    now += 10_000;
    const hit = await cache.get('one at 0', scope);
    equal([hit.id, hit.createdAt.getTime()], [id, createdAt.getTime()]);
    const of = { ...scope, id, createdAt };
    equal(await cache.link('two at 90', of), id + 1);
    const linked = await cache.get('two at 90', scope);
    equal(
      [linked.layer, linked.id, linked.response, linked.tags, linked.metadata],
      ['exact', id + 1, 'first', ['t'], { n: 1 }],
    );
    equal(linked.ttlLeftSeconds, 50);
    equal(await cache.link('two at 90', of), undefined, 'it has an answer');
    equal(await cache.link('three', { ...of, id: 99 }), undefined);
    equal(await cache.link('three', { ...of, context: 'd' }), undefined);
    equal(await cache.link('three', { ...of, createdAt: new Date(now) }), undefined);
    now += 60_000;
    equal(await cache.link('three', of), undefined, 'it has expired');
    for (const [wrong, words] of [
      [{ ...of, id: undefined }, /link lacks an id/],
      [{ ...of, id: -1 }, /id is -1/],
      [{ ...of, createdAt: undefined }, /createdAt is no Date/],
      [{ ...of, createdAt: new Date(Number.NaN) }, /createdAt is no Date/],
      [{ ...of, createdAt: 1_700_000_000 }, /createdAt is no Date/],
      [{ ...of, namespace: '' }, /namespace/],
      [{ ...of, namspace: 'n' }, /did you mean namespace\?/],
      [undefined, /link lacks an id/],
    ]) {
      await fails(cache.link('three', wrong), 'invalid-argument', words);
    }
    await fails(cache.link(null, of), 'invalid-argument', /the query is null/);
    await cache.close();
    await fails(cache.link('three', of), 'closed');
  },

  async 'the validator and the verifier see the same candidate'(env) {
    const seen = [];
    const see = (candidate) => seen.push(candidate) > 0;
    const { cache } = await verified(env, see, { validator: see });
    equal(outcome(await cache.lookUp('two at 10')), 'first');
    equal(seen[0].id > 0 && seen[0].createdAt instanceof Date, true);
    equal(seen.at(-1), seen[0]);
    // A response that is about to be stored has no id yet.
    await cache.put('new at 90', 'r', { validate: true });
    equal(seen.at(-1).id, 0);
  },
};
