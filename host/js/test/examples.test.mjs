/** The examples that use the package. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { hasChromium, hasRuntimes, load, unless } from './support/runtimes.mjs';

const EXAMPLES = join(PACKAGE, '../../examples');

describe('examples/durable-object', { skip: unless(hasRuntimes, 'workerd') }, () => {
  let folder;
  let miniflare;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mneme-example-'));
    symlinkSync(PACKAGE, join(folder, 'mneme-cache-wasm'));
    const out = join(folder, 'out');
    // As wrangler bundles it.
    await build({
      entryPoints: [join(EXAMPLES, 'durable-object/src/index.js')],
      bundle: true,
      format: 'esm',
      outdir: out,
      nodePaths: [folder],
      conditions: ['workerd', 'worker', 'browser'],
      external: ['cloudflare:workers'],
      loader: { '.wasm': 'copy' },
      logLevel: 'error',
    });
    const { Miniflare } = await load('miniflare');
    const files = readdirSync(out).sort((a) => (a === 'index.js' ? -1 : 1));
    miniflare = new Miniflare({
      modulesRoot: out,
      modules: files.map((path) => ({
        type: path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
        path: join(out, path),
        contents: readFileSync(join(out, path)),
      })),
      compatibilityDate: '2026-07-01',
      durableObjects: { TENANTS: { className: 'TenantCache', useSQLite: true } },
      host: '127.0.0.1',
      port: 0,
    });
    await miniflare.ready;
  });
  after(async () => {
    await miniflare?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  async function ask(method, path, body) {
    const response = await miniflare.dispatchFetch(`http://example/tenants/${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return [response.status, await response.json()];
  }

  test('answers each tenant from its own cache', async () => {
    const question = 'How do I reset my password?';
    const answer = 'Follow the link on the sign-in page.';
    assert.deepEqual(await ask('PUT', 'acme/answers', { question, answer }), [201, { id: 1 }]);
    const [status, hit] = await ask('GET', 'acme/answers?question=how+do+i+reset+my+passwords?');
    assert.deepEqual([status, hit.response, hit.layer], [200, answer, 'semantic']);
    const exact = await ask('GET', `acme/answers?question=${encodeURIComponent(question)}`);
    assert.equal(exact[1].layer, 'exact');
    const other = await ask('GET', `other/answers?question=${encodeURIComponent(question)}`);
    assert.deepEqual(other, [404, { reason: 'no-match' }]);
    const [, stats] = await ask('GET', 'acme/stats');
    assert.deepEqual([stats.entries, stats.counters.hitsExact], [1, 1]);
    const [, gone] = await ask('DELETE', `acme/answers?question=${encodeURIComponent(question)}`);
    assert.deepEqual(gone, { deleted: true });
  });

  test('refuses what makes no sense', async () => {
    assert.equal((await ask('PUT', 'acme/answers', { question: 7, answer: 'r' }))[0], 400);
    assert.equal((await ask('GET', 'acme/answers'))[0], 400);
    assert.equal((await ask('GET', 'acme/nothing'))[0], 404);
    assert.equal((await ask('GET', 'a%2Fb/answers?question=q'))[0], 404);
  });
});

describe(
  'examples/browser',
  { skip: unless(hasChromium && canBuild(), 'Chromium, or no cargo') },
  () => {
    const artefacts = process.env.MNEME_ARTEFACTS ?? join(PACKAGE, 'artefacts');
    let server;
    let browser;
    let page;
    const problems = [];

    before(async () => {
      mkdirSync(artefacts, { recursive: true });
      const example = join(EXAMPLES, 'browser');
      execFileSync(process.execPath, ['build.mjs'], { cwd: example, stdio: 'inherit' });
      server = await serve(join(example, 'site'));
      browser = await launch({ viewport: { width: 900, height: 900 }, acceptDownloads: true });
      page = await browser.context.newPage();
      page.on('pageerror', (error) => problems.push(String(error)));
      await open();
    });
    after(async () => {
      await browser?.close();
      await server?.close();
    });

    async function open() {
      await page.goto(server.url);
      await page.waitForSelector('html[data-ready]', { timeout: 60_000 });
      await idle();
    }

    /** Until nothing is under way: buttons are off meanwhile. */
    function idle() {
      return page.waitForSelector('#ask button:enabled', { timeout: 60_000 });
    }

    const text = (selector) => page.textContent(selector);

    async function ask(question) {
      await page.fill('#question', question);
      await page.press('#question', 'Enter');
      await idle();
    }

    test('answers what means the same, by keyboard alone', async () => {
      await page.click('#fill');
      await idle();
      assert.equal(await text('#entries'), '40');
      await ask('I forgot my password, how can I reset it?');
      assert.match(await text('#result .answer'), /Forgot password/);
      assert.match(
        await text('#result .facts'),
        /Layer semantic.*Similarity 0\.[89].*Took [\d.]+ ms/,
      );
      await page.screenshot({ path: join(artefacts, 'browser-example.png'), fullPage: true });
      await ask('How tall is the Eiffel Tower?');
      assert.match(await text('#result'), /similar enough/);
      // The answer has the focus now; Tab goes to the button.
      await page.keyboard.type('330 metres.');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await idle();
      assert.equal(await text('#result .answer'), '330 metres.');
      assert.match(await text('#result .facts'), /Layer exact.*Similarity 1\.000/);
      await page.screenshot({
        path: join(artefacts, 'browser-example-taught.png'),
        fullPage: true,
      });
      assert.equal(await text('#entries'), '41');
    });

    test('entries survive a reload', async () => {
      await open();
      assert.equal(await text('#entries'), '41');
      await ask('how high is the eiffel tower?');
      assert.equal(await text('#result .answer'), '330 metres.');
    });

    test('the cache goes into a file, and comes out of one', async () => {
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('#dump')]);
      const file = join(artefacts, 'mneme.tar.gz');
      await download.saveAs(file);
      await idle();
      assert.match(await text('#status'), /41 entries/);
      await page.click('#clear');
      await idle();
      assert.equal(await text('#entries'), '0');
      await page.setInputFiles('#file', file);
      await page.waitForFunction(() => document.querySelector('#entries').textContent === '41');
      await idle();
      await ask('How tall is the Eiffel Tower?');
      assert.equal(await text('#result .answer'), '330 metres.');
      await page.setInputFiles('#file', {
        name: 'broken.tar.gz',
        mimeType: 'application/gzip',
        buffer: Buffer.from('no archive'),
      });
      await page.waitForSelector('#status.error');
      assert.equal(await text('#entries'), '41');
    });

    test('works with the network off', async () => {
      await page.evaluate(() => navigator.serviceWorker.ready);
      await open();
      await server.close();
      await browser.context.setOffline(true);
      await open();
      await ask('I forgot my password, how can I reset it?');
      assert.match(await text('#result .answer'), /Forgot password/);
    });

    test('nothing went wrong in the page', () => {
      assert.deepEqual(problems, []);
    });
  },
);

/** Whether the encoder is there, or can be built. */
function canBuild() {
  return Boolean(process.env.MNEME_ENCODER) || spawnSync('cargo', ['--version']).status === 0;
}
