/** Entries of an import that wait until they are committed. */

import type { Entry, ImportMode } from '../store.js';
import { checkBatch, importNotBegun, importedTwice, keyOf } from './checks.js';

/** Entries that wait, in the order in which they came. */
export interface Stage {
  /** False where the namespace and hash are there already. */
  add(entry: Entry): boolean;
  entries(): Iterable<Entry>;
  drop(): void;
}

/** An import under way. */
export interface Import {
  mode: ImportMode;
  stage: Stage;
}

/** In memory. */
export function memoryStage(): Stage {
  const entries = new Map<string, Entry>();
  return {
    add: (one) => {
      const key = keyOf(one.namespace, one.queryHash);
      const isNew = !entries.has(key);
      if (isNew) {
        entries.set(key, one);
      }
      return isNew;
    },
    entries: () => entries.values(),
    drop: () => entries.clear(),
  };
}

/** The import, which must have been begun. */
export function begun(under: Import | undefined): Import {
  if (!under) {
    throw importNotBegun();
  }
  return under;
}

/** Adds what `writeImport` was given, at most `maxBatch` entries with vectors of `dim` values. */
export function stageAll({ stage }: Import, entries: Entry[], maxBatch: number, dim: number): void {
  checkBatch(entries, maxBatch, dim);
  for (const one of entries) {
    if (!stage.add(one)) {
      throw importedTwice(one);
    }
  }
}
