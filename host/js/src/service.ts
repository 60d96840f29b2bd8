/**
 * Asking a function of the program that may ask a service, such as an embedder: only so many
 * at a time, with a deadline, again where that may help, and not in vain.
 */

import { count, seconds } from './checks.js';
import {
  ComparerError,
  EmbedderError,
  VerifierError,
  describe,
  isError,
  isMnemeError,
} from './errors.js';

const CONCURRENCY = 16;
const TIMEOUT_SECONDS = 10;
/** The wait before the first retry, doubled for each further one. */
const BACKOFF_MS = 250;
/** As many failures in a row rest the service; one time-out is enough. */
const FAILURES = 3;
const [SHORTEST_REST_MS, LONGEST_REST_MS] = [1000, 60_000];

const ERRORS = { embedder: EmbedderError, verifier: VerifierError, comparer: ComparerError };

/** Who is asked: also the code of its errors. */
type Who = keyof typeof ERRORS;
type ServiceError = EmbedderError | VerifierError | ComparerError;

/** How long something may take, by the name of the option. Default 10 s. */
export type Limit = [name: string, seconds: unknown];

/** What the caller's options say, and what they are called. */
export interface Terms {
  /** How often a call is repeated that failed in a way that may pass. */
  retries: number;
  /** By the name of the option: calls at a time, at least 1. Default 16. */
  concurrency: [name: string, value: unknown];
  /** How long a call may take, with its retries. */
  timeoutSeconds: Limit;
  /** Milliseconds, for how long it rests. */
  now: () => number;
}

/** What ended one call. */
interface Failure {
  error: ServiceError;
  /** How long the service asks to be left alone. */
  retryAfterMs: number | undefined;
  isLate: boolean;
  /** The service is well: it only refuses what it was given. */
  isOfInput: boolean;
}

/** Somebody who is asked, with what is known of their health. */
export class Service {
  readonly #who: Who;
  readonly #now: () => number;
  readonly #timeoutMs: number;
  readonly #timeoutName: string;
  readonly #retries: number;
  readonly #slots: Slots;
  #failures = 0;
  #rest: { until: number; ms: number; error: ServiceError } | undefined;
  #isProbing = false;

  constructor(who: Who, { retries, concurrency, timeoutSeconds, now }: Terms) {
    const [concurrencyName, calls] = concurrency;
    this.#who = who;
    this.#now = now;
    this.#timeoutMs = milliseconds(timeoutSeconds);
    this.#timeoutName = timeoutSeconds[0];
    this.#retries = retries;
    this.#slots = new Slots(Math.max(count(calls, concurrencyName) ?? CONCURRENCY, 1));
  }

  /**
   * What `check` makes of what `ask` returns. An error of its kind if it cannot be had; what `check`
   * throws says nothing of the service. If `signal` is aborted, its reason.
   */
  async call<R>(
    ask: (signal: AbortSignal) => unknown,
    check: (returned: unknown) => R,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    await this.#slots.take(signal);
    let isProbe = false;
    try {
      // While it waited for its turn, others may have found out that the service fails.
      isProbe = this.#enter();
      const checked = check(await this.#persistently(ask, signal, isProbe));
      this.#failures = 0;
      this.#rest = undefined;
      return checked;
    } finally {
      if (isProbe) {
        this.#isProbing = false;
      }
      this.#slots.give();
    }
  }

  /** Whether this call finds out if the service works again. Throws while it rests. */
  #enter(): boolean {
    const rest = this.#rest;
    if (!rest) {
      return false;
    }
    const left = rest.until - this.#now();
    // A clock that was set back must not make it rest for long.
    if ((left > 0 && left <= rest.ms) || this.#isProbing) {
      throw new ERRORS[this.#who](
        `the ${this.#who} is not asked, for it failed a moment ago: ${rest.error.message}; it is asked again ${left > 0 ? `in ${(left / 1000).toFixed(1)} s` : 'when a call that is under way succeeds'}`,
        { retryable: true, cause: rest.error.cause ?? rest.error },
      );
    }
    this.#isProbing = true;
    return true;
  }

  async #persistently(
    ask: (signal: AbortSignal) => unknown,
    signal: AbortSignal | undefined,
    isProbe: boolean,
  ): Promise<unknown> {
    const end = performance.now() + this.#timeoutMs;
    for (let attempt = 0; ; attempt++) {
      let failure: Failure;
      try {
        return await this.#once(ask, signal, end - performance.now());
      } catch (cause) {
        signal?.throwIfAborted();
        failure = told(this.#who, cause);
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
  #failed({ error, retryAfterMs, isLate, isOfInput }: Failure, isProbe: boolean): void {
    if (isOfInput || (this.#rest && !isProbe)) {
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
  async #once(
    ask: (signal: AbortSignal) => unknown,
    signal: AbortSignal | undefined,
    ms: number,
  ): Promise<unknown> {
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: (() => void) | undefined;
    const over = new Promise<never>((_, reject) => {
      const end = (reason: unknown) => {
        reject(reason);
        control.abort(reason);
      };
      timer = setTimeout(() => end(new Late(this.#timeoutMs, this.#timeoutName)), Math.max(ms, 0));
      abort = () => end(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
    });
    over.catch(() => {});
    try {
      signal?.throwIfAborted();
      const asked = Promise.resolve(ask(control.signal));
      return await Promise.race([asked, over]);
    } finally {
      clearTimeout(timer);
      if (abort) {
        signal?.removeEventListener('abort', abort);
      }
    }
  }
}

function milliseconds([name, value]: Limit): number {
  return 1000 * (seconds(value, name) ?? TIMEOUT_SECONDS);
}

/** So much later a time limit around a service ends, which is to notice its own time-out first. */
const GRACE_MS = 50;

/** Calls `work` with a signal that is aborted when the time is over. */
export async function within<T>(
  limit: Limit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ms = milliseconds(limit);
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(new Late(ms, limit[0])), ms + GRACE_MS);
  try {
    return await work(control.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Of this package, or of another copy of it. */
export function isErrorOf<W extends Who>(
  who: W,
  thrown: unknown,
): thrown is InstanceType<(typeof ERRORS)[W]> {
  return isMnemeError(thrown) && thrown.code === who;
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

class Late extends Error {
  constructor(ms: number, option: string) {
    super(`it has not answered within ${ms / 1000} s; raise ${option}, or see what it is doing`);
  }
}

/** What libraries attach to an error, as far as it is needed here. */
interface Attached {
  status?: unknown;
  statusCode?: unknown;
  headers?: unknown;
  response?: Attached;
  code?: unknown;
  retryable?: unknown;
  cause?: Attached;
}

/** What was thrown by who was asked. */
function told(who: Who, cause: unknown): Failure {
  if (isErrorOf(who, cause)) {
    return { error: cause, retryAfterMs: undefined, isLate: false, isOfInput: false };
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
    error: new ERRORS[who](`the ${who} failed: ${what}`, { retryable, cause }),
    retryAfterMs: retryable ? retryAfterMs : undefined,
    isLate,
    isOfInput: status === 400 || status === 413 || status === 422,
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
