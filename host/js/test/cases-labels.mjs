/** Cases of contexts and tags: who answers whom, and what is listed and erased by them. */

import { byLetters, entryOf, equal, fails, ok } from './support/check.mjs';

let databases = 0;

/** New stores: in memory, and those of this runtime. */
async function* stores(env) {
  for (const [name, make] of Object.entries({ memory: () => env.memory(), ...env.stores })) {
    yield [await make(`labels-${databases++}`), name];
  }
}

/** A cache on each of them. */
async function* caches(env, options = {}) {
  for await (const [store, name] of stores(env)) {
    yield [await env.SemanticCache.open({ store, ...byLetters(options) }), name];
  }
}

const idsOf = async (list) => (await Array.fromAsync(list)).map(({ id }) => id);

/** Eight entries, with ids from 1, stored a day apart. */
async function filled(cache, clock) {
  const put = async (query, options) => {
    clock.days += 1;
    return cache.put(query, query.toUpperCase(), options);
  };
  await put('abcdef', { tags: ['doc:1', 'user:7'] });
  await put('abcdef', { context: 'small', tags: ['doc:1'] });
  await put('ghijkl', { context: 'small', tags: ['doc:2'] });
  await put('mnopqr', { tags: ['user:7', 'doc:2'], metadata: { n: 4 }, ttlSeconds: 60 });
  await put('abcdef', { namespace: 'other', tags: ['doc:1'] });
  await put('stuvwx', { namespace: 'other', context: 'small' });
  await put('yzyzyz');
  await put('\u{1F980}', { context: '\u{1F980}', tags: ['\u{1F980}', '\uffee'] });
}

/** A clock of days, and the options that set it. */
function days() {
  const clock = { days: 20_000 };
  return [clock, { now: () => clock.days * 86_400_000 }];
}

export const labels = {
  async 'only entries of the context answer, exactly and by meaning'(env) {
    for await (const [cache, name] of caches(env)) {
      const contexts = ['', 'small', 'Small', 'small ', 'e\u0301', 'é', 'x'.repeat(1024)];
      for (const context of contexts) {
        await cache.put('abcdef', `in ${context}`, { context });
      }
      for (const context of contexts) {
        for (const [query, layer] of [
          ['ABCDEF', 'exact'],
          ['abcdeff', 'semantic'],
        ]) {
          const hit = await cache.get(query, { context });
          equal([hit.response, hit.layer, hit.context], [`in ${context}`, layer, context], name);
        }
        const many = await cache.getMany([{ query: 'abcdef', context }, 'abcdef']);
        equal(
          many.map(({ hit }) => hit.response),
          [`in ${context}`, 'in '],
        );
      }
      const { entries, counters } = await cache.stats();
      equal([entries, counters.hitsSemantic], [contexts.length, contexts.length], name);
      equal(await cache.lookUp('abcdeff', { context: 'none' }), { miss: { reason: 'no-match' } });
      const explained = await cache.explain('abcdeff', { context: 'small' });
      equal([explained.context, explained.rows, explained.candidates.length], ['small', 1, 1]);
      equal(await cache.delete('abcdef', { context: 'none' }), false);
      equal(await cache.delete('abcdef', { context: 'small' }), true);
      equal(await cache.get('abcdef', { context: 'small' }), undefined);
      equal((await cache.get('abcdef')).response, 'in ');
      await cache.put('abcdef', 'replaced', { context: 'Small' });
      equal((await cache.get('abcdef', { context: 'Small' })).response, 'replaced');
      equal((await cache.stats()).entries, contexts.length - 1);
      await cache.close();
    }
  },

  async 'only entries with the tags answer'(env) {
    for await (const [cache, name] of caches(env)) {
      await cache.put('abcdef', 'r', { tags: ['user:7', 'doc:1', '\u{1F980}', '\uffee'] });
      for (const query of ['abcdef', 'abcdeff']) {
        for (const tags of [[], ['doc:1'], ['user:7', 'doc:1'], ['\u{1F980}']]) {
          const hit = await cache.get(query, { tags });
          equal(
            [hit?.response, hit?.tags],
            ['r', ['doc:1', 'user:7', '\uffee', '\u{1F980}']],
            name,
          );
        }
        for (const tags of [['doc:2'], ['doc:1', 'doc:2'], ['doc'], ['Doc:1']]) {
          equal((await cache.lookUp(query, { tags })).miss.reason, 'no-match', `${name} ${tags}`);
        }
      }
      const { exact, candidates } = await cache.explain('abcdef', { tags: ['doc:2'] });
      equal([exact.verdict, exact.tags.length, candidates], ['other-tags', 4, []]);
      const near = await cache.explain('abcdeff', { tags: ['doc:2'] });
      equal([near.candidates[0].verdict, near.outcome.reason], ['other-tags', 'no-match']);
      await cache.put('abcdef', 's', { tags: ['doc:2'] });
      equal(await cache.get('abcdef', { tags: ['doc:1'] }), undefined, 'they are replaced');
      equal((await cache.get('abcdef', { tags: ['doc:2'] })).response, 's');
      equal(await idsOf(cache.entries({ tags: ['doc:1'] })), []);
      equal(await idsOf(cache.entries({ tags: ['doc:2'] })), [1]);
      await cache.close();
    }
  },

  async 'what is computed is kept with its context and tags, and shared with nobody else'(env) {
    for await (const [cache, name] of caches(env)) {
      let computed = 0;
      const compute = ({ tag }) => {
        tag('doc:1', 'doc:2');
        tag('user:7');
        return `r${++computed}`;
      };
      const scopes = [
        {},
        { context: 'small' },
        { tags: ['user:7'] },
        { tags: ['user:8'] },
        { namespace: 'other' },
      ];
      // With others' tags an entry is replaced; of those, the last remains.
      const first = await Promise.all(
        scopes.map((scope) => cache.getOrCompute('abcdef', compute, scope)),
      );
      equal(new Set(first).size, scopes.length, name);
      const [one, two] = await Promise.all([
        cache.resolve('ghijkl', compute, { tags: ['b', 'a'] }),
        cache.resolve('GHIJKL', compute, { tags: ['a', 'b'] }),
      ]);
      equal([one.value, two.value, two.origin], [one.value, one.value, 'shared'], name);
      const hit = await cache.get('ghijkl', { tags: ['a', 'doc:2'] });
      equal(hit.tags, ['a', 'b', 'doc:1', 'doc:2', 'user:7'], name);
      const small = await cache.resolve('abcdef', compute, { context: 'small' });
      equal([small.origin, small.hit.context], ['cache', 'small'], name);
      // What a computation says is checked like what a caller says.
      for (const wrong of [1, null, 'half \ud800']) {
        const saying = cache.getOrCompute('mnopqr', ({ tag }) => tag(wrong));
        await fails(saying, 'invalid-argument', /a tag is|a tag holds half/);
      }
      await cache.close();
    }
    const told = [];
    const cache = await env.SemanticCache.open({
      store: env.memory(),
      ...byLetters(),
      onError: (error, { during }) => told.push([error.code, during]),
    });
    const many = Array.from({ length: 33 }, (_, i) => `tag ${i}`);
    const resolved = await cache.resolve('abc', ({ tag }) => (tag(...many), 'r'));
    equal([resolved.value, resolved.cacheError.code], ['r', 'invalid-argument']);
    equal(told, [['invalid-argument', 'keep']]);
  },

  async 'entries are listed by what is known of them'(env) {
    const [clock, options] = days();
    for await (const [cache, name] of caches(env, options)) {
      clock.days = 20_000;
      await filled(cache, clock);
      for (const [filter, ids] of [
        [undefined, [1, 2, 3, 4, 5, 6, 7, 8]],
        [{}, [1, 2, 3, 4, 5, 6, 7, 8]],
        [{ namespace: 'default' }, [1, 2, 3, 4, 7, 8]],
        [{ context: '' }, [1, 4, 5, 7]],
        [{ context: 'small', namespace: 'default' }, [2, 3]],
        [{ tags: ['doc:1'] }, [1, 2, 5]],
        [{ tags: ['doc:2', 'user:7'] }, [4]],
        [{ tags: ['doc:1'], namespace: 'other' }, [5]],
        [{ tags: ['doc'] }, []],
        [{ tags: ['\u{1F980}'] }, [8]],
        [{ query: ' ABCDEF' }, [1, 2, 5]],
        [{ query: 'abcdef', context: '', namespace: 'default' }, [1]],
        [{ ids: [8, 3, 99, 3] }, [3, 8]],
        [{ ids: [] }, []],
        [{ minAgeSeconds: 5 * 86_400 }, [1, 2, 3]],
        [{ maxAgeSeconds: 86_400 }, [7, 8]],
        [{ minAgeSeconds: 5 * 86_400, tags: ['doc:1'], context: 'small' }, [2]],
      ]) {
        const what = `${name} ${JSON.stringify(filter)}`;
        equal(await idsOf(cache.entries(filter)), ids, what);
        const dry = {
          ...filter,
          ...(Object.keys(filter ?? {}).length ? {} : { everything: true }),
        };
        equal((await cache.erase(dry, { dryRun: true })).ids, ids, `${what}, erased`);
      }
      const [entry] = await Array.fromAsync(cache.entries({ ids: [4] }));
      equal(Object.keys(entry).includes('embedding'), false);
      const { queryHash, createdAt, lastAccessedAt, ...rest } = entry;
      ok(/^[0-9a-f]{64}$/.test(queryHash), queryHash);
      equal([+createdAt, +lastAccessedAt], [20_004 * 86_400_000, 20_004 * 86_400_000]);
      equal(
        Object.entries(rest).sort(),
        Object.entries({
          id: 4,
          namespace: 'default',
          context: '',
          query: 'mnopqr',
          response: 'MNOPQR',
          metadata: { n: 4 },
          tags: ['doc:2', 'user:7'],
          ttlSeconds: 60,
          accessCount: 0,
        }).sort(),
      );
      equal((await cache.stats()).entries, 8, 'and none of it counted');
      const pages = [];
      for (let after = 0; after !== undefined;) {
        const page = await cache.listEntries({ namespace: 'default' }, { after, limit: 2 });
        pages.push(page.entries.map(({ id }) => id));
        after = page.next;
        ok(pages.length < 9, 'it ends');
      }
      equal(pages.flat(), [1, 2, 3, 4, 7, 8], name);
      ok(
        pages.every((page) => page.length <= 2),
        'pages are as long as wanted',
      );
      await cache.close();
    }
  },

  async 'thousands of entries are listed and erased, each once'(env) {
    for await (const [store, name] of stores(env)) {
      const tags = (i) => ['all', ...(i === 2345 ? ['rare'] : []), `third ${i % 3}`];
      await store.open('letters-1', 26);
      for (let from = 0; from < 3000; from += 1000) {
        await store.insert(
          Array.from({ length: 1000 }, (_, i) =>
            entryOf({
              namespace: `n${(from + i) % 2}`,
              queryHash: String(from + i).padStart(64, '0'),
              tags: tags(from + i),
            }),
          ),
        );
      }
      // In one call, which looks at no more than a thousand entries: those with the tag.
      for (const tags of [['rare'], ['all', 'rare'], ['all', 'third 2', 'rare']]) {
        equal(
          await store.select({ tags }, 0, 10),
          { entries: [{ id: 2346, namespace: 'n1', createdAt: 1 }], next: undefined },
          `${name} ${tags}`,
        );
      }
      const none = await store.select({ tags: [], context: 'none' }, 0, 10);
      equal([none.entries.length, none.next], [0, 1000], `${name} takes a while`);
      const bare = await store.getByIds([2346], false);
      equal([bare[0].embedding.length, bare[0].tags], [0, ['all', 'rare', 'third 2']], name);
      await store.close();
      const cache = await env.SemanticCache.open({ store, ...byLetters() });
      equal(await idsOf(cache.entries({ tags: ['rare'] })), [2346], name);
      equal((await idsOf(cache.entries({ namespace: 'n1' }))).length, 1500, name);
      const before = cache.erase({ tags: ['third 1', 'all'], namespace: 'n1' });
      const { ids, versionBefore, versionAfter } = await before;
      const expected = Array.from({ length: 3000 }, (_, i) => i + 1);
      const meant = ({ id }) => (id - 1) % 3 === 1 && (id - 1) % 2 === 1;
      equal(
        ids,
        expected.filter((id) => meant({ id })),
        name,
      );
      ok(versionAfter > versionBefore, `${versionAfter} after ${versionBefore}`);
      equal(
        await idsOf(cache.entries()),
        expected.filter((id) => !meant({ id })),
        name,
      );
      const all = await cache.erase({ everything: true });
      equal([all.ids.length, (await cache.stats()).entries], [3000 - ids.length, 0], name);
      equal(await idsOf(cache.entries({ tags: ['all'] })), []);
      await cache.close();
    }
  },

  async 'an erasure has a dry run and a receipt, and answers nothing after it'(env) {
    const [clock, options] = days();
    for await (const [cache, name] of caches(env, options)) {
      await filled(cache, clock);
      await cache.get('abcdeff');
      const dry = await cache.erase({ tags: ['doc:1'] }, { dryRun: true });
      equal([dry.ids, dry.versionAfter - dry.versionBefore], [[1, 2, 5], 0], name);
      equal((await cache.stats()).entries, 8, name);
      const receipt = await cache.erase({ tags: ['doc:1'] });
      equal([receipt.ids, receipt.versionBefore], [[1, 2, 5], dry.versionAfter], name);
      ok(receipt.versionAfter > receipt.versionBefore, name);
      for (const query of ['abcdef', 'abcdeff']) {
        for (const scope of [{}, { context: 'small' }, { namespace: 'other' }]) {
          equal(await cache.get(query, scope), undefined, `${name} ${JSON.stringify(scope)}`);
        }
      }
      const nothing = await cache.erase({ tags: ['doc:1'] });
      equal([nothing.ids, nothing.versionBefore], [[], receipt.versionAfter], name);
      equal(nothing.versionAfter, nothing.versionBefore, 'nothing was there to delete');
      equal(await idsOf(cache.entries()), [3, 4, 6, 7, 8], name);
      // An id is never given again, and neither are tags.
      equal(await cache.put('abcdef', 'again'), 9);
      equal(await idsOf(cache.entries({ tags: ['doc:1'] })), []);
      await cache.setNamespaceQuota('other', 5);
      await cache.erase({ everything: true });
      equal([(await cache.stats()).entries, await cache.namespaceQuota('other')], [0, 5], name);
      await cache.close();
    }
  },

  async 'wrong contexts, tags and filters are refused, and change nothing'(env) {
    const cache = await env.SemanticCache.open({ store: env.memory(), ...byLetters() });
    await cache.put('abcdef', 'r', { context: 'x'.repeat(1024), tags: ['x'.repeat(128)] });
    const half = 'half \ud800';
    const many = Array.from({ length: 33 }, (_, i) => `tag ${i}`);
    const wrong = {
      context: ['x'.repeat(1025), 'é'.repeat(513), 'a\0b', 1, {}, ['a'], half],
      tags: [
        many,
        [''],
        ['a', 'b', 'a'],
        ['a\0b'],
        ['x'.repeat(129)],
        ['x'.repeat(10_240)],
        'a',
        null,
        7,
        {},
        [1],
        [half],
      ],
    };
    for (const [field, values] of Object.entries(wrong)) {
      for (const value of values) {
        const given = { [field]: value };
        for (const call of [
          () => cache.get('abcdef', given),
          () => cache.getMany([{ query: 'abcdef', ...given }]),
          () => cache.explain('abcdef', given),
          () => cache.put('abcdef', 's', given),
          () => cache.putMany([{ query: 'abcdef', response: 's', ...given }]),
          () => cache.getOrCompute('abcdef', () => ok(false, 'it computes'), given),
          () => cache.listEntries(given),
          () => cache.entries(given).next(),
          () => cache.erase(given),
          ...(field === 'context' ? [() => cache.delete('abcdef', given)] : []),
        ]) {
          const { message } = await fails(call(), 'invalid-argument');
          ok(new RegExp(field.slice(0, 3)).test(message), `${call}: ${message}`);
        }
      }
    }
    for (const [filter, says] of [
      [{}, /everything is meant/],
      [undefined, /everything is meant/],
      [{ everything: true, tags: ['a'] }, /leave one of them out/],
      [{ everything: 1 }, /everything is 1; give true or false/],
      [{ namespace: null }, /the namespace is null/],
      [{ context: null }, /the context is null/],
      [{ namespace: '' }, /namespace/],
      [{ query: 5 }, /the query is number/],
      [{ query: half }, /the query holds half/],
      [{ ids: 5 }, /the ids are of type number; give an array of numbers/],
      [{ ids: [1, -1] }, /an id is -1; give a whole number/],
      [{ ids: [undefined] }, /an id is of type undefined/],
      [{ ids: ['1'] }, /an id is of type string/],
      [{ ids: Array.from({ length: 1025 }, (_, i) => i) }, /1025 ids/],
      [{ minAgeSeconds: 0.5 }, /minAgeSeconds is 0.5/],
      [{ maxAgeSeconds: '1' }, /maxAgeSeconds is of type string/],
      [{ tag: 'a' }, /no option "tag"; did you mean tags\?/],
      [{ minAge: 5 }, /did you mean minAgeSeconds\?/],
      [[], /give an object/],
    ]) {
      await fails(cache.erase(filter), 'invalid-argument', says);
    }
    await fails(cache.erase({ ids: [1] }, { dryrun: true }), 'invalid-argument', /dryRun\?/);
    await fails(cache.erase({ ids: [1] }, { dryRun: 1 }), 'invalid-argument', /dryRun is 1/);
    await fails(cache.listEntries({ everything: true }), 'invalid-argument', /"everything"/);
    for (const limit of [0, 1025, -1, 1.5, '9']) {
      await fails(cache.listEntries({}, { limit }), 'invalid-argument', /limit is/);
    }
    await fails(cache.listEntries({}, { after: -1 }), 'invalid-argument', /after is/);
    equal((await cache.stats()).entries, 1);
    equal((await cache.get('abcdef', { context: 'x'.repeat(1024) })).response, 'r');
  },

  async 'a database of the first edition gets contexts and tags'(env) {
    for (const [name, change] of Object.entries(env.change ?? {})) {
      const database = `labels-${databases++}`;
      const open = async () =>
        env.SemanticCache.open({
          store: await env.stores[name](database),
          ...byLetters(),
        });
      const first = await open();
      await first.put('abcdef', 'first');
      await first.close();
      for (const sql of [
        'DROP TABLE entry_tags',
        'DROP TABLE changes',
        'ALTER TABLE entries DROP COLUMN context',
        'ALTER TABLE entries DROP COLUMN tags',
      ]) {
        await change(database, sql);
      }
      const cache = await open();
      const [entry] = await Array.fromAsync(cache.entries());
      equal([entry.context, entry.tags, entry.response], ['', [], 'first'], name);
      for (const query of ['abcdef', 'abcdeff']) {
        equal((await cache.get(query)).response, 'first', name);
        equal(await cache.get(query, { context: 'small' }), undefined, name);
      }
      await cache.put('abcdef', 'second', { context: 'small', tags: ['doc:1'] });
      equal((await cache.get('abcdeff', { context: 'small' })).response, 'second', name);
      equal((await cache.get('abcdeff')).response, 'first', name);
      equal((await cache.erase({ tags: ['doc:1'] })).ids.length, 1, name);
      equal((await cache.health({ deep: true })).problems, [], name);
      await cache.close();
    }
  },

  async 'contexts and tags are in archives'(env) {
    const [clock, options] = days();
    for await (const [cache, name] of caches(env, options)) {
      await filled(cache, clock);
      const all = await Array.fromAsync(cache.entries());
      for (const layout of ['portable', ...(name === 'node-sqlite' ? ['native'] : [])]) {
        const { archive } = await cache.dump({ layout });
        for await (const [other, to] of caches(env, options)) {
          if (layout === 'native' && to !== name) {
            await other.close();
            continue;
          }
          await other.put('here before', 'r', { tags: ['doc:1'] });
          await other.load(archive, { mode: 'replace' });
          const plain = (list) => list.map(({ id: _, ...one }) => one);
          const loaded = await Array.fromAsync(other.entries());
          equal(plain(loaded), plain(all), `${name} to ${to}, ${layout}`);
          const tagged = await Array.fromAsync(other.entries({ tags: ['doc:1'] }));
          equal(
            tagged.map(({ query, context, namespace }) => [namespace, context, query]),
            [
              ['default', '', 'abcdef'],
              ['default', 'small', 'abcdef'],
              ['other', '', 'abcdef'],
            ],
          );
          const hit = await other.get('abcdeff', { context: 'small', tags: ['doc:1'] });
          equal([hit.layer, hit.context], ['semantic', 'small']);
          await other.close();
        }
      }
      await cache.close();
    }
  },

  async 'a log of changes has what each write did, or says that it does not know'(env) {
    for await (const [store, name] of stores(env)) {
      if (store.capabilities().maxChanges > 0) {
        ok(store.capabilities().maxChanges >= 65_536, name);
        await checkChanges(store, name);
      }
    }
  },
};

async function checkChanges(store, name) {
  const bare = (n, more) => entryOf({ queryHash: String(n).padStart(64, '0'), ...more });
  store.open('letters-1', 26);
  const since = (version, limit = 1e6) => {
    const page = store.changesSince(version, limit);
    return page && [page.version, page.changes.map(({ id, deleted }) => (deleted ? -id : id))];
  };
  equal(since(0), [0, []]);
  store.insert([bare(1), bare(2), bare(1)]);
  store.updateAccess([{ id: 1, hits: 1, lastAccessedAt: 9 }]);
  const [{ id: third }] = store.insert([bare(3), bare(2)]);
  store.deleteUnchanged([
    { id: third, namespace: 'n', createdAt: 1 },
    { id: 1, namespace: 'n', createdAt: 1 },
    { id: 2, namespace: 'n', createdAt: 7 },
  ]);
  equal(store.deleteById(9), false);
  equal(since(0), [3, [1, 2, 2, third, -1, -third]], name);
  equal(since(1), [3, [2, third, -1, -third]]);
  equal(since(3), [3, []]);
  equal(since(4), undefined);
  // Whole versions, as many as the limit holds, or one.
  equal(since(0, 4), [2, [1, 2, 2, third]]);
  equal(since(0, 3), [1, [1, 2]]);
  equal(since(0, 1), [1, [1, 2]]);
  store.clearNamespace('n');
  equal(since(3), [4, [-2]]);
  store.insert(Array.from({ length: 1000 }, (_, i) => bare(i, { namespace: 'm' })));
  equal(since(4)[1].length, 1000);
  store.insert([bare(1, { namespace: 'o' })]);
  equal(store.clearNamespace(), 1001);
  equal(since(6), undefined, 'a write of more than 1,000 entries');
  equal(since(7), [7, []]);
  store.beginImport('merge');
  store.writeImport([bare(1)]);
  store.commitImport([], []);
  equal(since(7), undefined, 'an import');
  const [{ id: fourth }] = store.insert([bare(4)]);
  equal(since(8), [9, [fourth]]);
  // It forgets the oldest.
  const thousand = Array.from({ length: 1000 }, (_, i) => bare(i, { namespace: 'm' }));
  for (let n = 0; n < 140; n++) {
    store.insert(thousand);
  }
  const now = store.readVersionCounter();
  equal(since(9), undefined, name);
  for (const [limit, version, length] of [
    [10, now - 64, 1000],
    [65_536, now, 65_000],
  ]) {
    const page = since(now - 65, limit);
    equal([page[0], page[1].length], [version, length], name);
  }
  store.close();
  await fails((async () => store.changesSince(0, 1))(), 'closed');
}
