/** What only a browser does to a store: tabs, reloads, quotas, data that is deleted. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { hasChromium, unless } from './support/runtimes.mjs';

describe('IndexedDB in Chromium', { skip: unless(hasChromium, 'Chromium') }, () => {
  let server;
  let browser;
  before(async () => {
    server = await serve(PACKAGE);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  /** A new tab, in which `open(name, options)` opens a cache. */
  async function tab() {
    const page = await browser.context.newPage();
    await prepare(page);
    return page;
  }

  async function prepare(page) {
    await page.goto(`${server.url}/test/pages/blank.html`);
    await page.evaluate(async () => {
      const { SemanticCache } = await import('/dist/index.js');
      const { indexedDB: idb } = await import('/dist/stores/indexeddb.js');
      const { byLetters } = await import('/test/support/check.mjs');
      globalThis.open = async (name, options = {}) => {
        globalThis.cache = await SemanticCache.open({
          store: idb(name),
          ...byLetters(options),
        });
      };
      globalThis.outcome = (promise) =>
        promise.then(
          (value) => ({ value }),
          ({ code, message, retryable }) => ({ code, message, retryable }),
        );
    });
  }

  test('entries survive a reload, and the end of a tab', async () => {
    const page = await tab();
    await page.evaluate(async () => {
      await open('reload');
      await cache.put('How do I reset my password?', 'Follow the link.');
      // Not closed: a tab is gone without a word.
    });
    await prepare(page);
    const hit = await page.evaluate(async () => {
      await open('reload');
      return cache.get('How do I reset my passwords?');
    });
    assert.equal(hit.response, 'Follow the link.');
    await page.close();
    const other = await tab();
    const response = await other.evaluate(async () => {
      await open('reload');
      return (await cache.get('how do i reset my password?')).response;
    });
    assert.equal(response, 'Follow the link.');
    await other.close();
  });

  test('a tab that is closed in the middle of a put loses nothing that was acknowledged', async () => {
    const BATCH = 20;
    let acknowledged = 0;
    for (let round = 0; round < 6; round++) {
      const page = await tab();
      let count = 0;
      let enough;
      const reached = new Promise((resolve) => (enough = resolve));
      await page.exposeFunction('acknowledge', () => {
        count += 1;
        if (count === 2 + round) enough();
      });
      await page.evaluate(async (batch) => {
        await open('closing');
        void (async () => {
          for (let n = (await cache.stats()).entries / batch; ; n++) {
            const text = (i) => `question ${n * batch + i} ${'abcdefghij'[i % 10].repeat(n + 1)}`;
            const answers = Array.from({ length: batch }, (_, i) => ({
              query: text(i),
              response: 'r'.repeat(5000),
            }));
            await cache.putMany(answers);
            globalThis.acknowledge();
          }
        })();
      }, BATCH);
      await reached;
      // While the next is on its way.
      await page.close();
      acknowledged += count;
      const other = await tab();
      const { entries, healthy } = await other.evaluate(async () => {
        await open('closing');
        const { healthy } = await cache.health({ deep: true });
        return { entries: (await cache.stats()).entries, healthy };
      });
      await other.close();
      assert.equal(healthy, true, `round ${round}`);
      assert.equal(entries % BATCH, 0, 'a step is there, or it is not');
      assert.ok(entries >= acknowledged * BATCH, `${entries} of ${acknowledged * BATCH}`);
      acknowledged = entries / BATCH;
    }
  });

  test('tabs see what the others write', async () => {
    const [one, two] = [await tab(), await tab()];
    for (const page of [one, two]) {
      await page.evaluate(() => open('tabs'));
    }
    await one.evaluate(() => cache.put('abcdefgh', 'from one'));
    assert.equal(
      await two.evaluate(async () => (await cache.get('ABCDEFGH'))?.response),
      'from one',
    );
    // By meaning: the index follows, and rests between its looks for a moment.
    const finds = (page, question, response) =>
      page.waitForFunction(
        async ([question, response]) => (await cache.get(question))?.response === response,
        [question, response],
        { timeout: 10_000 },
      );
    await finds(two, 'abcdefghh', 'from one');
    await one.evaluate(() => cache.put('mnopqrst', 'later'));
    await finds(two, 'mnopqrstt', 'later');
    await two.evaluate(() => cache.put('abcdefgh', 'from two'));
    await finds(one, 'abcdefghh', 'from two');
    await two.evaluate(() => cache.delete('abcdefgh'));
    assert.equal(
      await one.evaluate(async () => (await cache.get('abcdefghh'))?.response),
      undefined,
    );
    await two.evaluate(() => cache.delete('mnopqrst'));
    const both = await Promise.all(
      [one, two].map((page, i) =>
        page.evaluate(async (i) => {
          for (let n = 0; n < 50; n++) await cache.put(`question ${n % 10}`, `${i}`);
          return (await cache.stats()).entries;
        }, i),
      ),
    );
    assert.deepEqual(both, [10, 10]);
    await one.close();
    await two.close();
  });

  test('a database that is deleted while it is open is an error once, and then all goes on', async () => {
    const [one, two] = [await tab(), await tab()];
    await one.evaluate(async () => {
      await open('deleted', { onError: () => {} });
      await cache.put('abcdefgh', 'old');
      await cache.get('abcdefghh');
    });
    const remove = () =>
      two.evaluate(
        () =>
          new Promise((resolve, reject) => {
            const request = indexedDB.deleteDatabase('deleted');
            request.onsuccess = resolve;
            request.onerror = () => reject(request.error);
            request.onblocked = () => reject(new Error('it is held up by the other tab'));
          }),
      );
    await remove();
    const { code, message, retryable } = await one.evaluate(() => outcome(cache.get('abcdefgh')));
    assert.deepEqual([code, retryable], ['backend', true]);
    assert.match(message, /was deleted while it was open; the next call begins with an empty one/);
    const after = await one.evaluate(async () => {
      // The ids begin again, and the index has forgotten what it knew.
      await cache.put('mnopqrst', 'new');
      return [
        await cache.get('abcdefghh'),
        (await cache.get('mnopqrstt')).response,
        (await cache.stats()).entries,
      ];
    });
    assert.deepEqual(after, [undefined, 'new', 1]);
    await remove();
    const kept = await one.evaluate(async () => {
      const first = await cache.resolve('question', () => 'computed');
      const second = await cache.resolve('question', () => 'again');
      return [first.value, second.value, second.origin];
    });
    assert.deepEqual(kept, ['computed', 'computed', 'cache']);
    await one.close();
    await two.close();
  });

  test('a database that the browser closes is opened again', async () => {
    const page = await tab();
    const found = await page.evaluate(async () => {
      const { indexedDB: idb } = await import('/dist/stores/indexeddb.js');
      const connections = [];
      const factory = {
        open: (...args) => {
          const request = indexedDB.open(...args);
          request.addEventListener('success', () => connections.push(request.result));
          return request;
        },
      };
      await open('closed', { store: idb('closed', { factory }) });
      await cache.put('abcdefgh', 'kept');
      const last = () => connections.at(-1);
      // As a browser does: the connection is closed, and then told so.
      last().close();
      last().dispatchEvent(new Event('close'));
      const one = (await cache.get('abcdefgh')).response;
      // The event may come later than the next call.
      last().close();
      const two = (await cache.get('abcdefghh')).response;
      last().close();
      await cache.put('other', 'r');
      return [one, two, (await cache.stats()).entries, connections.length];
    });
    assert.deepEqual(found, ['kept', 'kept', 2, 4]);
    await page.close();
  });

  test('data that the browser clears is an error once, and then all goes on', async () => {
    const page = await tab();
    await page.evaluate(async () => {
      await open('cleared', { onError: () => {} });
      await cache.put('q', 'r');
    });
    const session = await browser.context.newCDPSession(page);
    const { origin } = new URL(page.url());
    await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'indexeddb' });
    const found = await page.evaluate(async () => {
      const first = await outcome(cache.get('q'));
      const kept = await cache.getOrCompute('q', () => 'computed');
      return [first.code, kept, (await cache.get('q')).response];
    });
    assert.deepEqual(found, ['backend', 'computed', 'computed']);
    await page.close();
  });

  test('a row with a number that nobody writes is damage, told with its id', async () => {
    const page = await tab();
    const found = await page.evaluate(async () => {
      const { openDatabase, result } = await import('/dist/stores/idb/requests.js');
      const found = [];
      for (const wrong of [
        { ttl: -1 },
        { createdAt: 2 ** 53 },
        { accessCount: 0.5 },
        { lastAccessedAt: '7' },
      ]) {
        const name = `rows-${JSON.stringify(wrong)}`;
        await open(name);
        await cache.put('abcdefgh', 'r', { ttlSeconds: 60 });
        await cache.close();
        const db = await openDatabase(indexedDB, name, 2, () => {});
        const heads = db.transaction('heads', 'readwrite').objectStore('heads');
        await result(heads.put({ ...(await result(heads.get(1))), ...wrong }));
        db.close();
        await open(name);
        found.push(await outcome(cache.get('abcdefgh')));
      }
      return found;
    });
    for (const { code, message } of found) {
      assert.equal(code, 'corrupt', message);
      assert.match(message, /entry 1 has a number that is not one from 0 to/);
    }
    await page.close();
  });

  test('a database that another tab upgrades is let go of', async () => {
    const [one, two] = [await tab(), await tab()];
    await one.evaluate(() => open('upgraded', { onError: () => {} }));
    await two.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const request = indexedDB.open('upgraded', 99);
          request.onsuccess = () => resolve(request.result.close());
          request.onblocked = () => reject(new Error('it is held up by the other tab'));
        }),
    );
    for (const refused of [
      await one.evaluate(() => outcome(cache.get('q'))),
      await two.evaluate(() => outcome(open('upgraded'))),
    ]) {
      assert.equal(refused.code, 'schema');
      assert.match(refused.message, /later version/);
    }
    assert.equal(await one.evaluate(() => cache.getOrCompute('q', () => 'r')), 'r');
    await one.close();
    await two.close();
  });

  test('a database of the first edition is upgraded, also under another tab', async () => {
    const [one, two] = [await tab(), await tab()];
    const found = await one.evaluate(async () => {
      const { openDatabase, result } = await import('/dist/stores/idb/requests.js');
      // As the first edition made it, and wrote to it.
      const db = await openDatabase(indexedDB, 'first', 1, (db) => {
        const heads = db.createObjectStore('heads', { keyPath: 'id' });
        heads.createIndex('key', ['namespace', 'queryHash'], { unique: true });
        heads.createIndex('namespace', 'namespace');
        heads.createIndex('lru', ['lastAccessedAt', 'id']);
        heads.createIndex('lruIn', ['namespace', 'lastAccessedAt', 'id']);
        heads.createIndex('expiry', 'expiresAt');
        heads.createIndex('expiryIn', ['namespace', 'expiresAt']);
        db.createObjectStore('bodies', { keyPath: 'id' });
        db.createObjectStore('vectors', { keyPath: 'id' });
        for (const name of ['settings', 'meta', 'quotas', 'blobs']) db.createObjectStore(name);
      });
      await open('normal');
      const { hash } = await cache.normalize('abcdef');
      await cache.close();
      const { letters } = await import('/test/support/check.mjs');
      const vector = letters()
        .embed(['abcdef'])[0]
        .map((value) => value / Math.sqrt(6));
      const rows = {
        heads: {
          id: 1,
          namespace: 'default',
          queryHash: hash,
          createdAt: 1,
          lastAccessedAt: 1,
          accessCount: 0,
        },
        bodies: { id: 1, query: 'abcdef', response: 'first', metadata: '{}' },
        vectors: { id: 1, vector },
      };
      const transaction = db.transaction([...Object.keys(rows), 'settings'], 'readwrite');
      for (const [store, row] of Object.entries(rows)) transaction.objectStore(store).put(row);
      for (const [key, value] of Object.entries({
        lastId: 1,
        version: 1,
        embedder: { fingerprint: 'letters-1', dim: 26 },
      })) {
        transaction.objectStore('settings').put(value, key);
      }
      await new Promise((resolve) => (transaction.oncomplete = resolve));
      // The first edition lets go of a database that is upgraded.
      db.onversionchange = () => db.close();
      return result(db.transaction('heads').objectStore('heads').count());
    });
    assert.equal(found, 1);
    const upgraded = await two.evaluate(async () => {
      await open('first');
      const before = [];
      for await (const { context, tags } of cache.entries()) before.push([context, tags]);
      const hits = [await cache.get('abcdef'), await cache.get('abcdeff')];
      await cache.put('abcdef', 'second', { context: 'small', tags: ['doc:1'] });
      const tagged = [];
      for await (const { id } of cache.entries({ tags: ['doc:1'] })) tagged.push(id);
      const small = await cache.get('abcdeff', { context: 'small', tags: ['doc:1'] });
      return [
        before,
        hits.map((hit) => hit?.response),
        tagged,
        small?.response,
        (await cache.get('abcdeff')).response,
        (await cache.health({ deep: true })).healthy,
      ];
    });
    assert.deepEqual(upgraded, [[['', []]], ['first', 'first'], [2], 'second', 'first', true]);
    // The first edition is told.
    const late = await one.evaluate(async () => {
      const { openDatabase } = await import('/dist/stores/idb/requests.js');
      return outcome(openDatabase(indexedDB, 'first', 1, () => {}));
    });
    assert.equal(late.code, 'schema');
    await one.close();
    await two.close();
  });

  test('a database that is held up by another tab gives an error that may be retried', async () => {
    const [one, two] = [await tab(), await tab()];
    // An older version, held by somebody who does not let go.
    await one.evaluate(async () => {
      const { openDatabase } = await import('/dist/stores/idb/requests.js');
      globalThis.held = await openDatabase(indexedDB, 'blocked', 1, () => {});
    });
    const { code, message, retryable } = await two.evaluate(async () => {
      const { openDatabase } = await import('/dist/stores/idb/requests.js');
      return outcome(openDatabase(indexedDB, 'blocked', 2, () => {}));
    });
    assert.deepEqual([code, retryable], ['backend', true]);
    assert.match(message, /another tab has an older version open/);
    await one.close();
    await two.close();
  });

  test('a database of something else is refused, and left as it is', async () => {
    const page = await tab();
    const { code, message, stores } = await page.evaluate(async () => {
      const { openDatabase } = await import('/dist/stores/idb/requests.js');
      const mine = await openDatabase(indexedDB, 'foreign', 1, (db) =>
        db.createObjectStore('mine'),
      );
      mine.close();
      const refused = await outcome(open('foreign'));
      const after = await openDatabase(indexedDB, 'foreign', 1, () => {});
      return { ...refused, stores: [...after.objectStoreNames] };
    });
    assert.equal(code, 'schema');
    assert.match(message, /belongs to something else/);
    assert.deepEqual(stores, ['mine']);
    await page.close();
  });

  test('a quota that is exceeded is a typed error, with nothing half written', async (t) => {
    // A separate browser: another remembers for a while how much room there was.
    const small = await launch();
    t.after(() => small.close());
    const page = await small.context.newPage();
    await prepare(page);
    const session = await small.context.newCDPSession(page);
    const { origin } = new URL(page.url());
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 });
    await page.evaluate(async () => {
      await open('quota');
      await cache.put('kept', 'r');
    });
    const refused = await page.evaluate(async () => {
      const before = (await cache.stats()).entries;
      // What compresses would need no room.
      const response = Array.from({ length: 100_000 }, () =>
        Math.random().toString(36).slice(2, 12),
      ).join('');
      const many = Array.from({ length: 20 }, (_, i) => ({ query: `q${i}`, response }));
      const refused = await outcome(cache.putMany(many));
      return { ...refused, added: (await cache.stats()).entries - before };
    });
    assert.equal(refused.code, 'backend');
    assert.match(refused.message, /no more room/);
    assert.equal(refused.added, 0);
    const after = await page.evaluate(async () => {
      await cache.put('after', 'r');
      return [(await cache.get('kept')).response, (await cache.health()).healthy];
    });
    assert.deepEqual(after, ['r', true]);
  });

  test('a page without IndexedDB is told so', async () => {
    const page = await tab();
    const refused = await page.evaluate(async () => {
      const { indexedDB: idb } = await import('/dist/stores/indexeddb.js');
      const missing = await outcome(open('x', { store: idb('x', { factory: null }) }));
      const denied = {
        open: () => {
          throw new DOMException('denied', 'SecurityError');
        },
      };
      const refused = await outcome(open('x', { store: idb('x', { factory: denied }) }));
      return [missing, refused];
    });
    // Without a factory the page's own is taken, which is there.
    assert.equal(refused[0].code, undefined);
    assert.equal(refused[1].code, 'backend');
    assert.match(refused[1].message, /cannot be opened here/);
    await page.evaluate(() => {
      Object.defineProperty(globalThis, 'indexedDB', { value: undefined, configurable: true });
    });
    const gone = await page.evaluate(() => outcome(open('x')));
    assert.equal(gone.code, 'unsupported');
    assert.match(gone.message, /IndexedDB is missing here/);
    await page.close();
  });

  test('a file store whose files are removed by clearing the site keeps nothing more, and says so', async () => {
    const start = () => {
      const source = `
        import { SemanticCache } from '${location.origin}/dist/index.js';
        import { opfs } from '${location.origin}/dist/stores/opfs.js';
        import { byLetters } from '${location.origin}/test/support/check.mjs';
        const open = async () =>
          SemanticCache.open({ store: await opfs('cleared'), ...byLetters(), onError: () => {} });
        const cache = await open();
        const asks = {
          put: () => cache.put('abcdefgh', 'r'),
          compute: () => cache.getOrCompute('wxyz', () => 'computed'),
          close: () => cache.close(),
        };
        onmessage = async ({ data }) => {
          try {
            postMessage({ value: await asks[data]() });
          } catch ({ code, message }) {
            postMessage({ code, message });
          }
        };
        postMessage('open');`;
      const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
      const worker = new Worker(url, { type: 'module' });
      const answer = () =>
        new Promise((resolve) => {
          worker.onmessage = ({ data }) => resolve(data);
        });
      globalThis.ask = (what) => {
        const answered = answer();
        worker.postMessage(what);
        return answered;
      };
      return answer();
    };
    const page = await tab();
    await page.evaluate(start);
    const ask = (what) => page.evaluate((one) => globalThis.ask(one), what);
    assert.deepEqual(await ask('put'), { value: 1 });
    const devtools = await browser.context.newCDPSession(page);
    await devtools.send('Storage.clearDataForOrigin', {
      origin: server.url,
      storageTypes: 'file_systems',
    });
    // It looks about once a second.
    const deadline = Date.now() + 30_000;
    let refused;
    while (refused?.code === undefined && Date.now() < deadline) {
      refused = await ask('put');
    }
    assert.equal(refused.code, 'backend');
    assert.match(refused.message, /files were removed while it was open.*reload the page/);
    assert.equal((await ask('put')).code, 'backend', 'and so is the next');
    assert.deepEqual(await ask('compute'), { value: 'computed' });
    // It ends, whatever it says.
    await ask('close');
    await page.close();
  });

  test('two Workers cannot have one file store open', async () => {
    const page = await tab();
    const refused = await page.evaluate(async () => {
      const source = `
        import { opfs } from '${location.origin}/dist/stores/opfs.js';
        try {
          globalThis.store = await opfs('shared');
          postMessage({ ok: true });
        } catch ({ code, retryable, message }) {
          postMessage({ code, retryable, message });
        }`;
      const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
      const ask = () =>
        new Promise((resolve) => {
          const worker = new Worker(url, { type: 'module' });
          worker.onmessage = ({ data }) => resolve(data);
        });
      return [await ask(), await ask()];
    });
    assert.equal(refused[0].ok, true);
    assert.deepEqual([refused[1].code, refused[1].retryable], ['backend', true]);
    assert.match(refused[1].message, /another tab or Worker has it open/);
    await page.close();
  });
});
