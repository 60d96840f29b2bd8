/** The encoder in its Worker, as an embedder. */

/** Starts it. An error says what is missing, and how to get it. */
export async function startEncoder() {
  const worker = new Worker('encoder-worker.js', { type: 'module' });
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, value, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    error === undefined ? resolve(value) : reject(new Error(error));
  };
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) {
      reject(new Error(message || 'its script cannot be loaded'));
    }
    waiting.clear();
  };
  const ask = (texts) =>
    new Promise((resolve, reject) => {
      // The encoder would read another character in its place. The cache refuses such texts too.
      if (texts?.some((text) => !text.isWellFormed())) {
        throw new TypeError(
          'a text holds half of a surrogate pair, which is not a character; give well-formed text',
        );
      }
      last += 1;
      waiting.set(last, { resolve, reject });
      worker.postMessage({ id: last, texts });
    });
  try {
    return { ...(await ask()), maxBatch: 64, timeoutSeconds: 60, embed: ask };
  } catch (error) {
    worker.terminate();
    throw new Error(
      `The sentence encoder cannot be loaded: ${error.message}. If this is your own build, run \`npm run build\` in examples/browser, which makes it, and serve the folder site/. Otherwise reload the page when you are online.`,
      { cause: error },
    );
  }
}
