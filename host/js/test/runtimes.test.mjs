/** The same cases, and the same answers, in every runtime. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SemanticCache } from '../dist/index.js';
import { memory } from '../dist/stores/memory.js';
import { judging } from './judging.mjs';
import { script } from './script.mjs';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { pairs } from './support/pairs.mjs';
import { COMMANDS, hasChromium, hasRuntimes, json, load, unless } from './support/runtimes.mjs';
import { startWorkerd } from './support/workerd.mjs';

const here = script({ SemanticCache, memory });
const judged = judging({ SemanticCache, memory }, pairs());

async function check(t, { jspi, stores, results }, expected) {
  assert.equal(jspi, expected.jspi, 'JSPI');
  assert.deepEqual(stores, expected.stores);
  for (const { name, ok, error } of results) {
    await t.test(name, () => assert.ok(ok, error));
  }
}

/** Where a hundred thousand calls fail; elsewhere a thousand do, for it is the same script. */
const PATIENT = 'Node with JSPI';

// Two at a time, for a runtime keeps one core busy.
describe('outside of browsers', { concurrency: 2 }, () => {
  for (const runtime of Object.keys(COMMANDS)) {
    describe(runtime, { skip: unless(hasRuntimes, runtime) }, () => {
      test('cases', async (t) => {
        const expected = { jspi: runtime !== 'Node without JSPI', stores: ['node-sqlite'] };
        const failures = runtime === PATIENT ? ['--failures=100000'] : [];
        await check(t, await json(runtime, 'test/support/run.mjs', ...failures), expected);
      });
      test('the script gives the same lines', async () => {
        assert.deepEqual(await json(runtime, 'test/support/script.mjs'), await here);
      });
      test('pairs of questions are judged alike', async () => {
        assert.deepEqual(await json(runtime, 'test/support/judging.mjs'), await judged);
      });
    });
  }

  describe('workerd', { skip: unless(hasRuntimes, 'workerd') }, () => {
    let workerd;
    before(async () => {
      workerd = await startWorkerd(await load('miniflare'));
    });
    after(() => workerd?.close());
    test('cases', async (t) => {
      await check(t, await workerd.get('/cases'), { jspi: true, stores: ['durable-object'] });
    });
    test('the script gives the same lines', async () => {
      assert.deepEqual(await workerd.get('/script'), await here);
    });
  });
});

describe('Chromium', { skip: unless(hasChromium, 'Chromium') }, () => {
  let server;
  let browser;
  let page;
  before(async () => {
    server = await serve(PACKAGE);
    browser = await launch();
    page = await browser.context.newPage();
    await page.goto(`${server.url}/test/pages/blank.html`);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  test('cases, in a page', async (t) => {
    const outcome = await page.evaluate(async () => {
      const [
        { SemanticCache, hasJspi },
        { judge },
        { MemoryStore, memory },
        { indexedDB },
        { run },
      ] = await Promise.all(
        [
          '/dist/index.js',
          '/conformance/dist/index.js',
          '/dist/stores/memory.js',
          '/dist/stores/indexeddb.js',
          '/test/cases.mjs',
        ].map((path) => import(path)),
      );
      const stores = { indexeddb: (database) => indexedDB(database) };
      const results = await run({ SemanticCache, hasJspi, judge, memory, MemoryStore, stores });
      return { jspi: hasJspi(), stores: Object.keys(stores), results };
    });
    await check(t, outcome, { jspi: true, stores: ['indexeddb'] });
  });
  test('cases, in a Worker', async (t) => {
    const outcome = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const worker = new Worker('/test/support/page-worker.mjs', { type: 'module' });
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => reject(new Error(message));
          worker.postMessage('');
        }),
    );
    await check(t, outcome, { jspi: true, stores: ['opfs'] });
  });
  test('the script gives the same lines', async () => {
    const lines = await page.evaluate(async () => {
      const [{ SemanticCache }, { memory }, { script }] = await Promise.all(
        ['/dist/index.js', '/dist/stores/memory.js', '/test/script.mjs'].map(
          (path) => import(path),
        ),
      );
      return script({ SemanticCache, memory });
    });
    assert.deepEqual(lines, await here);
  });
  test('pairs of questions are judged alike', async () => {
    const lines = await page.evaluate(async (pairs) => {
      const [{ SemanticCache }, { memory }, { judging }] = await Promise.all(
        ['/dist/index.js', '/dist/stores/memory.js', '/test/judging.mjs'].map(
          (path) => import(path),
        ),
      );
      return judging({ SemanticCache, memory }, pairs);
    }, pairs());
    assert.deepEqual(lines, await judged);
  });
});
