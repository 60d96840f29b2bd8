/** The package as it is published: what it exports, how large it is, what bundles it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { COMMANDS, hasChromium, hasRuntimes, load, unless } from './support/runtimes.mjs';

const NAME = 'mneme-cache-wasm';
/** Bytes, compressed with gzip, that a page loads for a cache: a growth beyond it is a decision. */
const MOST_BYTES = 428_000;

const PAGE = `
import { SemanticCache } from '${NAME}';
import { memory } from '${NAME}/stores/memory';
import { indexedDB } from '${NAME}/stores/indexeddb';

const answers = [];
for (const store of [memory(), indexedDB('bundled-' + Math.random())]) {
  const embedder = { fingerprint: 'x', dimensions: 2, embed: (texts) => texts.map(() => [1, 2]) };
  const cache = await SemanticCache.open({ store, embedder });
  await cache.put('question', 'answer');
  answers.push((await cache.get('another question')).response);
  await cache.close();
}
document.title = answers.join(' ');
`;

let folder;
let project;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mneme-package-'));
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: PACKAGE }),
  );
  project = join(folder, 'project');
  const modules = join(project, 'node_modules');
  mkdirSync(modules, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', modules]);
  execFileSync('mv', [join(modules, 'package'), join(modules, NAME)]);
  writeFileSync(join(project, 'package.json'), '{"type": "module"}');
  writeFileSync(join(project, 'page.js'), PAGE);
  writeFileSync(
    join(project, 'index.html'),
    '<!doctype html><title>-</title><script type="module" src="./page.js"></script>',
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

test('has no dependencies, and exports what it says, with types', async () => {
  const manifest = JSON.parse(readFileSync(join(project, 'node_modules', NAME, 'package.json')));
  assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined]);
  const files = (target) =>
    typeof target === 'string' ? [target] : Object.values(target).flatMap(files);
  for (const path of [...files(manifest.exports), ...files(manifest.bin)]) {
    const file = join(project, 'node_modules', NAME, path);
    assert.ok(readFileSync(file).length > 0, path);
    assert.ok(
      readFileSync(file.replace(/(\.d\.ts|\.js)$/, '.d.ts')).length > 0,
      `types of ${path}`,
    );
  }
  writeFileSync(
    join(project, 'all.mjs'),
    `export { SemanticCache, MnemeError } from '${NAME}';
     export { memory } from '${NAME}/stores/memory';
     export { judge } from '${NAME}/conformance';`,
  );
  const all = await import(join(project, 'all.mjs'));
  const cache = await all.SemanticCache.open({
    store: all.memory(),
    embedder: { fingerprint: 'x', dimensions: 2 },
  });
  assert.equal(await cache.put('q', 'r', { embedding: [1, 2] }), 1);
});

test('types say what people write', () => {
  writeFileSync(
    join(project, 'typed.mts'),
    `import { SemanticCache, BackendError, type Hit, type Store } from '${NAME}';
     import { memory } from '${NAME}/stores/memory';
     import { judge } from '${NAME}/conformance';

     const store: Store = memory();
     const embedder = { fingerprint: 'x', dimensions: 2, embed: async (texts: string[]) => texts.map(() => [1, 2]) };
     await using cache = await SemanticCache.open({ store, embedder, validator: ({ response }) => response !== '' });
     const hit: Hit | undefined = await cache.get('q', { threshold: 0.9 });
     const answer: string = await cache.getOrCompute('q', async () => 'r', { ttl: 60, metadata: { model: 'small' } });
     const { hit: found, miss } = await cache.lookUp('q');
     if (found) console.log(found.similarity); else console.log(miss.reason);
     const report = await judge(() => memory());
     console.log(hit?.response, answer, report.summary.failed, new BackendError('x').retryable);
     // @ts-expect-error: a cache needs an embedder
     await SemanticCache.open({ store });
     // @ts-expect-error: numbers are not responses
     await cache.put('q', 7);
    `,
  );
  const tsc = join(PACKAGE, 'node_modules', '.bin', 'tsc');
  const args = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2024,esnext.disposable,dom',
    '--types',
    '',
    'typed.mts',
  ];
  try {
    execFileSync(tsc, args, { cwd: project, encoding: 'utf8' });
  } catch ({ stdout }) {
    assert.fail(stdout);
  }
});

test('is no larger than it was', async (t) => {
  const dist = join(PACKAGE, 'dist');
  const size = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
  const { outputFiles } = await build({
    entryPoints: [join(dist, 'index.js')],
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
    external: ['./component/*'],
  });
  const sizes = {
    component: readdirSync(join(dist, 'component'))
      .filter((file) => /^mneme\.core\d*\.wasm$/.test(file))
      .reduce((sum, file) => sum + size(`component/${file}`), 0),
    'glue, synchronous': size('component/mneme.sync.js'),
    'glue, JSPI': size('component/mneme.jspi.js'),
    'the package itself': gzipSync(outputFiles[0].contents, { level: 9 }).length,
  };
  for (const [what, bytes] of Object.entries(sizes)) {
    t.diagnostic(`${what}: ${(bytes / 1000).toFixed(1)} kB gzipped`);
  }
  const loaded = sizes.component + sizes['glue, JSPI'] + sizes['the package itself'];
  t.diagnostic(`what a page loads: ${(loaded / 1000).toFixed(1)} kB gzipped`);
  assert.ok(loaded <= MOST_BYTES, `${loaded} bytes`);
});

describe('without any configuration', { skip: unless(hasChromium, 'Chromium') }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  async function titleOf(root, path = '/index.html') {
    const server = await serve(root);
    const page = await browser.context.newPage();
    const problems = [];
    page.on('pageerror', (error) => problems.push(error));
    try {
      await page.goto(server.url + path);
      await page.waitForFunction(() => document.title !== '-', undefined, { timeout: 30_000 });
      return await page.title();
    } catch (error) {
      assert.fail(`${error}; ${problems.join('; ')}`);
    } finally {
      await page.close();
      await server.close();
    }
  }

  test('esbuild bundles it', async () => {
    const out = join(folder, 'esbuild');
    await build({
      entryPoints: [join(project, 'page.js')],
      bundle: true,
      format: 'esm',
      outdir: out,
      logLevel: 'error',
    });
    writeFileSync(join(out, 'index.html'), readFileSync(join(project, 'index.html')));
    assert.equal(await titleOf(out), 'answer answer');
  });

  test('vite bundles it', { skip: unless(hasRuntimes, 'vite') }, async () => {
    const { build: vite } = await load('vite');
    const out = join(folder, 'vite');
    await vite({ root: project, configFile: false, logLevel: 'error', build: { outDir: out } });
    assert.equal(await titleOf(out), 'answer answer');
  });

  test('a page loads it as it is', async () => {
    const paths = {
      '': 'index',
      '/stores/memory': 'stores/memory',
      '/stores/indexeddb': 'stores/indexeddb',
    };
    const map = Object.entries(paths).map(([from, to]) => [
      NAME + from,
      `./node_modules/${NAME}/dist/${to}.js`,
    ]);
    writeFileSync(
      join(project, 'plain.html'),
      `<!doctype html><title>-</title>
       <script type="importmap">${JSON.stringify({ imports: Object.fromEntries(map) })}</script>
       <script type="module" src="./page.js"></script>`,
    );
    assert.equal(await titleOf(project, '/plain.html'), 'answer answer');
  });
});

describe('the command', { skip: unless(hasRuntimes, 'Node with SQLite') }, () => {
  const [node] = COMMANDS['Node with JSPI'];

  function conformance(...args) {
    const command = join(project, 'node_modules', NAME, 'dist/bin/mneme-cache-wasm.js');
    const options = { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
    try {
      return { code: 0, stdout: execFileSync(node, [command, 'conformance', ...args], options) };
    } catch ({ status, stdout, stderr }) {
      return { code: status, stdout, stderr };
    }
  }

  test('judges a store that is durable, with processes that are killed', () => {
    writeFileSync(
      join(project, 'durable.mjs'),
      `import { nodeSqlite } from '${NAME}/stores/node-sqlite';
       export default () => nodeSqlite(${JSON.stringify(join(folder, 'judged.db'))});`,
    );
    const { code, stdout } = conformance('./durable.mjs', '--json', '--seed', '0x2');
    const report = JSON.parse(stdout);
    assert.equal(code, 0, stdout);
    assert.equal(report.seed, '0x2');
    const killed = report.cases.filter(({ section }) => /crashes/.test(section));
    assert.ok(killed.length >= 5, 'there are cases with processes that are killed');
    assert.deepEqual(
      killed.filter(({ outcome }) => outcome !== 'passed'),
      [],
    );
  });

  test('finds what is wrong with a store', () => {
    writeFileSync(
      join(project, 'broken.mjs'),
      `import { MemoryStore } from '${NAME}/stores/memory';
       export default () => Object.assign(new MemoryStore(), { readVersionCounter: () => 0 });`,
    );
    const { code, stdout } = conformance('./broken.mjs', '--case', '*counter*');
    assert.equal(code, 1);
    assert.match(stdout, /The memory store DOES NOT CONFORM/);
    assert.match(stdout, /failed: /);
    assert.match(stdout, /expected {3}/);
  });

  test('says how it is used', () => {
    for (const args of [
      [],
      ['./none.mjs'],
      ['./durable.mjs', '--seed', 'x'],
      ['./durable.mjs', '--case', 'none'],
      ['./durable.mjs', '--odd'],
    ]) {
      const { code, stderr } = conformance(...args);
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, /error: .*\n\nFor more information, try --help/s);
    }
    assert.match(conformance('--help').stdout, /Usage: /);
    assert.match(conformance('--list').stdout, /^new storage\n  /);
  });
});
