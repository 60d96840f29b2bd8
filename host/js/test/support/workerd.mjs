/** Runs a worker in workerd, through miniflare. */

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}

/** All that a worker may import: the package as it was built, unbundled, and the tests. */
function modules(main) {
  const all = ['dist', 'conformance/dist', 'test']
    .flatMap((folder) => files(join(ROOT, folder)))
    .filter(
      (path) =>
        /\.(m?js|wasm)$/.test(path) &&
        !/chromium|workerd\.mjs$|run\.mjs|\.test\.mjs|bench|static\.js|node_modules|command\.js/.test(
          path.replace('.workerd.js', ''),
        ),
    )
    .map((path) => ({
      type: path.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
      path: relative(ROOT, path),
      contents: readFileSync(path),
    }));
  return [...all.filter(({ path }) => path === main), ...all.filter(({ path }) => path !== main)];
}

/** Starts workerd with the worker of the tests; `get` asks it for JSON. */
export async function startWorkerd({ Miniflare }, main = 'test/support/worker.mjs') {
  const miniflare = new Miniflare({
    modulesRoot: ROOT,
    modules: modules(main),
    compatibilityDate: '2026-07-01',
    durableObjects: { TESTS: { className: 'Tests', useSQLite: true } },
    host: '127.0.0.1',
    port: 0,
  });
  await miniflare.ready;
  return {
    get: async (path) => {
      const response = await miniflare.dispatchFetch(`http://tests${path}`);
      const text = await response.text();
      if (!response.ok) {
        throw new Error(text);
      }
      return JSON.parse(text);
    },
    close: () => miniflare.dispose(),
  };
}
