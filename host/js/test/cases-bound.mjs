/** Cases of the error bound: which labels open and close it, and who gives them. */

import { asynchronous, byLetters, equal, fails, ok, outcome } from './support/check.mjs';

const START_MS = 1_700_000_000_000;
let databases = 0;

/** An embedder of directions: a text ends with its angle, in degrees. */
function directions(more = {}) {
  const asked = [];
  return {
    fingerprint: 'degrees',
    dimensions: 2,
    asked,
    embed: (texts) => {
      asked.push(...texts);
      return texts.map((text) => {
        const radians = (Math.PI / 180) * Number(/\d*$/.exec(text)[0]);
        return [Math.cos(radians), Math.sin(radians)];
      });
    },
    ...more,
  };
}

/** A cache with a bound and `one at 0` in it, and what `onError` heard. */
async function bounded({ SemanticCache, memory }, { errorBound = {}, ...more } = {}) {
  const told = [];
  const cache = await SemanticCache.open({
    store: memory(),
    ...byLetters({ embedder: directions() }),
    errorBound: { explore: 0, ...errorBound },
    onError: (error, { during }) => told.push({ during, error }),
    ...more,
  });
  await cache.put('one at 0', 'first');
  return { cache, told };
}

/** Asks, labels what answers or is near, and says why it misses. */
async function teach(cache, question, label) {
  const { hit, miss } = await cache.lookUp(question);
  await cache.feedback((hit ?? miss.nearest).ticket, label, { source: 'compared' });
  return miss?.reason;
}

async function teachMany(cache, label, count, name = label) {
  const reasons = [];
  for (let n = 0; n < count; n++) {
    reasons.push(await teach(cache, `${name} ${n} at 5`, label));
  }
  return reasons;
}

async function report(cache, namespace = 'default') {
  return (await cache.stats(namespace)).bound;
}

/** The labels of a cache: all, those that are wrong, and the unknown ones among these. */
async function counts(cache) {
  const { labels, wrong, unknown } = await report(cache);
  return [labels, wrong, unknown];
}

const tick = () => new Promise((resolve) => setTimeout(resolve));

async function until(condition) {
  while (!(await condition())) await tick();
}

export const bound = {
  async 'what is no bound is an error'(env) {
    const errorBound = {};
    const sameAnswer = () => 'same';
    const { embed: _, ...silent } = directions();
    for (const [options, words] of [
      [{ errorBound: { delta: 0 } }, /delta of the error bound is 0; it must be above 0/],
      [{ errorBound: { delta: 1 } }, /delta of the error bound is 1/],
      [{ errorBound: { delta: Number.NaN } }, /delta of the error bound is NaN/],
      [{ errorBound: { delta: '0.1' } }, /errorBound\.delta is of type string/],
      [{ errorBound: { explore: 1.5 } }, /explore of the error bound is 1\.5/],
      [{ errorBound: { explore: true } }, /errorBound\.explore is of type boolean/],
      [{ errorBound: { confidence: 0.5 } }, /confidence of the error bound is 0\.5/],
      [{ errorBound: { confidence: [] } }, /errorBound\.confidence is an array/],
      [{ errorBound: { floor: 1 } }, /floor of the error bound is 1/],
      [{ errorBound: { floor: {} } }, /errorBound\.floor is of type object/],
      [{ errorBound: { of: 'all' } }, /errorBound\.of is "all"; give answers or requests/],
      [{ errorBound: { deltas: 0.1 } }, /errorBound has no option "deltas"; did you mean delta\?/],
      [{ errorBound: { seed: [] } }, /errorBound has no option "seed"/],
      [{ errorBound: 0.05 }, /options of errorBound are of type number/],
      [{ errorBound: true }, /options of errorBound are of type boolean/],
      [{ seed: new Uint8Array(32) }, /SemanticCache\.open has no option "seed"/],
      [{ bound: {} }, /did you mean errorBound\?/],
      [{ sameAnswer }, /sameAnswer is given without errorBound; give that too/],
      [{ sameAnswer, errorBound: null }, /sameAnswer is given without errorBound/],
      [{ errorBound, sameAnswer: true }, /sameAnswer is of type boolean; give a function/],
      [{ errorBound, sameAnswer: null }, /sameAnswer is null; give a function/],
      [{ errorBound, sameAnswer: 0.9 }, /sameAnswer is of type number/],
      [{ errorBound, sameAnswer: {} }, /sameAnswer\.leastSimilarity is missing/],
      [{ errorBound, sameAnswer: { least: 1 } }, /sameAnswer has no option "least"/],
      [{ errorBound, sameAnswer: { leastSimilarity: '1' } }, /leastSimilarity is of type string/],
      [{ errorBound, sameAnswer: { leastSimilarity: 1.1 } }, /leastSimilarity is 1\.1/],
      [{ errorBound, sameAnswer: { leastSimilarity: Number.NaN } }, /leastSimilarity is NaN/],
      [
        { errorBound, sameAnswer: { leastSimilarity: 0.9 }, embedder: silent },
        /the embedder has no embed function; give a function that compares/,
      ],
    ]) {
      const opened = env.SemanticCache.open({ store: env.memory(), ...byLetters(options) });
      await fails(opened, 'invalid-argument', words);
    }
  },

  async 'labels open what they prove, and those that err close it'(env) {
    const { cache, told } = await bounded(env);
    // What would answer by its similarity does not.
    const { miss } = await cache.lookUp('two at 1');
    const { candidate, ticket } = miss.nearest;
    equal(miss.reason, 'unproven');
    equal(
      [candidate.query, candidate.entryQuery, candidate.response, candidate.id],
      ['two at 1', 'one at 0', 'first', 1],
    );
    ok(candidate.createdAt instanceof Date && /^\S+$/.test(ticket), ticket);
    const explained = await cache.explain('two at 1');
    equal(
      [explained.outcome, explained.openFrom, explained.candidates[0].verdict],
      [{ reason: 'unproven' }, undefined, 'unproven'],
    );
    equal(await cache.lookUp('far at 80'), { miss: { reason: 'below-threshold' } });
    const first = await report(cache);
    equal([first.state, first.labels, first.threshold], ['too-few-labels', 0, undefined]);
    ok(first.needed > 100 && first.needed <= 300, `${first.needed} labels are needed`);
    const reasons = await teachMany(cache, 'same', 300);
    equal([reasons[0], reasons[299]], ['unproven', undefined]);
    const open = await report(cache);
    equal([open.state, open.wrong, open.unknown, open.needed], ['open', 0, 0, undefined]);
    ok(open.share > 0 && open.share <= 0.05, `share ${open.share}`);
    ok(open.threshold > 0.9 && open.threshold < 0.9963, `threshold ${open.threshold}`);
    const { hit } = await cache.lookUp('three at 5');
    equal([hit.response, hit.layer, typeof hit.ticket], ['first', 'semantic', 'string']);
    equal((await cache.get('three at 5')).ticket.length, hit.ticket.length);
    equal((await cache.getMany(['three at 4', 'far at 80', 'three at 30'])).map(outcome), [
      'first',
      'below-threshold',
      'unproven',
    ]);
    equal((await cache.getMany(['four at 30']))[0].miss.nearest.candidate.query, 'four at 30');
    equal((await cache.get('one at 0')).ticket, undefined, 'exact answers have none');
    const answers = await cache.explain('three at 5');
    equal([answers.outcome, answers.openFrom], [{ layer: 'semantic' }, open.threshold]);
    equal(await cache.getOrCompute('four at 5', () => 'computed'), 'first');
    // A threshold of the question is a further limit.
    equal(outcome(await cache.lookUp('three at 5', { threshold: 0.999 })), 'below-threshold');
    // Each namespace has its labels.
    await cache.put('one at 0', 'other', { namespace: 'other' });
    equal(outcome(await cache.lookUp('three at 5', { namespace: 'other' })), 'unproven');
    equal((await report(cache, 'other')).labels, 0);
    await cache.feedback(hit.ticket, 'different');
    const closing = await teachMany(cache, 'different', 40);
    equal([closing[0], closing[39]], [undefined, 'unproven']);
    const closed = await report(cache);
    equal([closed.state, closed.threshold, closed.needed], ['labels-err', undefined, undefined]);
    equal(closed.wrong > 30 && closed.unknown === 0, true);
    equal(told, []);
  },

  async 'statistics say why nothing is open'(env) {
    const { cache } = await bounded(env);
    equal((await cache.stats()).bound, undefined);
    const { needed } = await report(cache);
    await teachMany(cache, 'same', 30);
    const fewer = await report(cache);
    equal([fewer.state, fewer.labels, fewer.requests], ['too-few-labels', 30, 30]);
    ok(fewer.needed < needed, `${fewer.needed} after ${needed}`);
    await teachMany(cache, 'unknown', 270);
    const { state, wrong, unknown, labels } = await report(cache);
    equal([state, wrong === unknown, labels - wrong > 10], ['too-many-unknown', true, true]);
    await cache.clearNamespace('default');
    equal((await report(cache)).labels, 0);
    // With a delta that many labels meet; and of all requests, of which few are answered.
    const { cache: lax } = await bounded(env, { errorBound: { delta: 0.3 } });
    await teachMany(lax, 'same', 60);
    equal((await report(lax)).state, 'open');
    const { cache: strict } = await bounded(env, { errorBound: { delta: 0.001 } });
    await teachMany(strict, 'same', 60);
    equal((await report(strict)).state, 'too-few-labels');
    // Of all requests, those that nothing is near to count too.
    for (const [of, expected] of [
      ['answers', 'too-few-labels'],
      ['requests', 'open'],
    ]) {
      const { cache } = await bounded(env, { errorBound: { of } });
      for (let n = 0; n < 900; n++) await cache.lookUp(`far ${n} at 80`);
      await teachMany(cache, 'same', 60);
      equal((await report(cache)).state, expected, of);
    }
  },

  async 'without a bound nothing changes'(env) {
    for (const errorBound of [undefined, null]) {
      const cache = await env.SemanticCache.open({
        store: env.memory(),
        ...byLetters({ embedder: directions(), errorBound }),
      });
      await cache.put('one at 0', 'first');
      const { hit } = await cache.lookUp('two at 5');
      equal([hit.response, hit.ticket], ['first', undefined]);
      equal(await cache.lookUp('far at 80'), { miss: { reason: 'below-threshold' } });
      equal((await cache.explain('two at 5')).openFrom, undefined);
      const { bound, counters } = await cache.stats('default');
      equal([bound, counters.explored], [undefined, 0]);
      await fails(cache.feedback('ticket', 'same'), 'invalid-argument', /option errorBound/);
    }
  },

  async 'some would-be answers are refused for a label, and the same ones each time'(env) {
    const events = [];
    const { cache } = await bounded(env, {
      errorBound: { explore: 0.2 },
      // When an entry was stored is part of what decides.
      now: () => START_MS,
      onEvent: ({ type, reason }) => type === 'miss' && events.push(reason),
    });
    await teachMany(cache, 'same', 400);
    const before = (await cache.stats('default')).counters;
    events.length = 0;
    const reasons = await teachMany(cache, 'same', 200, 'another');
    const explored = reasons.filter((reason) => reason === 'explored').length;
    ok(explored >= 20 && explored <= 60, `${explored} of 200`);
    equal(reasons.filter((reason) => reason === undefined).length, 200 - explored);
    equal(events, Array(explored).fill('explored'));
    const { counters, bound } = await cache.stats('default');
    equal(
      [counters.explored - before.explored, counters.misses - before.misses],
      [explored, explored],
    );
    equal(bound.state, 'open');
    for (const [n, reason] of reasons.entries()) {
      const question = `another ${n} at 5`;
      const { outcome: explained, candidates } = await cache.explain(question);
      equal(explained, reason ? { reason } : { layer: 'semantic' }, question);
      equal(candidates[0].verdict, reason ?? 'answers', question);
      equal(outcome(await cache.lookUp(question)), reason ?? 'first', question);
    }
    // Whoever explores computes, and gives the label.
    const asked = { context: 'new' };
    await cache.put('one at 0', 'first', asked);
    for (let n = 0; ; n++) {
      const { value, origin } = await cache.resolve(`more ${n} at 5`, () => 'other', asked);
      equal(value, origin === 'computed' ? 'other' : 'first');
      if (origin === 'computed') break;
    }
    equal((await report(cache)).unknown, 1);
    equal((await cache.stats('default')).counters.explored > counters.explored, true);
  },

  async 'a ticket labels once, in its namespace, for a day'(env) {
    let now = START_MS;
    const { cache } = await bounded(env, { now: () => now });
    const { ticket } = (await cache.lookUp('two at 5')).miss.nearest;
    const invalid = (ticket, words, options, label = 'same') =>
      fails(cache.feedback(ticket, label, options), 'invalid-argument', words);
    await invalid(ticket, /not issued for a look-up in the namespace/, { namespace: 'other' });
    const at = Math.floor(ticket.length / 2);
    const forged = `${ticket.slice(0, at)}${ticket[at] === '0' ? '1' : '0'}${ticket.slice(at + 1)}`;
    await invalid(forged, /not issued/);
    await invalid('', /not issued/);
    await invalid(7, /the ticket is number/);
    await invalid(undefined, /the ticket is undefined/);
    await invalid('\uD800', /the ticket holds half of a surrogate pair/);
    await invalid(ticket, /the label is "right"; give same, different or unknown/, {}, 'right');
    await invalid(ticket, /the label is true/, {}, true);
    await invalid(ticket, /source is "me"; give compared, judged or user/, { source: 'me' });
    await invalid(ticket, /did you mean namespace\?/, { namspace: 'default' });
    await invalid(ticket, /namespace/, { namespace: '' });
    equal(await counts(cache), [0, 0, 0]);
    // The entry may be gone: the label is of its score.
    await cache.delete('one at 0');
    equal(await cache.feedback(ticket, 'same', { namespace: 'default' }), undefined);
    await invalid(ticket, /was used/, {}, 'different');
    equal(await counts(cache), [1, 0, 0]);
    await cache.put('one at 0', 'again');
    for (const [source, label] of [
      ['judged', 'different'],
      ['user', 'unknown'],
      [undefined, 'same'],
    ]) {
      const { nearest } = (await cache.lookUp(`of ${source} at 5`)).miss;
      await cache.feedback(nearest.ticket, label, { source });
    }
    equal(await counts(cache), [4, 2, 1]);
    const old = (await cache.lookUp('three at 5')).miss.nearest.ticket;
    now += 86_401_000;
    await invalid(old, /old/);
    now = START_MS;
    const { cache: stranger } = await bounded(env, { now: () => now });
    await fails(stranger.feedback(old, 'same'), 'invalid-argument', /not issued/);
    await cache.feedback(old, 'same');
    await cache.close();
    await fails(cache.feedback(old, 'same'), 'closed');
  },

  async 'labels and tickets outlive the cache that has opened the store'(env) {
    for (const make of Object.values(env.stores)) {
      const database = `bound-${databases++}`;
      const { cache } = await bounded(env, { store: await make(database) });
      await teachMany(cache, 'same', 5);
      const { ticket } = (await cache.lookUp('last at 5')).miss.nearest;
      await cache.close();
      const { cache: next } = await bounded(env, { store: await make(database) });
      await next.feedback(ticket, 'different');
      equal(await counts(next), [6, 1, 0]);
      await next.close();
    }
  },

  async 'what is computed is labelled: equal or unknown'(env) {
    const { cache, told } = await bounded(env);
    equal(await cache.getOrCompute('two at 10', () => '  FIRST '), '  FIRST ');
    equal(await counts(cache), [1, 0, 0]);
    equal(await cache.getOrCompute('three at 20', () => 'another'), 'another');
    equal(await counts(cache), [2, 1, 1]);
    // Nothing is near; and what is answered is not labelled.
    equal(await cache.getOrCompute('far at 89', () => 'far'), 'far');
    equal(await cache.getOrCompute('two at 10', () => 'again'), '  FIRST ');
    equal(await cache.getOrCompute('five at 10', () => 'b', { bypass: true }), 'b');
    equal(await counts(cache), [2, 1, 1]);
    // Values are compared as they are kept.
    const { cache: values } = await bounded(env);
    await values.getOrCompute('four at 90', () => ({ n: [1, null] }));
    await values.getOrCompute('five at 85', () => ({ n: [1, null] }));
    equal(await counts(values), [1, 0, 0]);
    await values.getOrCompute('six at 80', () => ({ n: [2] }));
    equal(await counts(values), [2, 1, 1]);
    // What is not kept says nothing: it may be a failure.
    const { value, cacheError } = await values.resolve('seven at 75', () => '[ERROR] no model');
    equal([value, cacheError.code], ['[ERROR] no model', 'refused']);
    const failure = new Error('no model');
    const failed = values.getOrCompute('eight at 70', () => Promise.reject(failure));
    equal(await failed.catch((error) => error === failure), true);
    equal(await counts(values), [2, 1, 1]);
    equal(told, []);
  },

  async 'labels of what is computed open the bound'(env) {
    const { cache, told } = await bounded(env, { embedder: directions() });
    let computed = 0;
    const compute = () => {
      computed += 1;
      return 'first';
    };
    for (let n = 0; n < 320; n++) await cache.getOrCompute(`question ${n} at 5`, compute);
    // As labels grow old, it asks for one more now and then.
    ok(computed >= 200 && computed < 250, `${computed} are computed`);
    equal([(await report(cache)).wrong, told], [0, []]);
  },

  async 'only who computes labels'(env) {
    const { cache, told } = await bounded(env);
    let finish;
    const computing = new Promise((resolve) => (finish = resolve));
    let computed = 0;
    const compute = () => {
      computed += 1;
      return computing;
    };
    const all = ['two at 5', 'TWO at 5', ' two  at 5'].map((text) => cache.resolve(text, compute));
    await until(() => computed > 0);
    await tick();
    finish('first');
    equal((await Promise.all(all)).map(({ origin }) => origin).sort(), [
      'computed',
      'shared',
      'shared',
    ]);
    equal([computed, await counts(cache), told], [1, [1, 0, 0], []]);
  },

  async 'a function compares what is computed'(env) {
    const asked = [];
    let label;
    const sameAnswer = (candidate, response, { signal }) => {
      asked.push([candidate, response, signal.aborted]);
      return label;
    };
    const { cache, told } = await bounded(env, { sameAnswer, now: () => START_MS });
    const expected = [0, 0, 0];
    for (const given of ['same', 'different', 'unknown']) {
      for (label of [given, Promise.resolve(given)]) {
        const context = `${asked.length}`;
        await cache.put('one at 0', 'stored', { context });
        await cache.getOrCompute('two at 10', () => 'computed', { context });
        expected[0] += 1;
        expected[1] += given === 'same' ? 0 : 1;
        expected[2] += given === 'unknown' ? 1 : 0;
        equal([asked.length, ...(await counts(cache))], [expected[0], ...expected], given);
        const [candidate, ...rest] = asked.at(-1);
        equal(
          [candidate.query, candidate.entryQuery, candidate.response, ...rest],
          ['two at 10', 'one at 0', 'stored', 'computed', false],
        );
        equal(candidate.createdAt.getTime(), START_MS);
      }
    }
    // Equal ones too: it decides.
    label = 'different';
    await cache.getOrCompute('equal at 10', () => 'first');
    equal(await counts(cache), [7, 5, 2]);
    // Values, as they are kept.
    await cache.getOrCompute('value at 10', () => ({ n: 1 }));
    equal(asked.at(-1)[1], '{"n":1}');
    equal(told, []);
  },

  async 'vectors of the responses compare what is computed'(env) {
    const embedder = directions();
    const sameAnswer = { leastSimilarity: 0.9 };
    const { cache, told } = await bounded(env, { embedder, sameAnswer });
    let n = 0;
    for (const [stored, response, expected, isEmbedded] of [
      ['North 10', 'norden 20', [1, 0, 0], true],
      ['North 10', 'east 80', [2, 1, 0], true],
      ['North 10', ' NORTH  10', [3, 1, 0], false],
      ['North 10', 'the opposite 190', [4, 2, 0], true],
    ]) {
      const context = `${n++}`;
      await cache.put('one at 0', stored, { context });
      embedder.asked.length = 0;
      await cache.getOrCompute(`two at 1${n}`, () => response, { context });
      equal(embedder.asked, [`two at 1${n}`, ...(isEmbedded ? [stored, response] : [])]);
      equal(await counts(cache), expected, response);
    }
    // At the very least it is the same.
    const { cache: least } = await bounded(env, { sameAnswer: { leastSimilarity: -1 } });
    await least.getOrCompute('two at 5', () => 'the opposite 180');
    equal(await counts(least), [1, 0, 0]);
    equal(told, []);
  },

  async 'a response that the embedder could not read is unknown'(env) {
    for (const [reading, allowUnreadable, expected] of [
      [{ tokens: 4 }, undefined, [1, 0, 0]],
      [{ tokens: 4, tokensRead: 3 }, undefined, [1, 1, 1]],
      [{ tokens: 4, tokensUnknown: 1 }, undefined, [1, 0, 0]],
      [{ tokens: 4, tokensUnknown: 2 }, undefined, [1, 1, 1]],
      [{ tokens: 0 }, undefined, [1, 1, 1]],
      [{ tokens: 4, tokensRead: 3 }, true, [1, 0, 0]],
    ]) {
      const embed = (texts) =>
        texts.map((text) => (/^r/.test(text) ? { vector: [1, 0], ...reading } : [1, 0]));
      const { cache, told } = await bounded(env, {
        embedder: directions({ embed }),
        sameAnswer: { leastSimilarity: 0.9 },
        allowUnreadable,
      });
      await cache.getOrCompute('two at 5', () => 'r');
      equal([await counts(cache), told], [expected, []], JSON.stringify([reading]));
    }
  },

  async 'a comparison that fails makes no label, and is told of'(env) {
    const failure = new RangeError('judge is ill');
    const nonsense = (what) => [() => what, /^sameAnswer returned .*; return 'same', 'diff/];
    let now = START_MS;
    let judge;
    const sameAnswer = (...args) => judge(...args);
    const { cache, told } = await bounded(env, { sameAnswer, now: () => now });
    let n = 0;
    const computes = async () => {
      n += 1;
      equal(await cache.getOrCompute(`question ${n} at 5`, () => `r${n}`), `r${n}`);
    };
    for (const [compare, words, cause, retryable = false] of [
      [
        () => {
          throw failure;
        },
        /^the comparer failed: judge is ill$/,
        failure,
      ],
      [() => Promise.reject(failure), /^the comparer failed: judge is ill$/, failure],
      [
        () => Promise.reject(Object.assign(new Error('service'), { status: 503 })),
        /service \(HTTP 503\)/,
        undefined,
        true,
      ],
      nonsense(undefined),
      nonsense(true),
      nonsense('SAME'),
      nonsense('secret '.repeat(1000)),
      nonsense({ label: 'same' }),
      nonsense(Promise.resolve(null)),
    ]) {
      now += 60_000;
      judge = compare;
      await computes();
      equal(told.length, 1);
      const [{ during, error }] = told.splice(0);
      equal(
        [during, error.name, error.code, error.retryable],
        ['label', 'ComparerError', 'comparer', retryable],
        String(words),
      );
      ok(words.test(error.message) && !/secret/.test(error.message), error.message);
      if (cause) ok(error.cause === cause, 'with what it threw');
      equal(await counts(cache), [0, 0, 0]);
    }
    // Failures in a row make it rest.
    now += 60_000;
    judge = () => 'same';
    await computes();
    let asked = 0;
    judge = () => {
      asked += 1;
      throw failure;
    };
    for (let i = 0; i < 10; i++) await computes();
    equal([asked, told.splice(0).length], [3, 10]);
    now += 60_000;
    judge = () => 'same';
    await computes();
    equal([await counts(cache), told], [[2, 0, 0], []]);
  },

  async 'labels that are refused, and an embedder that fails, are told of'(env) {
    const { cache, told: refused } = await bounded(env);
    const compute = async () => {
      // Somebody else labels the same question and entry first.
      const { nearest } = (await cache.lookUp('two at 5')).miss;
      await cache.feedback(nearest.ticket, 'different');
      return 'computed';
    };
    equal(await cache.getOrCompute('two at 5', compute), 'computed');
    equal(
      refused.map(({ during, error }) => [during, error.code]),
      [['label', 'invalid-argument']],
    );
    ok(/was used/.test(refused[0].error.message), refused[0].error.message);

    const { embed, ...rest } = directions();
    const failing = {
      ...rest,
      retries: 0,
      embed: (texts) => {
        if (texts.includes('computed')) throw new Error('no embedder');
        return embed(texts);
      },
    };
    const { cache: without, told } = await bounded(env, {
      embedder: failing,
      sameAnswer: { leastSimilarity: 0.9 },
    });
    equal(await without.getOrCompute('two at 5', () => 'computed'), 'computed');
    equal(
      told.map(({ during, error }) => [during, error.code]),
      [['label', 'embedder']],
    );
    equal(await counts(without), [0, 0, 0]);
    equal((await without.get('two at 5')).response, 'computed', 'it is kept');
  },

  async 'a comparison that never ends holds nobody past its limit'(env) {
    let now = START_MS;
    const signals = [];
    let isWell = false;
    const sameAnswer = (_candidate, _response, { signal }) => {
      if (isWell) return 'same';
      signals.push(signal);
      return new Promise(() => {});
    };
    const { cache, told } = await bounded(env, {
      embedder: directions({ timeoutSeconds: 0.05 }),
      sameAnswer,
      now: () => now,
    });
    // More than are compared at a time: those in line have no more time.
    const questions = Array.from({ length: 40 }, (_, n) => `question ${n} at 5`);
    const answers = questions.map((question) => cache.getOrCompute(question, () => question));
    equal(await Promise.all(answers), questions);
    const begun = signals.length;
    ok(begun > 0 && begun <= 16, `${begun} at a time`);
    ok(
      signals.every(({ aborted }) => aborted),
      'they hear of it',
    );
    equal(
      [...new Set(told.map(({ during, error }) => `${during} ${error.code}`))],
      ['label comparer'],
    );
    equal([told.length, await counts(cache)], [40, [0, 0, 0]]);
    const late =
      /^the comparer failed: .*not answered within 0\.05 s; raise embedder\.timeoutSeconds/;
    const { error } = told.find(({ error }) => late.test(error.message)) ?? {};
    equal(error?.retryable, true, told[0].error.message);
    told.length = 0;
    // It is left alone for a while.
    equal(await cache.getOrCompute('resting at 5', () => 'r'), 'r');
    equal(signals.length, begun);
    ok(/the comparer is not asked/.test(told.splice(0)[0].error.message), 'it says why');
    now += 60_000;
    isWell = true;
    equal(await cache.getOrCompute('well at 5', () => 'r'), 'r');
    equal([told, await counts(cache)], [[], [1, 0, 0]]);
  },

  async 'a store that hangs holds nobody who waits for a label past the limit'(env) {
    if (!env.hasJspi()) return;
    let hanging;
    let release;
    const store = asynchronous(env);
    const { getByHash } = store;
    store.getByHash = async (...args) => {
      await hanging;
      return getByHash(...args);
    };
    const { cache, told } = await bounded(env, {
      store,
      embedder: directions({ timeoutSeconds: 0.05 }),
      sameAnswer: () => {
        hanging = new Promise((resolve) => (release = resolve));
        cache.lookUp('one at 0').catch(() => {});
        return 'same';
      },
    });
    equal(await cache.getOrCompute('two at 5', () => 'r'), 'r');
    equal(
      told.map(({ during, error }) => [during, error.code, error.retryable]),
      [['label', 'comparer', true]],
    );
    ok(/took all the time; raise embedder\.timeoutSeconds/.test(told[0].error.message), 'why');
    hanging = undefined;
    release();
    equal(await counts(cache), [0, 0, 0]);
    await cache.close();
  },

  async 'others who ask do not wait for the label, nor does who gives up'(env) {
    const calls = [];
    const sameAnswer = () => new Promise((resolve) => calls.push(resolve));
    const { cache, told } = await bounded(env, { sameAnswer });
    const control = new AbortController();
    const first = cache
      .getOrCompute('two at 5', () => 'r', { signal: control.signal })
      .catch((error) => error.name);
    await until(() => calls.length === 1);
    equal(outcome(await cache.lookUp('two at 5')), 'r', 'it is kept');
    equal(await cache.getOrCompute('two at 5', () => 'other'), 'r');
    control.abort();
    equal(await first, 'AbortError');
    calls[0]('same');
    await until(async () => (await report(cache)).labels === 1);
    equal(told, []);
  },

  async 'what the labels do not open is not verified'(env) {
    let asked = 0;
    const verify = () => {
      asked += 1;
      return false;
    };
    const { cache } = await bounded(env, { verify });
    equal(outcome(await cache.lookUp('two at 5')), 'unproven');
    for (let n = 0; n < 300 && asked === 0; n++) {
      const { miss } = await cache.lookUp(`same ${n} at 5`);
      if (asked === 0) await cache.feedback(miss.nearest.ticket, 'same');
      else equal(miss, { reason: 'unverified' });
    }
    equal([asked, (await report(cache)).state], [1, 'open']);
  },
};
