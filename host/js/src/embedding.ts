/** Asking the embedder: in batches, with a deadline, again where that may help, and not in vain. */

import { EmbedderError, InvalidArgumentError, describe, isError, isMnemeError } from './errors.js';
import { known } from './known.js';
import { count, seconds, vector, type Embedder, type Reading, type Vector } from './options.js';

/** A vector, and how much of the text it stands for, if the embedder says so. */
export interface Embedded {
  vector: Float32Array;
  reading: Reading | undefined;
}

const READ = { vector: true, tokens: true, tokensRead: true, tokensUnknown: true } as const;

const MAX_BATCH = 100;
const CONCURRENCY = 16;
const TIMEOUT_SECONDS = 10;
const RETRIES = 2;
/** The wait before the first retry, doubled for each further one. */
const BACKOFF_MS = 250;
/** As many failures in a row rest the embedder; one time-out is enough. */
const FAILURES = 3;
const [SHORTEST_REST_MS, LONGEST_REST_MS] = [1000, 60_000];

/** What ended one call of the embedder. */
interface Failure {
  error: EmbedderError;
  /** How long the service asks to be left alone. */
  retryAfterMs: number | undefined;
  isLate: boolean;
  /** The service is well: it only refuses this text. */
  isOfText: boolean;
}

/** An embedder, with what is known of its health. */
export class Embedding {
  readonly #embedder: Embedder;
  readonly #now: () => number;
  readonly #maxBatch: number;
  readonly #timeoutMs: number;
  readonly #retries: number;
  readonly #slots: Slots;
  #failures = 0;
  #rest: { until: number; ms: number; error: EmbedderError } | undefined;
  #isProbing = false;

  /** @param now milliseconds, for how long it rests */
  constructor(embedder: Embedder, now: () => number) {
    this.#embedder = embedder;
    this.#now = now;
    this.#maxBatch = Math.max(count(embedder.maxBatch, 'embedder.maxBatch') ?? MAX_BATCH, 1);
    this.#timeoutMs =
      1000 * (seconds(embedder.timeoutSeconds, 'embedder.timeoutSeconds') ?? TIMEOUT_SECONDS);
    this.#retries = count(embedder.retries, 'embedder.retries') ?? RETRIES;
    this.#slots = new Slots(
      Math.max(count(embedder.concurrency, 'embedder.concurrency') ?? CONCURRENCY, 1),
    );
  }

  /** A vector for each text; an `EmbedderError` if one cannot be had. */
  async all(texts: string[], signal: AbortSignal | undefined): Promise<Embedded[]> {
    const { embedded, failure } = await this.some(texts, signal);
    if (failure) {
      throw failure;
    }
    return embedded;
  }

  /** Vectors for the texts, up to the first batch that fails. */
  async some(
    texts: string[],
    signal: AbortSignal | undefined,
  ): Promise<{ embedded: Embedded[]; failure: EmbedderError | undefined }> {
    const embedded: Embedded[] = [];
    for (let from = 0; from < texts.length; from += this.#maxBatch) {
      try {
        embedded.push(...(await this.#batch(texts.slice(from, from + this.#maxBatch), signal)));
      } catch (error) {
        if (isEmbedderError(error)) {
          return { embedded, failure: error };
        }
        throw error;
      }
    }
    return { embedded, failure: undefined };
  }

  async #batch(texts: string[], signal: AbortSignal | undefined): Promise<Embedded[]> {
    const { fingerprint, embed } = this.#embedder;
    if (!embed) {
      throw new EmbedderError(
        `the embedder ${JSON.stringify(fingerprint)} has no embed function, so every question and answer must come with its embedding`,
      );
    }
    await this.#slots.take(signal);
    let isProbe = false;
    try {
      // While it waited for its turn, others may have found out that the embedder fails.
      isProbe = this.#enter();
      const embedded = await this.#persistently(texts, signal, isProbe);
      this.#failures = 0;
      this.#rest = undefined;
      return embedded;
    } finally {
      if (isProbe) {
        this.#isProbing = false;
      }
      this.#slots.give();
    }
  }

  /** Whether this call finds out if the embedder works again. Throws while it rests. */
  #enter(): boolean {
    const rest = this.#rest;
    if (!rest) {
      return false;
    }
    const left = rest.until - this.#now();
    // A clock that was set back must not make it rest for long.
    if ((left > 0 && left <= rest.ms) || this.#isProbing) {
      throw new EmbedderError(
        `the embedder is not asked, for it failed a moment ago: ${rest.error.message}; it is asked again ${left > 0 ? `in ${(left / 1000).toFixed(1)} s` : 'when a call that is under way succeeds'}`,
        { retryable: true, cause: rest.error.cause ?? rest.error },
      );
    }
    this.#isProbing = true;
    return true;
  }

  async #persistently(
    texts: string[],
    signal: AbortSignal | undefined,
    isProbe: boolean,
  ): Promise<Embedded[]> {
    const end = performance.now() + this.#timeoutMs;
    for (let attempt = 0; ; attempt++) {
      let failure: Failure;
      try {
        return this.#checked(await this.#once(texts, signal, end - performance.now()), texts);
      } catch (cause) {
        signal?.throwIfAborted();
        failure = told(cause);
      }
      const wait = failure.retryAfterMs ?? BACKOFF_MS * 2 ** attempt;
      const isHopeless = !failure.error.retryable || failure.isLate || attempt >= this.#retries;
      if (isHopeless || wait >= end - performance.now()) {
        this.#failed(failure, isProbe);
        throw failure.error;
      }
      await pause(wait, signal);
    }
  }

  /** Only a probe lengthens a rest: the others began before it. */
  #failed({ error, retryAfterMs, isLate, isOfText }: Failure, isProbe: boolean): void {
    if (isOfText || (this.#rest && !isProbe)) {
      return;
    }
    this.#failures += 1;
    if (this.#rest || isLate || retryAfterMs !== undefined || this.#failures >= FAILURES) {
      const longer = Math.min(2 * (this.#rest?.ms ?? SHORTEST_REST_MS / 2), LONGEST_REST_MS);
      const asked = Math.max(retryAfterMs ?? longer, SHORTEST_REST_MS);
      const ms = Math.min(asked, LONGEST_REST_MS);
      this.#rest = { until: this.#now() + ms, ms, error };
    }
  }

  /** One call, which is given up after so many milliseconds. */
  async #once(texts: string[], signal: AbortSignal | undefined, ms: number): Promise<unknown> {
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: (() => void) | undefined;
    const over = new Promise<never>((_, reject) => {
      const end = (reason: unknown) => {
        reject(reason);
        control.abort(reason);
      };
      timer = setTimeout(() => end(new Late(this.#timeoutMs)), Math.max(ms, 0));
      abort = () => end(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
    });
    over.catch(() => {});
    try {
      signal?.throwIfAborted();
      const asked = Promise.resolve(this.#embedder.embed?.(texts, { signal: control.signal }));
      return await Promise.race([asked, over]);
    } finally {
      clearTimeout(timer);
      if (abort) {
        signal?.removeEventListener('abort', abort);
      }
    }
  }

  /** What the embedder returned, if it is what it must be. */
  #checked(returned: unknown, texts: string[]): Embedded[] {
    const { fingerprint } = this.#embedder;
    if (!Array.isArray(returned) || returned.length !== texts.length) {
      throw new Unusable(
        `the embedder ${JSON.stringify(fingerprint)} returned ${Array.isArray(returned) ? returned.length : 'no'} vectors for ${texts.length} texts; it must return one for each`,
      );
    }
    try {
      return returned.map(embeddedOf);
    } catch (cause) {
      throw new Unusable(describe(cause), { cause });
    }
  }
}

/** What the embedder returned is no vector of each text. */
class Unusable extends EmbedderError {}

/** Of this package, or of another copy of it. */
function isEmbedderError(thrown: unknown): thrown is EmbedderError {
  return isMnemeError(thrown) && thrown.code === 'embedder';
}

/** Lets so many through at a time, in the order in which they came. */
class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(free: number) {
    this.#free = free;
  }

  /** Waits for a slot, which `give` gives back. */
  async take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(turn);
        reject(signal?.reason);
      };
      const turn = () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      this.#waiting.add(turn);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  give(): void {
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      next();
    } else {
      this.#free += 1;
    }
  }
}

/** An embedding as an embedder returns it. An `InvalidArgumentError` if its reading is not whole. */
export function embeddedOf(one: unknown): Embedded {
  if (typeof one !== 'object' || one === null || !('vector' in one)) {
    return { vector: vector(one, 'a vector of the embedder'), reading: undefined };
  }
  const where = 'what the embedder returned for a text';
  const given = known(one as { vector: Vector } & Partial<Reading>, READ, where);
  const tokens = count(given.tokens, 'tokens');
  const tokensRead = count(given.tokensRead, 'tokensRead') ?? tokens;
  const tokensUnknown = count(given.tokensUnknown, 'tokensUnknown');
  const least = (name: string, is: number | undefined, of: string, most: number | undefined) => {
    if (is !== undefined && (most === undefined || is > most)) {
      throw new InvalidArgumentError(
        `${where}: ${name} is ${is} and ${of} is ${most ?? 'missing'}; give ${of}, at least as many`,
      );
    }
  };
  least('tokensRead', tokensRead, 'tokens', tokens);
  least('tokensUnknown', tokensUnknown, 'tokensRead', tokensRead);
  return {
    vector: vector(given.vector, 'a vector of the embedder'),
    reading:
      tokens === undefined || tokensRead === undefined
        ? undefined
        : { tokens, tokensRead, tokensUnknown: tokensUnknown ?? 0 },
  };
}

class Late extends Error {
  constructor(ms: number) {
    super(
      `it has not answered within ${ms / 1000} s; raise embedder.timeoutSeconds, or see what it is doing`,
    );
  }
}

/** What an embedder's libraries attach to an error, as far as it is needed here. */
interface Attached {
  status?: unknown;
  statusCode?: unknown;
  headers?: unknown;
  response?: Attached;
  code?: unknown;
  retryable?: unknown;
  cause?: Attached;
}

/** What an embedder threw. */
function told(cause: unknown): Failure {
  if (isEmbedderError(cause)) {
    const isOfText = cause instanceof Unusable;
    return { error: cause, retryAfterMs: undefined, isLate: false, isOfText };
  }
  const thrown = (cause ?? {}) as Attached;
  const status = [thrown.status, thrown.statusCode, thrown.response?.status].find(
    (one) => typeof one === 'number',
  );
  const isLate = cause instanceof Late;
  const retryAfterMs = retryAfter(thrown.headers ?? thrown.response?.headers);
  const retryable =
    isLate ||
    thrown.retryable === true ||
    (status === undefined ? isOfNetwork(cause) : mayPass(status));
  const what = status === undefined ? describe(cause) : `${describe(cause)} (HTTP ${status})`;
  return {
    error: new EmbedderError(`the embedder failed: ${what}`, { retryable, cause }),
    retryAfterMs: retryable ? retryAfterMs : undefined,
    isLate,
    isOfText: status === 400 || status === 413 || status === 422,
  };
}

function mayPass(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

const NETWORK = /^(ECONN|EAI_AGAIN|ETIMEDOUT|EPIPE|ENETUNREACH|EHOSTUNREACH|UND_ERR)/;

/** Whether a connection failed: `fetch` throws a bare TypeError for that. */
function isOfNetwork(cause: unknown): boolean {
  const { code, cause: below } = (cause ?? {}) as Attached;
  const isCode = [code, below?.code].some((one) => typeof one === 'string' && NETWORK.test(one));
  const isFetch =
    isError(cause) &&
    cause.name === 'TypeError' &&
    /fetch|network|load failed|connection/i.test(cause.message);
  return isCode || isFetch;
}

/** Milliseconds that the headers of an answer ask to wait: seconds, or a date. */
function retryAfter(headers: unknown): number | undefined {
  const get = (name: string): string | undefined => {
    const from = headers as { get?: (name: string) => string | null } & Record<string, unknown>;
    const value = typeof from?.get === 'function' ? from.get(name) : from?.[name];
    return value === undefined || value === null ? undefined : String(value);
  };
  const ms = Number(get('retry-after-ms') ?? Number.NaN);
  if (ms >= 0) {
    return ms;
  }
  const after = get('retry-after');
  if (after === undefined) {
    return undefined;
  }
  const wait = /^\s*\d+(\.\d+)?\s*$/.test(after)
    ? 1000 * Number(after)
    : Date.parse(after) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(wait, 0);
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
