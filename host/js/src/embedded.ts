/** Components whose modules are part of the package's scripts, compressed. */

import type { Component, CoreModules, Glue } from './component.js';
import { UnsupportedError, describe } from './errors.js';
import { inflateRaw } from './platform.js';

/** Modules by name: raw DEFLATE, in base64. */
export type Packed = Record<string, string>;

/**
 * A component of such modules. They are compiled once, when they are first needed, so that no
 * file is fetched and no bundler has to be told of one.
 */
export function embedded(
  packed: () => Packed | Promise<Packed>,
  synchronous: () => Glue | Promise<Glue>,
  suspending: () => Glue | Promise<Glue>,
): Component {
  let compiled: Promise<CoreModules> | undefined;
  return {
    modules: () => {
      // What has failed may succeed later: a script that could not be loaded, say.
      compiled ??= compileAll(packed).catch((error: unknown) => {
        compiled = undefined;
        throw error;
      });
      return compiled;
    },
    synchronous: async () => synchronous(),
    suspending: async () => suspending(),
  };
}

async function compileAll(packed: () => Packed | Promise<Packed>): Promise<CoreModules> {
  const modules = Object.entries(await packed()).map(
    async ([name, text]) => [name, await compile(await inflate(text))] as const,
  );
  return Object.fromEntries(await Promise.all(modules));
}

async function compile(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    const isForbidden = /content.security.policy|\bCSP\b/i.test(describe(cause));
    throw new UnsupportedError(
      isForbidden
        ? "the page's Content-Security-Policy forbids WebAssembly; add 'wasm-unsafe-eval' to its script-src"
        : `WebAssembly cannot be compiled here: ${describe(cause)}; see whether this runtime is up to date (SIMD is needed)`,
      { cause },
    );
  }
}

async function inflate(base64: string): Promise<Uint8Array<ArrayBuffer>> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    bytes[i] = text.charCodeAt(i);
  }
  const inflated = await inflateRaw(bytes);
  if (!inflated) {
    throw new UnsupportedError(
      'this runtime has neither DecompressionStream nor node:zlib; use a browser from 2023 on, or Node 20.16',
    );
  }
  return inflated as Uint8Array<ArrayBuffer>;
}
