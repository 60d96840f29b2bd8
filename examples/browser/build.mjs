/**
 * Makes the page in site/: the package from this clone, and the encoder, built with cargo and put
 * through jco. With --serve it is served on a loopback port afterwards.
 *
 * `MNEME_ENCODER` names an encoder component that is already built.
 */

import { execFileSync } from 'node:child_process';
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join, normalize, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = fileURLToPath(new URL('./', import.meta.url));
const site = join(here, 'site');
const js = join(here, '../../host/js');
const FILES = [
  'index.html',
  'style.css',
  'app.js',
  'view.js',
  'encoder.js',
  'encoder-worker.js',
  'service-worker.js',
];

function encoder() {
  if (process.env.MNEME_ENCODER) {
    return process.env.MNEME_ENCODER;
  }
  const output = join(here, 'encoder/target/encoder.wasm');
  const args = ['run', '--release', '--quiet', '--bin', 'build-component', '--', output];
  execFileSync('cargo', args, { cwd: join(here, 'encoder'), stdio: 'inherit' });
  return output;
}

async function build() {
  if (!existsSync(join(js, 'dist/index.js'))) {
    execFileSync('npm', ['ci'], { cwd: js, stdio: 'inherit' });
    execFileSync('npm', ['run', 'build'], { cwd: js, stdio: 'inherit' });
  }
  // The package's own jco.
  const jco = createRequire(join(js, 'package.json')).resolve('@bytecodealliance/jco-transpile');
  const { transpileBytes } = await import(pathToFileURL(jco).href);
  const { files } = await transpileBytes(readFileSync(encoder()), {
    name: 'encoder',
    instantiation: 'async',
    nodejsCompat: false,
    wasiShim: false,
    emitTypescriptDeclarations: false,
  });
  rmSync(site, { recursive: true, force: true });
  mkdirSync(join(site, 'encoder'), { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(site, 'encoder', name), content);
  }
  cpSync(join(js, 'dist'), join(site, 'mneme'), {
    recursive: true,
    filter: (path) =>
      statSync(path).isDirectory() || (/\.js$/.test(path) && !/workerd|static\.js/.test(path)),
  });
  for (const name of FILES) {
    cpSync(join(here, name), join(site, name));
  }
  const examples = join(here, '../../host/command/src/commands/demo/faq.jsonl');
  cpSync(examples, join(site, 'examples.jsonl'));
  // All that the page needs, for the service worker to keep.
  const assets = list(site)
    .map((path) => relative(site, path))
    .sort();
  const version = assets.reduce(
    (sum, path) => (sum * 31 + statSync(join(site, path)).size) >>> 0,
    7,
  );
  writeFileSync(join(site, 'assets.json'), JSON.stringify({ version, assets: ['./', ...assets] }));
  console.log(`made ${site}`);
}

function list(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? list(path) : [path];
  });
}

function serve() {
  const types = {
    '.css': 'text/css',
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
  };
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
    const file = join(site, path === '/' ? 'index.html' : path);
    if (!file.startsWith(site) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'content-type': types[extname(file)] ?? 'application/octet-stream',
    });
    createReadStream(file).pipe(response);
  });
  server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
    console.log(`open http://127.0.0.1:${server.address().port}/`);
  });
}

await build();
if (process.argv.includes('--serve')) {
  serve();
}
