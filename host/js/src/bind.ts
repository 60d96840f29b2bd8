/** The cache with its component filled in. */

import { SemanticCache as Cache } from './cache.js';
import { inspectWith, type InspectOptions, type Summary } from './inspect.js';
import type { ArchiveSource } from './archive.js';
import type { Component } from './component.js';
import type { CacheOptions } from './options.js';

/** The class that the package exports as `SemanticCache`. */
export interface SemanticCacheClass extends Function {
  readonly prototype: Cache;
  /**
   * Opens the store and starts serving. Reads no vectors: the index loads at the first semantic
   * look-up, or by `warmUp`.
   */
  open(options: CacheOptions): Promise<Cache>;
  /** Checks an archive as `load` would, and says what is in it. */
  inspect(source: ArchiveSource, options?: InspectOptions): Promise<Summary>;
}

export function bindCache(component: Component): SemanticCacheClass {
  return class extends Cache {
    // The name of the class below it is shortened by bundlers, and two of one name confuse them.
    static override readonly name = 'SemanticCache';

    static open(options: CacheOptions): Promise<Cache> {
      return super.openWith(component, options);
    }

    static inspect(source: ArchiveSource, options?: InspectOptions): Promise<Summary> {
      return inspectWith(component, source, options);
    }
  };
}
