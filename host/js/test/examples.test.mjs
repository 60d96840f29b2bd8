/** The examples that use the package. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { PACKAGE } from './support/chromium.mjs';
import { hasRuntimes, load, unless } from './support/runtimes.mjs';

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

  test('answers each tenant from a cache of its own', async () => {
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
