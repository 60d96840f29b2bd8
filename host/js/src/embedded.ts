/** Components whose modules are part of the package's scripts, compressed. */

import type { Component, CoreModules, Glue } from './component.js';

/** Modules by name: raw DEFLATE, in base64. */
export type Packed = Record<string, string>;

/**
 * A component of such modules. They are compiled once, when they are first needed, so that no
 * file is fetched and no bundler has to be told of one.
 */
export function embedded(
  packed: () => Promise<Packed>,
  synchronous: () => Promise<Glue>,
  suspending: () => Promise<Glue>,
): Component {
  let compiled: Promise<CoreModules> | undefined;
  return {
    modules: () => {
      compiled ??= packed()
        .then((all) =>
          Promise.all(
            Object.entries(all).map(
              async ([name, text]) =>
                [name, await WebAssembly.compile(await inflate(text))] as const,
            ),
          ),
        )
        .then((modules) => Object.fromEntries(modules));
      return compiled;
    },
    synchronous,
    suspending,
  };
}

async function inflate(base64: string): Promise<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    bytes[i] = text.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Response(stream).arrayBuffer();
}
