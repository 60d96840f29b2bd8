/** The instance that serves a cache, and the order of its calls. */

import { count, seconds } from './checks.js';
import { Instance, wellFormed, type Instantiate } from './component.js';
import { BackendError, ClosedError } from './errors.js';
import { Callbacks, type Archive } from './hooks.js';
import { LOCK_WAIT_MS, during } from './locks.js';
import type { CacheOptions } from './options.js';
import { Queue } from './queue.js';
import { applyOptions, type RawOptions } from './raw-options.js';
import type { VetoKind } from './trust.js';

const STORE_TIMEOUT_SECONDS = 30;

/** The store's data are locked, so the call is to be made again. */
const LOCKED: unique symbol = Symbol('locked');
type Locked = typeof LOCKED;
/** Calls that stay in their order, even where one of them waits for a lock. */
const CHANGES = new Set([
  'put',
  'putMany',
  'delete',
  'erase',
  'clear',
  'clearNamespace',
  'vacuum',
  'setNamespaceQuota',
  'load',
  'link',
]);

/** Runs the calls of a cache, one at a time, in the order in which they are made. */
export class Runner {
  readonly options: CacheOptions;
  readonly callbacks: Callbacks;
  readonly #instantiate: Instantiate;
  readonly #queue = new Queue();
  /** Those who wait for a lock of the store, one of whom asks for it. */
  readonly #line = new Queue();
  /** How many they are. */
  #locked = 0;
  #raw = {} as RawOptions;
  #usualVetoes: readonly VetoKind[] = [];
  #instance: Instance | undefined;
  #closed = false;

  constructor(instantiate: Instantiate, options: CacheOptions) {
    this.#instantiate = instantiate;
    this.options = options;
    this.callbacks = new Callbacks(options);
  }

  /** Opens the store. */
  async open(): Promise<void> {
    this.callbacks.begin({});
    const { fingerprint, dimensions } = this.options.embedder;
    const instance = this.#start();
    const defaults = await instance.call<RawOptions>(
      'cache',
      'defaultOptions',
      wellFormed(fingerprint, 'embedder.fingerprint'),
      count(dimensions, 'embedder.dimensions'),
    );
    this.#usualVetoes = defaults.vetoes;
    this.#raw = applyOptions(defaults, this.options);
    await instance.call('cache', 'open', this.#raw);
    this.#instance = instance;
    // A quota set once is not to be set again by an instance that takes over.
    this.#raw = { ...this.#raw, namespaceQuotas: [] };
  }

  /** The options with which an instance takes over. */
  get raw(): Readonly<RawOptions> {
    return this.#raw;
  }

  /** The kinds of vetoes that are looked for by default. */
  get usualVetoes(): readonly VetoKind[] {
    return this.#usualVetoes;
  }

  /** Options that a call has changed. */
  change(changed: Partial<RawOptions>): void {
    this.#raw = { ...this.#raw, ...changed };
  }

  /**
   * Calls a function of the component, when all earlier calls are finished. While the store finds
   * its data locked, others have their turn, but none that changes something. A dump takes no lock.
   */
  async call<R>(
    name: string,
    args: unknown[],
    signal?: AbortSignal,
    archive: Archive = {},
    face: 'cache' | 'checkpoint' = 'cache',
  ): Promise<R> {
    if (name === 'dump' || !this.options.store.synchronous) {
      return this.#turn((instance) => instance.call<R>(face, name, ...args), signal, archive);
    }
    let since: number | undefined;
    let isCounted = false;
    const toLine = (): Locked => {
      // Whoever has left does not wait.
      signal?.throwIfAborted();
      if (!isCounted) {
        isCounted = true;
        this.#locked += 1;
      }
      return LOCKED;
    };
    const ask = (isInLine: boolean) =>
      this.#turn<R | Locked>(
        async (instance) => {
          const now = performance.now();
          since ??= now;
          if (!isInLine && this.#locked > 0 && CHANGES.has(name)) {
            return toLine();
          }
          archive.reader?.restart();
          const { outcome, mayRepeat } = during(now - since, () =>
            instance.call<R>(face, name, ...args),
          );
          try {
            return await outcome;
          } catch (error) {
            if (!mayRepeat || !(error instanceof BackendError) || !error.retryable) {
              throw error;
            }
            return toLine();
          }
        },
        signal,
        archive,
      );
    const wait = async () => {
      for (;;) {
        await new Promise((resolve) => {
          setTimeout(resolve, LOCK_WAIT_MS);
        });
        const answer = await ask(true);
        if (answer !== LOCKED) {
          return answer;
        }
      }
    };
    try {
      const answer = await ask(false);
      return answer === LOCKED ? await this.#line.run(wait, signal) : answer;
    } finally {
      this.#locked -= isCounted ? 1 : 0;
    }
  }

  /** Works with the instance, when all earlier calls are finished. */
  #turn<R>(
    work: (instance: Instance) => Promise<R>,
    signal?: AbortSignal,
    archive: Archive = {},
  ): Promise<R> {
    return this.#queue.run(async () => {
      if (this.#closed) {
        throw new ClosedError();
      }
      this.callbacks.begin(archive);
      const instance = await this.#running();
      try {
        const result = await work(instance);
        // A function of the options has failed, and the answer is not what it would be.
        const { thrown } = this.callbacks;
        if (thrown) {
          throw thrown.error;
        }
        return result;
      } finally {
        this.callbacks.archive = {};
        if (instance.isOver) {
          this.#instance = undefined;
        }
      }
    }, signal);
  }

  /** The instance; a new one, on the same store, if the last one can go on no more. */
  async #running(): Promise<Instance> {
    if (!this.#instance) {
      const instance = this.#start();
      await instance.call('cache', 'open', this.#raw);
      await this.#tellQuotas(instance);
      this.#instance = instance;
    }
    return this.#instance;
  }

  /** Opens an instance again with the present quotas of the namespaces named at opening. */
  async #tellQuotas(instance: Instance): Promise<void> {
    const namespaceQuotas: [string, bigint][] = [];
    for (const namespace of Object.keys(this.options.namespaceQuotas ?? {})) {
      const quota = await instance.call<bigint | undefined>(
        'cache',
        'getNamespaceQuota',
        namespace,
      );
      if (quota !== undefined) {
        namespaceQuotas.push([namespace, quota]);
      }
    }
    if (namespaceQuotas.length > 0) {
      await instance.call('cache', 'close');
      await instance.call('cache', 'open', { ...this.#raw, namespaceQuotas });
    }
  }

  #start(): Instance {
    const { storeTimeoutSeconds = STORE_TIMEOUT_SECONDS } = this.options;
    const timeout = seconds(storeTimeoutSeconds, 'storeTimeoutSeconds');
    const timeoutMs = timeout && 1000 * timeout;
    return new Instance(this.#instantiate, this.options.store, this.callbacks.hooks(), timeoutMs);
  }

  /** Runs `work` on the store between two calls. */
  between<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#queue.run(work);
  }

  /** Flushes, then closes the store, when nobody waits for a lock. Closing twice does nothing. */
  async close(): Promise<void> {
    while (!(await this.#queue.run(() => this.#closeUnlessLocked()))) {
      await this.#line.run(() => {});
    }
  }

  async #closeUnlessLocked(): Promise<boolean> {
    if (this.#locked > 0) {
      return false;
    }
    if (!this.#closed) {
      this.#closed = true;
      const instance = this.#instance;
      this.#instance = undefined;
      try {
        await (instance ? instance.call('cache', 'close') : this.options.store.close());
      } finally {
        await this.options.store.release?.();
      }
    }
    return true;
  }
}
