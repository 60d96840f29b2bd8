/**
 * The whole package for browsers in one file, without dynamic imports: for service workers, for
 * workers of bundlers that make one file, and for a CDN. It needs WebAssembly JSPI for every store;
 * see `hasJspi`.
 *
 * @packageDocumentation
 */

import { bindCache } from './bind.js';
import { requireJspi } from './component.js';
import { embedded } from './embedded.js';
import * as glue from './component/mneme.jspi.js';
import { modules } from './component/mneme.modules.js';

const component = embedded(
  () => modules,
  () => {
    requireJspi('this entry of the package');
    return glue;
  },
  () => glue,
);

/** The cache. `SemanticCache.open(options)` opens one. */
export const SemanticCache = bindCache(component);
/** The cache, as a type. */
export type SemanticCache = import('./cache.js').SemanticCache;

export * from './public.js';
export { memory } from './stores/memory.js';
export { indexedDB } from './stores/indexeddb.js';
export { opfs } from './stores/opfs.js';
