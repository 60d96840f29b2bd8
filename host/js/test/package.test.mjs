/** The package as it is published: what it exports, how large it is, what bundles it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';
import { PACKAGE, launch, serve } from './support/chromium.mjs';
import { COMMANDS, hasChromium, hasRuntimes, load, unless } from './support/runtimes.mjs';

const NAME = 'mneme-cache-wasm';
const BATTERY = 'mneme-cache-wasm-conformance';
/** Bytes, compressed with gzip, that a page loads for a cache: a growth beyond it is a decision. */
const MOST_BYTES = 585_000;
/** The same for the one file, which has the stores of browsers in it. */
const MOST_STATIC_BYTES = 570_000;
/** Bytes of the package as it is installed. */
const MOST_INSTALLED_BYTES = 5_400_000;

const ASK = `
const answers = [];
for (const store of [memory(), indexedDB('bundled-' + Math.random())]) {
  const embedder = { fingerprint: 'x', dimensions: 2, embed: (texts) => texts.map(() => [1, 2]) };
  const cache = await SemanticCache.open({ store, embedder });
  await cache.put('question', 'answer');
  answers.push((await cache.get('another question')).response);
  await cache.close();
}`;

const PAGE = `
import { SemanticCache } from '${NAME}';
import { memory } from '${NAME}/stores/memory';
import { indexedDB } from '${NAME}/stores/indexeddb';
${ASK}
document.title = answers.join(' ');
`;

/** A worker that tells its answers to whoever asks. */
const WORKER = (from) => `
import { SemanticCache, indexedDB, memory } from '${from}';
async function ask() {
  ${ASK}
  return answers.join(' ');
}
addEventListener('message', async (event) => {
  const to = event.source ?? self;
  to.postMessage(await ask().catch((error) => String(error)));
});
`;

let folder;
let project;

/** Packs a package as npm does, and installs it into the project. */
function install(path, name) {
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: path }),
  );
  const to = join(project, 'node_modules', name);
  mkdirSync(to, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', to, '--strip-components=1']);
  return to;
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mneme-package-'));
  project = join(folder, 'project');
  install(PACKAGE, NAME);
  install(join(PACKAGE, 'conformance'), BATTERY);
  writeFileSync(join(project, 'package.json'), '{"type": "module"}');
  writeFileSync(join(project, 'page.js'), PAGE);
  writeFileSync(
    join(project, 'index.html'),
    '<!doctype html><title>-</title><script type="module" src="./page.js"></script>',
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const name of [NAME, BATTERY]) {
  test(`${name} has no dependencies, and exports what it says, with types`, async () => {
    const root = join(project, 'node_modules', name);
    const manifest = JSON.parse(readFileSync(join(root, 'package.json')));
    assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined]);
    assert.ok(manifest.keywords.length > 2 && manifest.description && manifest.license);
    const files = (target) =>
      typeof target === 'string' ? [target] : Object.values(target).flatMap(files);
    const named = [manifest.exports, manifest.bin ?? {}, manifest.main, manifest.types];
    for (const path of named.flatMap(files)) {
      assert.ok(readFileSync(join(root, path)).length > 0, path);
    }
    for (const path of files(manifest.exports['.']).filter((one) => one.endsWith('.js'))) {
      const types = path.replace('index', name === NAME ? 'index' : 'conformance');
      assert.ok(readFileSync(join(root, types.replace(/\.js$/, '.d.ts'))).length > 0, types);
    }
  });
}

test('works when it is installed', async () => {
  writeFileSync(
    join(project, 'all.mjs'),
    `export { SemanticCache, MnemeError } from '${NAME}';
     export { memory } from '${NAME}/stores/memory';
     export { judge } from '${BATTERY}';`,
  );
  const all = await import(join(project, 'all.mjs'));
  const cache = await all.SemanticCache.open({
    store: all.memory(),
    embedder: { fingerprint: 'x', dimensions: 2 },
  });
  assert.equal(await cache.put('q', 'r', { embedding: [1, 2] }), 1);
  const { summary } = await all.judge(() => all.memory(), {
    filter: ({ name }) => /^a/.test(name),
  });
  assert.ok(summary.passed > 5 && summary.failed === 0);
});

test('maps its scripts to their sources', () => {
  const dist = join(project, 'node_modules', NAME, 'dist');
  const scripts = readdirSync(dist, { recursive: true }).filter(
    (path) => path.endsWith('.js') && !/^component\b|^static\.js$/.test(path),
  );
  assert.ok(scripts.length > 20);
  for (const path of scripts) {
    const script = readFileSync(join(dist, path), 'utf8');
    assert.match(script, /\n\/\/# sourceMappingURL=\S+\.js\.map\s*$/, path);
    const { sourcesContent } = JSON.parse(readFileSync(join(dist, `${path}.map`)));
    assert.ok(sourcesContent[0].length > 0, path);
  }
});

function typed(name, source, ...more) {
  writeFileSync(join(project, name), source);
  const tsc = join(PACKAGE, 'node_modules', '.bin', 'tsc');
  const strict = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--skipLibCheck',
    'false',
  ];
  const args = [...strict, '--module', 'nodenext', '--target', 'es2022', ...more, name];
  try {
    execFileSync(tsc, args, { cwd: project, encoding: 'utf8' });
  } catch ({ stdout }) {
    assert.fail(stdout);
  }
}

const TYPED = `import { SemanticCache, BackendError, type BoundReport, type Embedder, type Hit, type Receipt, type SameAnswer, type Store, type Verifier, type Veto } from '${NAME}';
     import { memory } from '${NAME}/stores/memory';

     const store: Store = memory();
     const embedder: Embedder = { fingerprint: 'x', dimensions: 2, maxBatch: 64, embed: async (texts, { signal }) => texts.map(() => ({ vector: [1, 2], tokens: signal.aborted ? 1 : 2 })) };
     const ttlSeconds: number | undefined = undefined;
     const cache: SemanticCache = await SemanticCache.open({ store, embedder, validator: ({ response }) => response !== '', defaultTtlSeconds: ttlSeconds });
     const judges: Verifier = async ({ query, entryQuery, createdAt }, { signal }) => signal.aborted || createdAt.getTime() > 0 && query === entryQuery ? 'unknown' : false;
     const verifying = await SemanticCache.open({ store, embedder, vetoes: ['numbers', 'question-word'], verify: judges, verifyBand: 0.75, verifyLater: true });
     const vetoes: Veto[] = (await verifying.judge('q', 'r', 'strict')).vetoes;
     console.log(vetoes[0]?.kind, (await verifying.stats()).counters.vetoes['question-word']);
     const sameAnswer: SameAnswer = async ({ response }, computed, { signal }) => signal.aborted ? 'unknown' : response === computed ? 'same' : 'different';
     const bounded = await SemanticCache.open({ store, embedder, errorBound: { delta: 0.1, of: 'requests' }, sameAnswer });
     const nearest = (await bounded.lookUp('q')).miss?.nearest;
     if (nearest) await bounded.feedback(nearest.ticket, nearest.candidate.response === 'r' ? 'same' : 'unknown', { source: 'judged' });
     const bound: BoundReport | undefined = (await bounded.stats('default')).bound;
     console.log(bound?.needed?.toFixed(), bound?.state === 'open');
     const hit: Hit | undefined = await cache.get('q', { threshold: 0.9, namespace: undefined });
     if (hit) console.log(await cache.link('q', { id: hit.id, createdAt: hit.createdAt }));
     const answer: string = await cache.getOrCompute('q', async () => 'r', { ttlSeconds, metadata: { model: 'small' } });
     const value: { n: number } = await cache.getOrCompute('q', async () => ({ n: 1 }));
     const told: string = await cache.getOrCompute('q', ({ tag }) => { tag('a', 'b'); return 'r'; }, { context: 'c', tags: ['a'] });
     for await (const { id, createdAt, tags } of cache.entries({ tags: ['a'], minAgeSeconds: 60 })) console.log(id, createdAt.getTime(), tags.length, told);
     const { ids, versionAfter }: Receipt = await cache.erase({ context: '', query: 'q' }, { dryRun: true });
     console.log(ids.length, versionAfter, (await cache.listEntries({}, { limit: 5 })).next);
     const { hit: found, miss } = await cache.lookUp('q');
     if (found) console.log(found.similarity); else console.log(miss.reason);
     const thing: unknown = cache;
     if (thing instanceof SemanticCache) await thing.close();
     await cache.put('q', 'r', { ttlSeconds: undefined });
     console.log(hit?.response, answer, value.n, new BackendError('x').retryable);
     // @ts-expect-error: a cache needs an embedder
     await SemanticCache.open({ store });
     // @ts-expect-error: numbers are not responses
     await cache.put('q', 7);
     // @ts-expect-error: no such option
     await cache.put('q', 'r', { ttl: 60 });
     // @ts-expect-error: no such kind of veto
     await cache.get('q', { vetoes: ['number'] });
     // @ts-expect-error: a verifier has opinions
     await SemanticCache.open({ store, embedder, verify: () => 'perhaps' });
     // @ts-expect-error: a comparison is a label
     await SemanticCache.open({ store, embedder, errorBound: {}, sameAnswer: () => true });
     // @ts-expect-error: tags are a list
     await cache.get('q', { tags: 'a' });
     // @ts-expect-error: an erasure needs a filter
     await cache.erase();
    `;

test('types say what people write', () => {
  const source = `${TYPED}
     import { judge } from '${BATTERY}';
     const report = await judge(() => memory());
     console.log(report.summary.failed);
     await using disposed = await SemanticCache.open({ store, embedder });
     console.log(disposed);`;
  typed('typed.mts', source, '--lib', 'es2024,esnext.disposable,dom', '--types', '');
});

test('types need no library of browsers', () => {
  const roots = join(PACKAGE, 'node_modules', '@types');
  typed(
    'server.mts',
    TYPED,
    '--lib',
    'es2024,esnext.disposable',
    '--types',
    'node',
    '--typeRoots',
    roots,
  );
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
    'all in one file': size('static.js'),
  };
  for (const [what, bytes] of Object.entries(sizes)) {
    t.diagnostic(`${what}: ${(bytes / 1000).toFixed(1)} kB gzipped`);
  }
  const loaded = sizes.component + sizes['glue, JSPI'] + sizes['the package itself'];
  t.diagnostic(`what a page loads: ${(loaded / 1000).toFixed(1)} kB gzipped`);
  assert.ok(loaded <= MOST_BYTES, `${loaded} bytes`);
  assert.ok(sizes['all in one file'] <= MOST_STATIC_BYTES, `${sizes['all in one file']} bytes`);
  const root = join(project, 'node_modules', NAME);
  const installed = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  t.diagnostic(`installed: ${(installed / 1e6).toFixed(2)} MB`);
  assert.ok(installed <= MOST_INSTALLED_BYTES, `${installed} bytes`);
  assert.deepEqual(
    readdirSync(root, { recursive: true }).filter((path) => /conformance|judge/.test(path)),
    [],
    'the battery is a package by itself',
  );
});

describe('README', () => {
  const readme = readFileSync(join(PACKAGE, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);

  test('says first how to install it, and what is whole in it runs as it is', () => {
    assert.ok(readme.indexOf(`npm install ${NAME}`) < readme.indexOf('```js'), 'installed first');
    const whole = blocks.filter((code) => /^import .*\n[^]*^console\.log/m.test(code));
    assert.deepEqual([whole[0], whole.length], [blocks[0], 2]);
    for (const code of whole) {
      const file = join(project, 'readme.mjs');
      writeFileSync(file, code);
      const said = execFileSync(process.execPath, [file], { cwd: project, encoding: 'utf8' });
      // What it says is in its comments.
      const expected = [...code.matchAll(/^console\.log.*\/\/ (.*)$/gm)].map(([, text]) => text);
      assert.ok(expected.length > 0);
      assert.deepEqual(said.trim().split('\n'), expected);
    }
  });

  test('is JavaScript throughout', async () => {
    for (const code of blocks) {
      const { warnings } = await transform(code, { loader: 'js', format: 'esm' });
      assert.deepEqual(warnings, []);
    }
  });
});

describe('in a simulated browser (jsdom)', { skip: unless(hasRuntimes, 'jsdom') }, () => {
  const LINES = `
    expect(typeof document).toBe('object');
    const embedder = { fingerprint: 'x', dimensions: 2, embed: async (texts) => texts.map(() => [1, 2]) };
    const cache = await SemanticCache.open({ store: memory(), embedder });
    await cache.put('question', 'answer');
    expect((await cache.get('another question')).response).toBe('answer');
    expect(await cache.getOrCompute('question', () => 'other')).toBe('answer');
    const { archive } = await cache.dump();
    const other = await SemanticCache.open({ store: memory(), embedder });
    expect((await other.load(archive)).entries).toBe(1);
    const imported = new Float32Array([1, 2]);
    expect(await other.put('given', 'r', { embedding: imported })).toBe(2);`;
  const imports = `import { SemanticCache } from '${NAME}'; import { memory } from '${NAME}/stores/memory';`;
  const modules = join(PACKAGE, 'test/runtimes/node_modules');
  const [node] = COMMANDS['Node with JSPI'];

  before(() => {
    for (const name of ['vitest', 'jsdom', 'jest', 'jest-environment-jsdom', 'vite']) {
      symlinkSync(join(modules, name), join(project, 'node_modules', name));
    }
  });

  function runs(command, args, file, source) {
    writeFileSync(join(project, file), source);
    try {
      execFileSync(node, [...command, ...args], { cwd: project, encoding: 'utf8', stdio: 'pipe' });
    } catch ({ stdout, stderr }) {
      assert.fail(`${stdout}\n${stderr}`);
    }
  }

  test('under Vitest', () => {
    runs(
      [join(modules, 'vitest/vitest.mjs')],
      ['run', '--environment', 'jsdom', 'under-vitest.test.mjs'],
      'under-vitest.test.mjs',
      `import { expect, test } from 'vitest'; ${imports} test('the cache', async () => {${LINES}});`,
    );
  });

  test('under Jest', () => {
    runs(
      ['--experimental-vm-modules', join(modules, 'jest/bin/jest.js')],
      ['--env=jsdom', '--rootDir=.', '--testMatch=**/under-jest.spec.mjs', '--transform={}'],
      'under-jest.spec.mjs',
      `${imports} test('the cache', async () => {${LINES}});`,
    );
  });
});

describe('in Chromium', { skip: unless(hasChromium, 'Chromium') }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  async function titleOf(root, path = '/index.html', headers = {}) {
    const server = await serve(root, headers);
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

  test('esbuild bundles it, without a warning', async () => {
    const out = join(folder, 'esbuild');
    const { warnings } = await build({
      entryPoints: [join(project, 'page.js')],
      bundle: true,
      format: 'esm',
      outdir: out,
      logLevel: 'silent',
    });
    assert.deepEqual(warnings, []);
    writeFileSync(join(out, 'index.html'), readFileSync(join(project, 'index.html')));
    assert.equal(await titleOf(out), 'answer answer');
  });

  for (const name of ['vite', 'vite7']) {
    const skip = unless(hasRuntimes, name);

    test(`${name} bundles it, without a warning`, { skip }, async () => {
      const out = join(folder, name);
      assert.deepEqual(await bundled(name, project, out), []);
      assert.equal(await titleOf(out), 'answer answer');
    });

    test(`${name} makes a worker of the one file`, { skip }, async () => {
      const from = join(folder, `${name}-worker-source`);
      mkdirSync(from, { recursive: true });
      symlinkSync(join(project, 'node_modules'), join(from, 'node_modules'));
      // A classic worker: one script, so that nothing in it is imported.
      writeFileSync(
        join(from, 'page.js'),
        `const worker = new Worker(new URL('./worker.js', import.meta.url));
         worker.onmessage = ({ data }) => (document.title = data);
         worker.onerror = ({ message }) => (document.title = message);
         worker.postMessage('');`,
      );
      writeFileSync(join(from, 'worker.js'), WORKER(`${NAME}/static`));
      writeFileSync(join(from, 'index.html'), readFileSync(join(project, 'index.html')));
      const out = join(folder, `${name}-worker`);
      assert.deepEqual(await bundled(name, from, out), []);
      assert.equal(await titleOf(out), 'answer answer');
    });
  }

  /** Bundles with a release of Vite; returns what it warned of. */
  async function bundled(name, root, outDir) {
    const vite = await load(name);
    const warnings = [];
    const customLogger = vite.createLogger('silent');
    customLogger.warn = (text) => warnings.push(text);
    customLogger.warnOnce = customLogger.warn;
    await vite.build({
      root,
      configFile: false,
      customLogger,
      // One message of the size of what is bundled says nothing of this package.
      build: { outDir, emptyOutDir: true, chunkSizeWarningLimit: 5000 },
    });
    return warnings;
  }

  const page = (script, more = '') => `<!doctype html><title>-</title>${more}
    <script type="module">${script}</script>`;
  const dist = (path) => `./node_modules/${NAME}/dist/${path}.js`;

  test('a page loads it as it is', async () => {
    const paths = {
      '': 'index',
      '/stores/memory': 'stores/memory',
      '/stores/indexeddb': 'stores/indexeddb',
    };
    const imports = Object.fromEntries(
      Object.entries(paths).map(([from, to]) => [NAME + from, dist(to)]),
    );
    const map = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
    writeFileSync(join(project, 'plain.html'), page(PAGE, map));
    assert.equal(await titleOf(project, '/plain.html'), 'answer answer');
  });

  test('a page loads the one file, as from a CDN', async () => {
    const script = `import { SemanticCache, indexedDB, memory } from '${dist('static')}'; ${ASK}
      document.title = answers.join(' ');`;
    writeFileSync(join(project, 'static.html'), page(script));
    assert.equal(await titleOf(project, '/static.html'), 'answer answer');
  });

  test('a module service worker runs the one file', async () => {
    writeFileSync(
      join(project, 'service-worker.js'),
      `${WORKER(dist('static'))}
       addEventListener('install', () => skipWaiting());
       addEventListener('activate', (event) => event.waitUntil(clients.claim()));`,
    );
    const script = `
      await navigator.serviceWorker.register('service-worker.js', { type: 'module' });
      const { active } = await navigator.serviceWorker.ready;
      navigator.serviceWorker.onmessage = ({ data }) => (document.title = data);
      active.postMessage('');`;
    writeFileSync(join(project, 'service.html'), page(script));
    assert.equal(await titleOf(project, '/service.html'), 'answer answer');
  });

  test("a policy without 'wasm-unsafe-eval' is told, and with it all is well", async () => {
    writeFileSync(
      join(project, 'policy.js'),
      `import { SemanticCache } from '${dist('index')}';
       import { memory } from '${dist('stores/memory')}';
       const embedder = { fingerprint: 'x', dimensions: 2 };
       const said = await SemanticCache.open({ store: memory(), embedder }).then(
         () => 'opened', ({ code, name, message }) => [code, name, message].join(' '));
       document.title = said;`,
    );
    writeFileSync(
      join(project, 'policy.html'),
      '<!doctype html><title>-</title><script type="module" src="./policy.js"></script>',
    );
    const policy = (sources) => ({ 'content-security-policy': `script-src ${sources}` });
    const refused = await titleOf(project, '/policy.html', policy("'self'"));
    assert.match(
      refused,
      /^unsupported UnsupportedError .*add 'wasm-unsafe-eval' to its script-src/,
    );
    const allowed = await titleOf(project, '/policy.html', policy("'self' 'wasm-unsafe-eval'"));
    assert.equal(allowed, 'opened');
  });
});

describe('the command', { skip: unless(hasRuntimes, 'Node with SQLite') }, () => {
  const [node] = COMMANDS['Node with JSPI'];

  function conformance(...args) {
    const command = join(project, 'node_modules', BATTERY, 'dist/command.js');
    const options = { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
    try {
      return { code: 0, stdout: execFileSync(node, [command, ...args], options) };
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
      ['./durable.mjs', './broken.mjs'],
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
