/** What the component asks of its caller's functions, and what becomes of their failures. */

import type { DumpOptions } from './api.js';
import { guarded, type Reader, type Writer } from './archive.js';
import { parseMetadata } from './checks.js';
import type { Hooks } from './component.js';
import { InvalidArgumentError, describe } from './errors.js';
import type { CacheOptions, ErrorContext } from './options.js';
import { toCandidate, toEvent, type RawCandidate } from './raw.js';

/** The archive of the present call. */
export interface Archive {
  reader?: Reader;
  writer?: Writer;
  progress?: DumpOptions['onProgress'] | undefined;
}

/** The functions of the options, made safe to call. */
export class Callbacks {
  readonly #options: CacheOptions;
  readonly #warned = new Set<string>();
  #thrown: { error: unknown } | undefined;
  /** The archive of the present call. */
  archive: Archive = {};
  readonly #clock: () => number;
  #began = 0;

  constructor(options: CacheOptions) {
    this.#options = options;
    this.#clock = clockOf(options);
  }

  /** Tells of a failure that no caller hears of. Nothing comes of what the listener throws. */
  tell(error: unknown, context: ErrorContext): void {
    const { onError } = this.#options;
    if (onError) {
      settle(
        () => onError(error, context),
        (failed) => warn(`onError failed: ${describe(failed)}`),
      );
    } else if (!this.#warned.has(context.during)) {
      this.#warned.add(context.during);
      warn(
        `${context.during}: ${describe(error)} (told once; the option onError hears of all such failures)`,
      );
    }
  }

  /** Begins a call. Throws where the clock gives no time. */
  begin(archive: Archive): void {
    this.#began = this.#clock();
    this.archive = archive;
    this.#thrown = undefined;
  }

  /** What a function that decides threw during the call: then its outcome means nothing. */
  get thrown(): { error: unknown } | undefined {
    return this.#thrown;
  }

  /** The functions that the component calls. */
  hooks(): Hooks {
    const { confidence, validator, onEvent } = this.#options;
    return {
      // What fails in the middle of a call ends it with the time of its beginning.
      now: () => this.#decided(this.#began, this.#clock),
      confidence: (similarity, age, text) =>
        this.#decided(0, () => {
          const found: unknown = confidence?.compute(similarity, age, parseMetadata(text)) ?? 0;
          if (typeof found !== 'number') {
            throw new InvalidArgumentError(
              `confidence.compute returned ${kind(found)}; return a number from 0 to 1`,
            );
          }
          return found;
        }),
      accept: (raw) =>
        this.#decided(false, () => {
          if (typeof validator !== 'function') {
            return true;
          }
          const verdict: unknown = validator(toCandidate(raw as RawCandidate));
          if (typeof verdict !== 'boolean') {
            drop(verdict);
            throw new InvalidArgumentError(
              `the validator returned ${kind(verdict)}; return true or false, for the cache cannot wait for it`,
            );
          }
          return verdict;
        }),
      onEvent: (raw) =>
        settle(
          () => onEvent?.(toEvent(raw)),
          (error) => this.tell(error, { during: 'onEvent' }),
        ),
      read: (max) => guarded('read', () => this.archive.reader?.read(max) ?? new Uint8Array(0)),
      write: (bytes) => guarded('written', () => this.archive.writer?.write(bytes)),
      progress: (done, total, unit) =>
        settle(
          () => this.archive.progress?.(done, total, unit),
          (error) => this.tell(error, { during: 'onProgress' }),
        ),
    };
  }

  /** What a function of the options decides. If it throws, the call fails at its end. */
  #decided<T>(otherwise: T, work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#thrown ??= { error };
      return otherwise;
    }
  }
}

/** The clock of the options; it throws an `InvalidArgumentError` in place of what is no time. */
export function clockOf({ now = Date.now }: CacheOptions): () => number {
  const wrong = (what: string, cause?: unknown) =>
    new InvalidArgumentError(
      `the option now ${what}; return milliseconds since the Unix epoch`,
      cause === undefined ? {} : { cause },
    );
  return () => {
    let ms: unknown;
    try {
      ms = now();
    } catch (cause) {
      throw wrong(`threw: ${describe(cause)}`, cause);
    }
    if (typeof ms !== 'number' || !(Math.abs(ms) <= Number.MAX_SAFE_INTEGER)) {
      drop(ms);
      throw wrong(`returned ${typeof ms === 'number' ? ms : kind(ms)}`);
    }
    return ms;
  };
}

/** Calls a listener. `failed` hears what it throws, also later. */
function settle(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const returned = call();
    if (isPromise(returned)) {
      returned.then(undefined, failed);
    }
  } catch (error) {
    failed(error);
  }
}

/** A promise that nobody waits for must not end the process. */
function drop(value: unknown): void {
  if (isPromise(value)) {
    value.then(undefined, () => {});
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

function kind(value: unknown): string {
  return isPromise(value) ? 'a promise' : value === null ? 'null' : typeof value;
}

function warn(message: string): void {
  console.warn(`mneme-cache-wasm: ${message}`);
}
