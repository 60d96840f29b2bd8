/** The examples that use the package. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { hasChromium, hasRuntimes, load, unless } from './support/runtimes.mjs';

const EXAMPLES = join(PACKAGE, '../../examples');
const [, COMPATIBILITY_DATE] = /"compatibility_date": "([^"]+)"/.exec(
  readFileSync(join(EXAMPLES, 'durable-object/wrangler.jsonc'), 'utf8'),
);

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
      compatibilityDate: COMPATIBILITY_DATE,
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
    for (const body of [null, [], 'text', 7, true, {}]) {
      const [status, { error, code }] = await ask('PUT', 'acme/answers', body);
      assert.deepEqual(
        [status, code],
        [400, 'invalid-argument'],
        `${JSON.stringify(body)}: ${error}`,
      );
    }
    const unread = await miniflare.dispatchFetch('http://example/tenants/acme/answers', {
      method: 'PUT',
      body: '{',
    });
    assert.equal(unread.status, 400);
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

    /** Until nothing is under way. */
    function idle() {
      return page.waitForSelector('html:not([data-busy])', { timeout: 60_000 });
    }

    const text = (selector) => page.textContent(selector);

    async function ask(question) {
      await page.fill('#question', question);
      await page.evaluate(() => document.querySelector('#result').replaceChildren());
      await page.press('#question', 'Enter');
      await page.waitForSelector('#result > *');
      await idle();
    }

    const focused = () => page.evaluate(() => document.activeElement.id);

    test('an empty page offers questions, and fills the cache for them', async () => {
      assert.match(await text('#empty'), /It is empty/);
      await page.click('.suggestion >> nth=0');
      await page.waitForSelector('#result .answer');
      await idle();
      assert.match(await text('#result .answer'), /Forgot password/);
      assert.ok(await page.isHidden('#empty'));
      assert.match(await page.evaluate(() => document.activeElement.className), /suggestion/);
      await page.click('#clear');
      await page.waitForSelector('#sure[open]');
      await page.keyboard.press('Escape');
      await idle();
      assert.equal(await text('#entries'), '40', 'nothing is deleted without a yes');
      assert.equal(await focused(), 'clear');
      await page.click('#clear');
      await page.click('#sure button[value=yes]');
      await page.waitForFunction(() => document.querySelector('#entries').textContent === '0');
      await idle();
      assert.equal(await focused(), 'clear');
    });

    test('answers what means the same, by keyboard alone', async () => {
      await page.focus('#fill');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('#entries').textContent === '40');
      await idle();
      assert.equal(await focused(), 'fill');
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
      assert.equal(await page.locator('#result .near li').count(), 3, 'the nearest are shown');
      assert.equal(await page.locator('#result .mark').count(), 3);
      // The answer has the focus now; Tab goes to the button.
      await page.keyboard.type('330 metres.');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.waitForFunction(
        () => document.querySelector('#result .answer')?.textContent === '330 metres.',
      );
      await idle();
      assert.match(await text('#result .facts'), /Layer exact.*Similarity 1\.000/);
      await page.screenshot({
        path: join(artefacts, 'browser-example-taught.png'),
        fullPage: true,
      });
      assert.equal(await text('#entries'), '41');
    });

    test('moving the slider asks again', async () => {
      await ask('I forgot my password, how can I reset it?');
      const mark = () => page.$eval('#result .mark', ({ style }) => style.left);
      assert.equal(await mark(), '75%');
      await page.focus('#threshold');
      await page.keyboard.press('End');
      await page.waitForSelector('#result .miss');
      await idle();
      assert.equal(await mark(), '100%');
      assert.equal(await focused(), 'threshold');
      await page.fill('#threshold', '0.75');
      await page.waitForSelector('#result .answer');
      await idle();
    });

    test('what asks for something else is no answer, and says why', async () => {
      await ask('How do I turn off two-factor authentication?');
      assert.match(await text('#result .miss'), /asks for something else/);
      assert.equal(await text('#result .veto'), '“turn off”, not “turn on”');
    });

    test('what the encoder cannot read is said to be so', async () => {
      await ask('什么是语义缓存的含义？你好吗？');
      assert.match(await text('#result .miss'), /cannot read enough/);
    });

    test('the encoder refuses half of a surrogate pair', async () => {
      const told = await page.evaluate(async () => {
        const { startEncoder } = await import('./encoder.js');
        const encoder = await startEncoder();
        const outcomes = [];
        for (const texts of [['how are you?'], ['a', '\ud800'], ['\udc00b']]) {
          const outcome = encoder.embed(texts).then(
            ([{ vector }]) => `${vector.length} values`,
            (error) => `${error.name}: ${error.message}`,
          );
          outcomes.push(await outcome);
        }
        return outcomes;
      });
      assert.equal(told[0], '384 values');
      assert.match(told[1], /^TypeError: a text holds half of a surrogate pair/);
      assert.equal(told[2], told[1]);
    });

    test('another tab sees what this one keeps', async () => {
      const other = await browser.context.newPage();
      await other.goto(server.url);
      await other.waitForSelector('html[data-ready]', { timeout: 60_000 });
      const asks = async (question) => {
        await other.fill('#question', question);
        await other.press('#question', 'Enter');
        await other.waitForSelector('#result:not([hidden])');
        await other.waitForSelector('html:not([data-busy])');
        return other.textContent('#result');
      };
      assert.match(await asks('Who painted the Mona Lisa?'), /similar enough/);
      await ask('Who painted the Mona Lisa?');
      await page.fill('#answer', 'Leonardo da Vinci.');
      await page.click('#teach button');
      await page.waitForSelector('#result .answer');
      await idle();
      const deadline = Date.now() + 10_000;
      let said;
      do {
        said = await asks('Who is the painter of the Mona Lisa?');
      } while (!/Leonardo/.test(said) && Date.now() < deadline);
      assert.match(said, /Leonardo da Vinci/);
      await other.close();
    });

    test('a missing encoder is told, with what to do', async () => {
      const without = mkdtempSync(join(tmpdir(), 'mneme-site-'));
      cpSync(join(EXAMPLES, 'browser/site'), without, {
        recursive: true,
        filter: (path) => !/site\/encoder\b(?!-|\.)/.test(path),
      });
      const lacking = await serve(without);
      const other = await browser.context.newPage();
      await other.goto(lacking.url);
      await other.waitForSelector('#broken:not([hidden])', { timeout: 60_000 });
      assert.match(await other.textContent('#broken'), /encoder cannot be loaded.*npm run build/);
      assert.ok(await other.isDisabled('#question'));
      await other.close();
      await lacking.close();
      rmSync(without, { recursive: true, force: true });
    });

    test('an error is in sight on a phone, in the dark', async () => {
      const phone = await browser.context.newPage();
      await phone.setViewportSize({ width: 390, height: 780 });
      await phone.emulateMedia({ colorScheme: 'dark' });
      await phone.goto(server.url);
      await phone.waitForSelector('html[data-ready]', { timeout: 60_000 });
      await phone.setInputFiles('#file', {
        name: 'broken.tar.gz',
        mimeType: 'application/gzip',
        buffer: Buffer.from('no archive'),
      });
      await phone.waitForSelector('#status.error');
      const { y, height } = await phone.locator('#status').boundingBox();
      assert.ok(y >= 0 && y + height <= 780, `the message is at ${y}`);
      const overflow = await phone.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      );
      assert.equal(overflow, false, 'nothing is cut off at the side');
      await phone.screenshot({ path: join(artefacts, 'browser-example-phone.png') });
      await phone.close();
    });

    test('fits a desktop and a phone, in light and dark', async () => {
      for (const [device, viewport] of [
        ['desktop', { width: 1280, height: 800 }],
        ['phone', { width: 390, height: 844 }],
      ]) {
        for (const colorScheme of ['light', 'dark']) {
          const other = await browser.context.newPage();
          await other.setViewportSize(viewport);
          await other.emulateMedia({ colorScheme });
          await other.goto(server.url);
          await other.waitForSelector('html[data-ready]', { timeout: 60_000 });
          await other.fill('#question', 'Which river flows through Paris?');
          await other.press('#question', 'Enter');
          await other.waitForSelector('#result .near');
          await other.waitForSelector('html:not([data-busy])');
          const cut = await other.evaluate(() => {
            const { scrollWidth, clientWidth } = document.documentElement;
            const small = [...document.querySelectorAll('button, input')]
              .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 24)
              .map(({ id }) => id);
            return { isWide: scrollWidth > clientWidth, small };
          });
          assert.deepEqual(cut, { isWide: false, small: [] }, `${device}, ${colorScheme}`);
          const path = join(artefacts, `browser-example-${device}-${colorScheme}.png`);
          await other.screenshot({ path, fullPage: true });
          await other.close();
        }
      }
    });

    test('entries survive a reload', async () => {
      await open();
      assert.equal(await text('#entries'), '42');
      await ask('how high is the eiffel tower?');
      assert.equal(await text('#result .answer'), '330 metres.');
    });

    test('the cache goes into a file, and comes out of one', async () => {
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('#dump')]);
      const file = join(artefacts, 'mneme.tar.gz');
      await download.saveAs(file);
      await idle();
      assert.match(await text('#status'), /42 entries/);
      await page.click('#clear');
      await page.click('#sure button[value=yes]');
      await page.waitForFunction(() => document.querySelector('#entries').textContent === '0');
      await idle();
      await page.setInputFiles('#file', file);
      await page.waitForFunction(() => document.querySelector('#entries').textContent === '42');
      await idle();
      await ask('How tall is the Eiffel Tower?');
      assert.equal(await text('#result .answer'), '330 metres.');
      await page.setInputFiles('#file', {
        name: 'broken.tar.gz',
        mimeType: 'application/gzip',
        buffer: Buffer.from('no archive'),
      });
      await page.waitForSelector('#status.error');
      assert.equal(await text('#entries'), '42');
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
