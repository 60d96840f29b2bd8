/** The cache with its component filled in. */

import { SemanticCache } from './cache.js';
import { inspectWith, type InspectOptions, type Summary } from './inspect.js';
import type { ArchiveSource } from './archive.js';
import type { Component } from './component.js';
import type { CacheOptions } from './options.js';

/** What the package exports as `SemanticCache`. */
export interface SemanticCacheEntry {
  /**
   * Opens the store and starts serving. Reads no vectors: the index loads at the first semantic
   * look-up, or by `warmUp`.
   */
  open(options: CacheOptions): Promise<SemanticCache>;
  /** Checks an archive as `load` would, and says what is in it. */
  inspect(source: ArchiveSource, options?: InspectOptions): Promise<Summary>;
}

export function bindCache(component: Component): SemanticCacheEntry {
  return {
    open: (options) => SemanticCache.openWith(component, options),
    inspect: (source, options) => inspectWith(component, source, options),
  };
}
