/**
 * The package for workerd (Cloudflare Workers, Durable Objects), which compiles no WebAssembly
 * at run time: the modules are imported as such.
 *
 * @packageDocumentation
 */

import { bindCache } from './bind.js';
import type { Component } from './component.js';
import core from './component/mneme.core.wasm';
import core2 from './component/mneme.core2.wasm';
import core3 from './component/mneme.core3.wasm';
import * as suspending from './component/mneme.jspi.js';
import * as synchronous from './component/mneme.sync.js';

const component: Component = {
  modules: async () => ({
    'mneme.core.wasm': core,
    'mneme.core2.wasm': core2,
    'mneme.core3.wasm': core3,
  }),
  synchronous: async () => synchronous,
  suspending: async () => suspending,
};

/** The cache. `SemanticCache.open(options)` opens one. */
export const SemanticCache = bindCache(component);
/** The cache, as a type. */
export type SemanticCache = import('./cache.js').SemanticCache;

export * from './public.js';
