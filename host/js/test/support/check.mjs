/** Assertions and vectors that work in every runtime. */

/** Compares as JSON, with typed arrays and bigints told apart. */
export function equal(actual, expected, what = 'value') {
  const [a, b] = [show(actual), show(expected)];
  if (a !== b) {
    throw new Error(`${what}: expected ${b}, got ${a}`);
  }
}

export function ok(condition, what) {
  if (!condition) {
    throw new Error(what);
  }
}

/** Waits for a failure with this code, and returns it. */
export async function fails(promise, code, pattern = /./) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    if (error?.code !== code || !pattern.test(error.message)) {
      throw new Error(
        `expected the error ${code} ${pattern}, got ${error?.code}: ${error?.stack ?? error}`,
      );
    }
    return error;
  }
  throw new Error(`expected the error ${code}, got ${show(value)}`);
}

function show(value) {
  return JSON.stringify(value, (_, x) => {
    if (typeof x === 'bigint') return `${x}n`;
    if (x === undefined) return 'undefined';
    if (Object.is(x, -0)) return '-0';
    return ArrayBuffer.isView(x) ? [x.constructor.name, ...x] : x;
  });
}

/** Numbers that are the same in every runtime: xorshift32. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0 || 1;
  }

  next() {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }

  below(n) {
    return this.next() % n;
  }

  /** A vector whose values are multiples of 1/128, so that no rounding is anybody's own. */
  vector(dim) {
    return Float32Array.from({ length: dim }, () => (this.below(255) - 127) / 128);
  }
}

/** What a look-up ends with: the response, or the reason of a miss. */
export function outcome({ hit, miss }) {
  return hit?.response ?? miss.reason;
}

/** An embedder of letters: texts with the same letters are alike. */
export function letters(dimensions = 26) {
  const calls = [];
  return {
    fingerprint: 'letters-1',
    dimensions,
    calls,
    embed(texts) {
      calls.push(texts);
      return texts.map((text) => {
        const vector = new Float32Array(dimensions);
        for (const c of text) vector[c.codePointAt(0) % dimensions] += 1;
        return vector;
      });
    },
  };
}

/** Options of a cache of letters. What is asked of it are no words, and would be vetoed as codes. */
export function byLetters(options = {}) {
  return { embedder: letters(), vetoes: 'none', ...options };
}

/** A memory store that returns promises. */
export function asynchronous({ MemoryStore }, methods = {}) {
  const inner = new MemoryStore();
  const store = { synchronous: false, capabilities: () => inner.capabilities() };
  for (let proto = inner; proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) {
    for (const name of Object.getOwnPropertyNames(proto)) {
      if (typeof inner[name] === 'function' && name !== 'constructor' && !(name in store)) {
        store[name] = async (...args) => inner[name](...args);
      }
    }
  }
  return Object.assign(store, methods);
}

/** An entry as stores have it, with letters for an embedder. */
export function entryOf(more = {}) {
  return {
    id: 0,
    namespace: 'n',
    context: '',
    queryHash: 'a'.repeat(64),
    query: 'q',
    response: 'r',
    embedding: new Float32Array(26).fill(1),
    metadata: '{}',
    tags: [],
    createdAt: 1,
    lastAccessedAt: 1,
    ttl: undefined,
    accessCount: 0,
    ...more,
  };
}
