/** A log of changes in memory. The twin of host/store/src/changes.rs. */

import type { Change, ChangePage } from '../store.js';

/** The most changes that the stores of this package keep. */
export const MAX_CHANGES = 65_536;

/** A write of more entries empties the log instead of filling it. */
export const LONG_WRITE = 1000;

/** The last changes, in order. */
export class ChangeLog {
  #changes: Change[] = [];
  /** The changes after this version are known, as far as the log goes. */
  #after = 0;

  /** Appends what the write did that moved the counter to `version`. An id may come twice. */
  append(version: number, ids: number[], deleted: boolean): void {
    if (ids.length > LONG_WRITE || this.#last() + 1 !== version) {
      this.cut(version);
      if (ids.length > LONG_WRITE) {
        return;
      }
      this.#after = version - 1;
    }
    for (const id of [...new Set(ids)].sort((a, b) => a - b)) {
      this.#changes.push({ version, id, deleted });
    }
    // Rows are dropped together, so that each costs little.
    if (this.#changes.length > 2 * MAX_CHANGES) {
      const first = this.#changes[this.#changes.length - MAX_CHANGES] as Change;
      this.#changes = this.#changes.slice(this.#from(first.version - 1));
      this.#after = first.version - 1;
    }
  }

  /** Empties the log: what led to this version is not known. */
  cut(version: number): void {
    this.#changes = [];
    this.#after = version;
  }

  /** See `Store.changesSince`; `now` is the version counter. */
  since(version: number, now: number, limit: number): ChangePage | undefined {
    if (version === now) {
      return { changes: [], version };
    }
    if (version < this.#after || version > now || this.#last() !== now) {
      return undefined;
    }
    const from = this.#from(version);
    return wholeVersions(this.#changes.slice(from, from + limit + 1), limit, (first) =>
      this.#changes.slice(from, this.#from(first)),
    );
  }

  #last(): number {
    return this.#changes.at(-1)?.version ?? this.#after;
  }

  /** Where the changes after a version begin. */
  #from(version: number): number {
    let [low, high] = [0, this.#changes.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle] as Change).version <= version) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

/**
 * A page of the first whole versions of these changes, one more than `limit` if there are so many;
 * `all` has the first version's where they are more than `limit`.
 */
export function wholeVersions(
  found: Change[],
  limit: number,
  all: (version: number) => Change[],
): ChangePage | undefined {
  const [first, over] = [found[0], found[limit]];
  if (!first) {
    return undefined;
  }
  const whole = over ? found.filter(({ version }) => version < over.version) : found;
  const changes = whole.length > 0 ? whole : all(first.version);
  return { changes, version: (changes.at(-1) as Change).version };
}
