/**
 * A semantic cache: it keeps the result of an expensive function of text, and returns it when a
 * later text means the same.
 *
 * ```js
 * import { SemanticCache } from 'mneme-cache-wasm';
 * import { memory } from 'mneme-cache-wasm/stores/memory';
 *
 * const cache = await SemanticCache.open({ store: memory(), embedder });
 * const answer = await cache.getOrCompute(question, () => callModel(question));
 * ```
 *
 * @packageDocumentation
 */

import { bindCache } from './bind.js';
import { embedded } from './embedded.js';

const component = embedded(
  async () => (await import('./component/mneme.modules.js')).modules,
  () => import('./component/mneme.sync.js'),
  () => import('./component/mneme.jspi.js'),
);

/** The cache. `SemanticCache.open(options)` opens one. */
export const SemanticCache = bindCache(component);
/** The cache, as a type. */
export type SemanticCache = import('./cache.js').SemanticCache;

export * from './public.js';
