/** The order of eviction: by last access, then by id. */

/** An entry, as the order sees it. */
export interface Use {
  readonly id: number;
  readonly lastAccessedAt: number;
}

function isBefore(a: Use, b: Use): boolean {
  return (
    a.lastAccessedAt < b.lastAccessedAt || (a.lastAccessedAt === b.lastAccessedAt && a.id < b.id)
  );
}

/** A binary heap of uses, of which those that are no longer the last of their entry are passed over. */
export class Lru {
  readonly #heap: Use[] = [];

  constructor(entries: Iterable<Use>) {
    for (const { id, lastAccessedAt } of entries) {
      this.#heap.push({ id, lastAccessedAt });
    }
    for (let at = this.#heap.length >>> 1; at-- > 0;) {
      this.#sink(at);
    }
  }

  /** The number of uses, also of those that are over. */
  get length(): number {
    return this.#heap.length;
  }

  /** Adds a use. */
  add({ id, lastAccessedAt }: Use): void {
    const heap = this.#heap;
    const use = { id, lastAccessedAt };
    let at = heap.length;
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const other = heap[above] as Use;
      if (!isBefore(use, other)) {
        break;
      }
      heap[at] = other;
      at = above;
    }
    heap[at] = use;
  }

  /** The first `n` uses that are current, in order; they stay. */
  first(n: number, isCurrent: (use: Use) => boolean): Use[] {
    const found: Use[] = [];
    while (found.length < n && this.#heap.length > 0) {
      const use = this.#take();
      // One that came back is there twice.
      if (isCurrent(use) && found.at(-1)?.id !== use.id) {
        found.push(use);
      }
    }
    for (const use of found) {
      this.add(use);
    }
    return found;
  }

  /** Removes the first use. */
  #take(): Use {
    const heap = this.#heap;
    const first = heap[0] as Use;
    const last = heap.pop() as Use;
    if (heap.length > 0) {
      heap[0] = last;
      this.#sink(0);
    }
    return first;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const use = heap[from] as Use;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Use, heap[below] as Use)) {
        below += 1;
      }
      if (below >= heap.length || !isBefore(heap[below] as Use, use)) {
        break;
      }
      heap[at] = heap[below] as Use;
      at = below;
    }
    heap[at] = use;
  }
}
