/** The Worker of the tests in Chromium: it has what a page has not, files that do not wait. */

import { judge } from '/conformance/dist/index.js';
import { hasJspi, SemanticCache } from '/dist/index.js';
import { MemoryStore, memory } from '/dist/stores/memory.js';
import { opfs } from '/dist/stores/opfs.js';
import { run } from '../cases.mjs';

self.onmessage = async ({ data: only }) => {
  const env = { SemanticCache, hasJspi, judge, memory, MemoryStore, stores: { opfs } };
  const results = await run(env, only ? new RegExp(only) : undefined);
  self.postMessage({ jspi: hasJspi(), stores: Object.keys(env.stores), results });
};
