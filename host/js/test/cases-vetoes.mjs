/** Cases of vetoes: what differs between two questions that look alike. */

import { byLetters, equal, fails, outcome } from './support/check.mjs';

const ON = 'How do I turn on the lights in room 3?';
const OFF = 'How do I turn off the lights in room 3?';

function open({ SemanticCache, memory }, options = {}) {
  return SemanticCache.open({ store: memory(), ...byLetters(options) });
}

export const vetoes = {
  async 'what says something else does not answer, and stays'(env) {
    const events = [];
    const onEvent = (event) => events.push(event);
    const cache = await open(env, { vetoes: undefined, onEvent });
    await cache.put(ON, 'up');
    equal(await cache.lookUp(OFF), { miss: { reason: 'vetoed' } });
    const { candidates, outcome: explained } = await cache.explain(OFF);
    equal(explained, { reason: 'vetoed' });
    const [{ verdict, vetoes, partial }] = candidates;
    equal(
      [verdict, vetoes, partial],
      ['vetoed', [{ kind: 'opposites', query: 'turn off', entry: 'turn on' }], false],
    );
    equal(events.slice(1), [
      { type: 'veto', namespace: 'default', kind: 'opposites' },
      { type: 'miss', namespace: 'default', reason: 'vetoed' },
    ]);
    const stats = await cache.stats();
    const one = { opposites: 1, negation: 0, numbers: 0, dates: 0, identifiers: 0 };
    const counted = { ...one, roles: 0, names: 0, 'question-word': 0 };
    equal([stats.entries, stats.counters.vetoes], [1, counted]);
    equal((await cache.stats('default')).namespaces[0]?.counters.vetoes, counted);
    // The next one answers.
    await cache.put('Please, how do I turn off the lights in room 3?', 'down');
    equal(outcome(await cache.lookUp(OFF)), 'down');
    equal((await cache.explain(OFF)).candidates.map((of) => of.verdict).sort(), [
      'answers',
      'vetoed',
    ]);
  },

  async 'after four candidates with a veto a question misses'(env) {
    const cache = await open(env, { vetoes: 'default' });
    await cache.put('please how do i turn off the lights in room 3', 'down');
    for (const room of [4, 5, 6, 7]) {
      await cache.put(`how do i turn off the lights in room ${room}`, `room ${room}`);
    }
    const question = 'how do i turn off the lights in room 3';
    equal(outcome(await cache.lookUp(question)), 'vetoed');
    const verdicts = (await cache.explain(question)).candidates.map(({ verdict }) => verdict);
    equal(verdicts, ['vetoed', 'vetoed', 'vetoed', 'vetoed', 'untried']);
    await cache.delete('how do i turn off the lights in room 4');
    equal(outcome(await cache.lookUp(question)), 'down');
  },

  async 'vetoes are chosen by cache and by question'(env) {
    for (const [ofCache, ...questions] of [
      [undefined, [undefined, 'vetoed']],
      ['default', [undefined, 'vetoed'], ['none', 'up'], [[], 'up']],
      ['strict', [undefined, 'vetoed'], [['numbers'], 'up']],
      [
        ['numbers', 'dates'],
        [undefined, 'up'],
        [['roles', 'opposites'], 'vetoed'],
      ],
      ['none', [undefined, 'up'], ['default', 'vetoed'], ['strict', 'vetoed']],
      [[], [undefined, 'up']],
    ]) {
      const cache = await open(env, { vetoes: ofCache });
      for (const [vetoes, expected] of questions) {
        const of = { vetoes, namespace: JSON.stringify([vetoes]) };
        await cache.put(ON, 'up', { namespace: of.namespace });
        const what = JSON.stringify([ofCache, vetoes]);
        equal(outcome(await cache.lookUp(OFF, of)), expected, what);
        equal((await cache.get(OFF, of))?.response ?? 'vetoed', expected, what);
        equal((await cache.getMany([{ query: OFF, ...of }])).map(outcome), [expected], what);
        equal((await cache.explain(OFF, of)).outcome.reason ?? 'up', expected, what);
        const { value, origin } = await cache.resolve(OFF, () => 'computed', of);
        const computed = ['computed', 'computed'];
        equal([value, origin], expected === 'up' ? ['up', 'cache'] : computed, what);
      }
    }
  },

  async 'two questions are judged as look-ups judge them'(env) {
    const cache = await open(env, { vetoes: ['numbers', 'opposites'] });
    const opposites = { kind: 'opposites', query: 'turn off', entry: 'turn on' };
    equal(await cache.judge(OFF, ON), { vetoes: [opposites], partial: false });
    equal((await cache.judge(OFF, ON, 'none')).vetoes, []);
    equal((await cache.judge(OFF, ON, ['dates'])).vetoes, []);
    const many = await cache.judge('Turn on 4 lamps', 'Turn off 3 lamps', 'default');
    equal(
      many.vetoes.map(({ kind }) => kind),
      ['opposites', 'numbers'],
    );
    const names = ['Who is Anna Smith?', 'Who is Anna Brown?'];
    equal((await cache.judge(...names, 'default')).vetoes, []);
    equal((await cache.judge(...names, 'strict')).vetoes[0]?.kind, 'names');
    const { vetoes, partial } = await cache.judge(`${OFF} ${'a'.repeat(9000)}`, ON);
    equal([vetoes[0]?.kind, partial], ['opposites', true]);
    await fails(cache.judge(7, ON), 'invalid-argument', /the query is number/);
    await fails(cache.judge(OFF, null), 'invalid-argument', /the query of the entry is null/);
    await fails(cache.judge(OFF, '\uD800'), 'invalid-argument', /surrogate/);
  },

  async 'what is no kind of veto is an error'(env) {
    const cache = await open(env);
    await cache.put(ON, 'up');
    for (const [vetoes, words] of [
      ['numbers', /vetoes are "numbers"; give default, strict, none, or an array of kinds/],
      ['', /vetoes are ""/],
      [['number'], /a kind of veto is "number"; give opposites, .* or question-word/],
      [['questionWord'], /"questionWord"/],
      [['numbers', 'numbers'], /the veto numbers comes twice; give it once/],
      [[, 'numbers'], /a kind of veto is undefined/],
      [[null], /a kind of veto is null/],
      [null, /vetoes are null; give an array/],
      [7, /vetoes are of type number/],
      [{ numbers: true }, /vetoes are of type object/],
    ]) {
      await fails(cache.lookUp(OFF, { vetoes }), 'invalid-argument', words);
      await fails(cache.getMany([ON, { query: OFF, vetoes }]), 'invalid-argument', words);
      await fails(cache.explain(OFF, { vetoes }), 'invalid-argument', words);
      let isComputed = false;
      const compute = () => (isComputed = true) && 'r';
      await fails(cache.getOrCompute(OFF, compute, { vetoes }), 'invalid-argument', words);
      equal(isComputed, false);
    }
    for (const [options, words] of [
      [{ vetoes: 'numbers' }, /vetoes are "numbers"/],
      [{ vetoes: ['number'] }, /a kind of veto is "number"/],
      [{ vetoes: ['dates', 'numbers', 'dates'] }, /the veto dates comes twice/],
      [{ vetoes: null }, /vetoes are null/],
    ]) {
      await fails(open(env, options), 'invalid-argument', words);
    }
  },
};
