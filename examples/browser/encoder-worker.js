/** Runs the encoder, which is a component too, beside the page, so that it stays at hand. */

import { instantiate } from './encoder/encoder.js';

const ready = instantiate(
  async (name) =>
    WebAssembly.compileStreaming(fetch(new URL(`./encoder/${name}`, import.meta.url))),
  {},
).then(({ encoder }) => encoder);

self.onmessage = async ({ data: { id, texts } }) => {
  try {
    const encoder = await ready;
    const value =
      texts === undefined
        ? {
            fingerprint: encoder.fingerprint(),
            dimensions: encoder.dimensions(),
          }
        : encoder.embed(texts);
    self.postMessage({ id, value });
  } catch (error) {
    self.postMessage({ id, error: error.payload ?? error.message });
  }
};
