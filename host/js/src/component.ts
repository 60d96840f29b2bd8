/** An instance of the component on a store. */

import {
  ComponentError,
  InvalidArgumentError,
  UnsupportedError,
  describe,
  fromValue,
  type DataVanishedError,
  type ErrorValue,
} from './errors.js';
import type { Store } from './store.js';
import { storeImports } from './store-imports.js';

/** The component's core modules, by name. */
export type CoreModules = Record<string, CoreModule>;

/** A `WebAssembly.Module`; not every library of types knows that name. */
export type CoreModule = object;

/** An interface that a component exports: free functions, or promises of their results. */
export type Exports = Record<string, (...args: any[]) => any>;

/** What jco makes of a component. */
export interface Glue {
  instantiate(
    getCoreModule: (name: string) => CoreModule,
    imports: Record<string, unknown>,
  ): Record<string, Exports>;
}

/** A component as this package has it: its modules, and the glue for either way of calling. */
export interface Component {
  modules(): Promise<CoreModules>;
  /** For stores that never return promises. */
  synchronous(): Promise<Glue>;
  /** For all others; it needs JSPI. */
  suspending(): Promise<Glue>;
}

/** Whether WebAssembly can wait for promises in this runtime (JSPI). */
export function hasJspi(): boolean {
  return typeof (WebAssembly as unknown as { Suspending?: unknown }).Suspending === 'function';
}

/** Makes an instance with these imports. */
export type Instantiate = (imports: Record<string, unknown>) => Record<string, Exports>;

/** What makes instances of a component on a store. */
export async function instantiatorFor(component: Component, store: Store): Promise<Instantiate> {
  const [glue, modules] = await Promise.all([glueFor(component, store), component.modules()]);
  const module = (name: string) => {
    const found = modules[name];
    if (!found) {
      throw new ComponentError(`the package lacks the module ${name}; install it again`);
    }
    return found;
  };
  return (imports) => glue.instantiate(module, imports);
}

async function glueFor(component: Component, store: Store): Promise<Glue> {
  if (store.synchronous) {
    return component.synchronous();
  }
  requireJspi(`the ${store.capabilities().name} store`);
  return component.suspending();
}

/** Throws where WebAssembly cannot wait for promises. */
export function requireJspi(who: string): void {
  if (!hasJspi()) {
    throw new UnsupportedError(
      `${who} waits for promises, and this runtime lacks WebAssembly JSPI, which that takes (Chrome 137, Firefox 153, Safari 27, Node 24.20, and later); use the entry mneme-cache-wasm with a synchronous store: memory, node-sqlite, or in a browser the opfs store in a Worker`,
    );
  }
}

/** What an instance asks of its host, besides the store. */
export interface Hooks {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  confidence(similarity: number, ageSeconds: number, metadata: string): number;
  accept(candidate: unknown): boolean;
  onEvent(event: unknown): void;
  /** The next bytes of an archive; none at its end. */
  read(max: number): Uint8Array | Promise<Uint8Array>;
  write(bytes: Uint8Array): void | Promise<void>;
  progress(done: number, total: number | undefined, unit: 'bytes' | 'entries'): void;
}

/** An instance, and whether it may still be called. */
export class Instance {
  readonly #exports: Record<string, Exports>;
  /** What the store threw last, for the error that comes of it. */
  #thrown: unknown;
  #isOver = false;

  constructor(instantiate: Instantiate, store: Store, hooks: Hooks, timeout: number | undefined) {
    this.#exports = instantiate({
      'mneme:cache/store': storeImports({
        store,
        timeout,
        onThrow: (thrown) => {
          this.#thrown = thrown;
        },
      }),
      'mneme:cache/policy': {
        confidence: (similarity: number, age: bigint, metadata: string) =>
          hooks.confidence(similarity, Number(age), metadata),
        accept: (candidate: unknown) => hooks.accept(candidate),
        onEvent: (event: unknown) => hooks.onEvent(event),
      },
      'mneme:cache/archive': {
        read: (max: number) => hooks.read(max),
        write: (bytes: Uint8Array) => hooks.write(bytes),
        progress: (done: bigint, total: bigint | undefined, unit: 'bytes' | 'entries') =>
          hooks.progress(Number(done), total === undefined ? undefined : Number(total), unit),
      },
      'wasi:clocks/wall-clock': {
        now: () => {
          const ms = Math.max(0, hooks.now());
          const seconds = Math.floor(ms / 1000);
          return {
            seconds: BigInt(seconds),
            nanoseconds: Math.floor((ms - seconds * 1000) * 1e6),
          };
        },
      },
    });
  }

  /** Whether it must be replaced: a call has left it unusable, or its store has lost its data. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Calls a function of an exported interface. Errors are those of this package, and whatever
   * a hook has thrown.
   */
  call<R>(face: 'cache' | 'checkpoint', name: string, ...args: unknown[]): Promise<R> {
    this.#thrown = undefined;
    const failed = (thrown: unknown): never => {
      throw this.#error(thrown, name);
    };
    try {
      const result = this.#exports[face]?.[name]?.(...args) as R | Promise<R>;
      return Promise.resolve(result).catch(failed);
    } catch (thrown) {
      return Promise.reject(this.#error(thrown, name));
    }
  }

  #error(thrown: unknown, name: string): Error {
    // The component returns plain values; an `Error` is the runtime's, or the glue's.
    if (typeof (thrown as ErrorValue | null)?.tag === 'string') {
      this.#isOver ||= (this.#thrown as Partial<DataVanishedError> | undefined)?.vanished === true;
      return fromValue(thrown as ErrorValue, this.#thrown);
    }
    this.#isOver = true;
    return new ComponentError(
      `the component stopped in ${name}: ${describe(thrown)}; a new instance goes on, on the same store`,
    );
  }
}

/** Rejects text that is not valid Unicode: it would be stored as something else. */
export function wellFormed(value: unknown, field: string): string {
  if (typeof value !== 'string') {
    throw new InvalidArgumentError(
      `${field} is ${value === null ? 'null' : typeof value}; give a string`,
    );
  }
  if (!isWellFormed(value)) {
    throw new InvalidArgumentError(
      `${field} holds half of a surrogate pair, which is not a character; give well-formed text`,
    );
  }
  return value;
}

function isWellFormed(text: string): boolean {
  const native = (text as string & { isWellFormed?: () => boolean }).isWellFormed;
  if (native) {
    return native.call(text);
  }
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}
