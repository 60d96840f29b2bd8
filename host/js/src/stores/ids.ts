/** Ids in ascending order, all or those of a tag, for stores in memory. */

import type { Entry } from '../store.js';

/** Ascending ids, of which some may be gone. Whoever reads them knows which are there. */
export class Ids {
  #ids: number[] = [];
  #size = 0;

  /** How many are there. */
  get size(): number {
    return this.#size;
  }

  /** Adds an id that is not there. */
  add(id: number): void {
    this.#size += 1;
    const at = this.#after(id - 1);
    // One that is gone may stand here still.
    if (this.#ids[at] !== id) {
      this.#ids.splice(at, 0, id);
    }
  }

  /** Counts one that is gone, and drops all of them when they are enough to pay for it. */
  remove(isThere: (id: number) => boolean): void {
    this.#size -= 1;
    if (this.#ids.length > 2 * this.#size + 64) {
      this.#ids = this.#ids.filter(isThere);
    }
  }

  /** The ids above this one. */
  *after(id: number): Generator<number> {
    for (let at = this.#after(id); at < this.#ids.length; at++) {
      yield this.#ids[at] as number;
    }
  }

  /** Where the first id above this one stands. */
  #after(id: number): number {
    let [low, high] = [0, this.#ids.length];
    if (high === 0 || (this.#ids[high - 1] as number) <= id) {
      return high;
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ids[middle] as number) <= id) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

/** The ids of the entries that carry a tag. */
export class Tags {
  readonly #ids = new Map<string, Ids>();

  add({ id, tags }: Entry): void {
    for (const tag of tags) {
      const ids = this.#ids.get(tag) ?? new Ids();
      ids.add(id);
      this.#ids.set(tag, ids);
    }
  }

  /** Takes out an entry that is no more among `entries`, or is there with other tags. */
  remove({ tags }: Entry, entries: ReadonlyMap<number, Entry>): void {
    for (const tag of tags) {
      const ids = this.#ids.get(tag);
      ids?.remove((id) => entries.get(id)?.tags.includes(tag) ?? false);
      if (ids?.size === 0) {
        this.#ids.delete(tag);
      }
    }
  }

  /** The ids of that one of these tags which the fewest entries carry. */
  fewest(tags: string[]): Ids | undefined {
    const lists = tags.map((tag) => this.#ids.get(tag) ?? new Ids());
    return lists.sort((a, b) => a.size - b.size)[0];
  }
}
