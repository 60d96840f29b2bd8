/**
 * Measures the package: `npm run bench [-- --rows 10000] [-- --json]`. In each runtime the cache and a
 * scan of all vectors in plain JavaScript do the same work in one run. Times are microseconds.
 */

import { parseArgs } from 'node:util';
import { PACKAGE, launch, serve } from '../test/support/chromium.mjs';
import { COMMANDS, hasChromium, hasRuntimes, json } from '../test/support/runtimes.mjs';

const { values } = parseArgs({
  options: { rows: { type: 'string', default: '10000' }, json: { type: 'boolean' } },
});
const rows = Number(values.rows);
const all = {};

if (hasRuntimes) {
  for (const runtime of Object.keys(COMMANDS)) {
    console.error(`measuring in ${runtime}`);
    all[runtime] = await json(runtime, 'test/support/measure-node.mjs', `${rows}`);
  }
}
if (hasChromium) {
  console.error('measuring in Chromium');
  const server = await serve(PACKAGE);
  const browser = await launch();
  const page = await browser.context.newPage();
  await page.goto(`${server.url}/test/pages/blank.html`);
  all.Chromium = await page.evaluate(async (rows) => {
    const [{ SemanticCache }, { memory }, { indexedDB }, { measure }] = await Promise.all(
      [
        '/dist/index.js',
        '/dist/stores/memory.js',
        '/dist/stores/indexeddb.js',
        '/test/support/measure.mjs',
      ].map((path) => import(path)),
    );
    return {
      memory: await measure({ SemanticCache }, memory(), rows),
      indexeddb: await measure({ SemanticCache }, indexedDB('bench'), rows, { exactly: 2000 }),
    };
  }, rows);
  await browser.close();
  await server.close();
}

const table = Object.entries(all).flatMap(([runtime, stores]) =>
  Object.entries(stores).flatMap(([store, works]) =>
    Object.entries(works).map(([work, { p50, p99 }]) => {
      const scan = works['plain JavaScript scan'].p50;
      const ratio = work.startsWith('semantic') ? scan / p50 : undefined;
      return { runtime, store, work, entries: rows, dims: 384, p50_us: p50, p99_us: p99, ratio };
    }),
  ),
);
if (values.json) {
  console.log(JSON.stringify({ rows: table }, null, 2));
} else {
  console.log(`${rows} entries x 384; microseconds; times: as fast as the scan in the same run\n`);
  console.log('| runtime | store | work | p50 | p99 | times |\n|---|---|---|--:|--:|--:|');
  const number = (x) => (x === undefined ? '' : x.toFixed(x < 100 ? 1 : 0));
  for (const { runtime, store, work, p50_us, p99_us, ratio } of table) {
    console.log(
      `| ${runtime} | ${store} | ${work} | ${number(p50_us)} | ${number(p99_us)} | ${number(ratio)} |`,
    );
  }
}
