/**
 * Builds the package into dist/: the components, as the Rust build makes them, through jco, once
 * for synchronous stores and once for JSPI, and the TypeScript around them.
 *
 * `MNEME_COMPONENTS` names a folder that has them already, as mneme.wasm and conformance.wasm; else
 * cargo builds them.
 */

import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inflateRawSync } from 'node:zlib';
import { transpileBytes } from '@bytecodealliance/jco-transpile';
import zopfli from '@gfx/zopfli';
import { build as bundle } from 'esbuild';
import { minify } from 'oxc-minify';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const here = fileURLToPath(new URL('../', import.meta.url));
const out = `${here}dist/component/`;

/** Imports that only hand something over or decide, and never wait. */
const NEVER_WAIT = ['store#capabilities', 'archive#progress'];

/** A component, as the Rust build makes it. */
function componentBytes(name, ...args) {
  const folder = process.env.MNEME_COMPONENTS;
  if (folder) {
    return readFile(join(folder, `${name}.wasm`));
  }
  const options = { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 };
  const cargo = ['run', '--release', '--quiet', '--', 'component', ...args, '--output', '-'];
  return execFileSync('cargo', cargo, options);
}

/** The functions of an interface, as jco names them. */
async function functions(face) {
  const wit = await readFile(`${root}wit/${face}.wit`, 'utf8');
  const names = [...wit.matchAll(/^ {4}([a-z][a-z0-9-]*): func/gm)].map((match) => match[1]);
  const waiting = names.filter((name) => !NEVER_WAIT.includes(`${face}#${name}`));
  return waiting.map((name) => `mneme:cache/${face}@0.2.0#${name}`);
}

const WAITING = /^ *(_trampoline\d+)\.manuallyAsync = true;$/gm;

/** Names that jco does not know pass silently: it must have made each of them async. */
function checkAsync(script, imports, exports, name) {
  const waiting = script.match(WAITING) ?? [];
  const asynchronous = script.match(/^ {2}async function /gm) ?? [];
  if (waiting.length !== imports.length || asynchronous.length < exports.length) {
    throw new Error(
      `${name}: ${waiting.length} of ${imports.length} imports can wait, ${asynchronous.length} of ${exports.length} exports are async; jco does not know some of the names`,
    );
  }
}

/** A decoder would drop U+FEFF at the beginning of a string, and stores keep text byte for byte. */
function keepByteOrderMarks(script) {
  const decoders = script.split('new TextDecoder()');
  if (decoders.length < 2) {
    throw new Error('jco makes its decoders in another way now; see that they keep U+FEFF');
  }
  return decoders.join("new TextDecoder('utf-8', { ignoreBOM: true })");
}

/** Some test environments have no global ones. */
function takeTexts(script) {
  return `import { TextDecoder, TextEncoder } from '../platform.js';\n${script}`;
}

/**
 * What is known when the script is made: whether an import may wait, which it asks later and keeps
 * both ways of calling, and that nobody wants its log, for which it asks the environment each time.
 * The log's calls are left for `small` to drop, with their arguments.
 */
function settle(script) {
  const waiting = new Set([...script.matchAll(WAITING)].map((match) => match[1]));
  let asked = 0;
  const settled = script
    .replace(WAITING, '')
    .replace(/\b(_trampoline\d+)\.manuallyAsync\b/g, (_, name) => {
      asked += 1;
      return String(waiting.has(name));
    });
  const directive = '"use components";\n';
  if (!settled.startsWith(directive)) {
    throw new Error('jco begins its scripts in another way now; see what bundlers warn of');
  }
  const logging = /const _debugLog = \(\.\.\.args\) => \{[^}]*\}[^}]*\};/;
  if (asked === 0 || !logging.test(settled)) {
    throw new Error('jco writes its scripts in another way now; see what is to be settled in them');
  }
  return settled.slice(directive.length).replace(logging, '');
}

/** A script in few bytes. A call of a function named `pure` goes where nobody uses its result. */
async function small(name, script, pure = []) {
  const { code, errors } = await minify(name, script, {
    module: true,
    compress: { target: 'es2022', treeshake: { manualPureFunctions: pure } },
    mangle: true,
    codegen: { removeWhitespace: true, legalComments: 'none' },
  });
  const left = pure.find((call) => code.includes(call));
  if (errors.length > 0 || left) {
    throw new Error(`${name}: ${errors[0]?.message ?? `calls of ${left} are left`}`);
  }
  return code;
}

/** Raw DEFLATE in the fewest bytes that any reader takes. */
async function packed(content) {
  const deflated = Buffer.from(await zopfli.deflateAsync(content, { blocksplittingmax: 0 }));
  // A mistake here would be every page's.
  if (!inflateRawSync(deflated).equals(content)) {
    throw new Error('what was compressed does not come back');
  }
  return deflated.toString('base64');
}

async function component(name, bytes, imports, exports) {
  const base = {
    name,
    instantiation: 'sync',
    nodejsCompat: false,
    wasiShim: false,
    emitTypescriptDeclarations: false,
    noComponentErrorWrapping: true,
  };
  const ways = {
    sync: base,
    jspi: { ...base, asyncMode: 'jspi', asyncImports: imports, asyncExports: exports },
  };
  // A component imports only what it calls.
  const called = imports.filter((name) => bytes.includes(name.split('#')[1]));
  const modules = {};
  for (const [way, options] of Object.entries(ways)) {
    const { files } = await transpileBytes(bytes, options);
    for (const [file, content] of Object.entries(files)) {
      if (file.endsWith('.wasm')) {
        if (modules[file] && Buffer.compare(modules[file], Buffer.from(content)) !== 0) {
          throw new Error(`${file} differs between the ways of calling`);
        }
        modules[file] = Buffer.from(content);
      }
    }
    const script = keepByteOrderMarks(Buffer.from(files[`${name}.js`]).toString());
    if (way === 'jspi') {
      checkAsync(script, called, exports, name);
    }
    const file = `${name}.${way}.js`;
    await writeFile(`${out}${file}`, await small(file, takeTexts(settle(script)), ['_debugLog']));
  }
  const texts = {};
  for (const [file, content] of Object.entries(modules)) {
    await writeFile(`${out}${file}`, content);
    texts[file] = await packed(content);
  }
  await writeFile(
    `${out}${name}.modules.js`,
    `export const modules = ${JSON.stringify(texts, null, 1)};\n`,
  );
}

/** The entry without dynamic imports: all of it in one file. */
async function oneFile() {
  const { outputFiles } = await bundle({
    entryPoints: [`${here}dist/static.js`],
    write: false,
    bundle: true,
    format: 'esm',
    target: 'es2022',
  });
  const code = await small('static.js', outputFiles[0].text);
  await writeFile(`${here}dist/static.js`, code);
  // The map would be that of the file before.
  await rm(`${here}dist/static.js.map`);
}

/** The battery, which is larger than the cache, is a package by itself. */
async function battery() {
  const [dist, to] = [`${here}dist/`, `${here}conformance/dist/`];
  await rm(to, { recursive: true, force: true });
  await mkdir(`${to}component`, { recursive: true });
  await bundle({
    entryPoints: {
      index: `${dist}conformance.js`,
      'index.workerd': `${dist}conformance.workerd.js`,
      command: `${dist}bin/conformance.js`,
    },
    outdir: to,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    external: ['node:*', './component/*'],
  });
  for (const name of await readdir(out)) {
    if (name.startsWith('conformance.') && !name.endsWith('.d.ts')) {
      await rename(`${out}${name}`, `${to}component/${name}`);
    }
  }
  for (const name of await readdir(dist)) {
    if (/^(judge|public-conformance|conformance)\b/.test(name)) {
      await rename(`${dist}${name}`, `${to}${name}`);
    }
  }
  // Types of the battery, and those that they name.
  for (const name of ['component', 'errors', 'store', 'store-imports']) {
    await copyFile(`${dist}${name}.d.ts`, `${to}${name}.d.ts`);
  }
  for (const name of await readdir(to)) {
    if (/^(judge|public-conformance|conformance).*\.js(\.map)?$/.test(name)) {
      await rm(`${to}${name}`);
    }
  }
  // The battery's glue takes it from here.
  await copyFile(`${dist}platform.js`, `${to}platform.js`);
  await rm(`${dist}bin`, { recursive: true });
  await copyFile(`${root}LICENSE`, `${here}conformance/LICENSE`);
}

await rm(`${here}dist`, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const store = await functions('store');
const archive = await functions('archive');
const exports = (await Promise.all(['cache', 'checkpoint'].map(functions))).flat();
await component('mneme', await componentBytes('mneme'), [...store, ...archive], exports);
await component(
  'conformance',
  await componentBytes('conformance', '--conformance'),
  store,
  await functions('suite'),
);
// npm packs no file from above.
await copyFile(`${root}LICENSE`, `${here}LICENSE`);
execFileSync('npx', ['tsc'], { cwd: here, stdio: 'inherit' });
await oneFile();
await battery();
console.log(`built ${here}dist: ${(await readdir(out)).join(', ')}`);
