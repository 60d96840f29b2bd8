/** Where vectors come from: Workers AI where it is bound, or else letters. */

/** A model of Workers AI. */
function workersAi(ai, model, dimensions) {
  return {
    fingerprint: `workers-ai/${model}`,
    dimensions,
    embed: async (texts) => (await ai.run(model, { text: texts })).data,
  };
}

/**
 * Counts the trigrams of a text. It needs no account and knows nothing of meaning: texts are
 * similar if they are spelt alike.
 */
const trigrams = {
  fingerprint: 'trigrams-1',
  dimensions: 512,
  embed: (texts) =>
    texts.map((text) => {
      const vector = new Float32Array(512);
      const padded = `  ${text} `;
      for (let i = 0; i + 3 <= padded.length; i++) {
        let hash = 2166136261;
        for (const c of padded.slice(i, i + 3)) {
          hash = Math.imul(hash ^ c.codePointAt(0), 16777619);
        }
        vector[(hash >>> 0) % 512] += 1;
      }
      return vector;
    }),
};

export function embedderOf(env) {
  return env.AI ? workersAi(env.AI, '@cf/baai/bge-small-en-v1.5', 384) : trigrams;
}
