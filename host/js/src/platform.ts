/** What the language's surroundings offer, which differ: browsers, servers, test environments. */

/** A module of Node, Bun or Deno; undefined where there is none of that name. */
export function builtin<T>(name: string): T | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return process?.getBuiltinModule?.(name) as T | undefined;
}

type Texts = Pick<typeof globalThis, 'TextDecoder' | 'TextEncoder'>;

// Some test environments (jsdom under Jest) have taken these away.
const texts: Texts =
  typeof globalThis.TextDecoder === 'function'
    ? globalThis
    : (builtin<Texts>('node:util') ?? globalThis);

export const { TextDecoder, TextEncoder } = texts;

/** The kind of an object, also of one of another realm, such as that of a test's environment. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Bytes that nobody can guess; undefined where nothing here makes them. */
export function random(count: number): Uint8Array | undefined {
  const crypto: Partial<Crypto> | undefined =
    globalThis.crypto ?? builtin<typeof import('node:crypto')>('node:crypto')?.webcrypto;
  return crypto?.getRandomValues?.(new Uint8Array(count));
}

// As they were at the beginning: a program's tests may replace them by clocks that stand still.
const immediately =
  (globalThis as { setImmediate?: (work: () => void) => unknown }).setImmediate ??
  builtin<typeof import('node:timers')>('node:timers')?.setImmediate;
const { MessageChannel: Channel, setTimeout: later } = globalThis;

/**
 * Gives timers, input and output their turn. `scheduler.yield` would not: its continuations go
 * before all timers.
 */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    if (immediately) {
      immediately(() => resolve());
    } else if (typeof Channel === 'function') {
      const { port1, port2 } = new Channel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(undefined);
    } else {
      later(resolve, 0);
    }
  });
}

/** Decompresses raw DEFLATE; undefined where nothing here can. */
export async function inflateRaw(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array | undefined> {
  if (typeof globalThis.DecompressionStream !== 'function') {
    return builtin<typeof import('node:zlib')>('node:zlib')?.inflateRawSync(bytes);
  }
  const { readable, writable } = new DecompressionStream('deflate-raw');
  const writer = writable.getWriter();
  const written = writer.write(bytes).then(() => writer.close());
  // A failure shows at the other end.
  written.catch(() => {});
  const parts: Uint8Array[] = [];
  const reader = readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return joined(parts);
    }
    parts.push(value);
  }
}

/** All parts, one after another. */
export function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
