/**
 * Five thousand operations, the same in every runtime, and what came of them: a line of JSON each.
 * The Rust tests make the same calls through wasmtime and compare the lines.
 *
 * Vectors have few distinct values, and times come from a clock that is set, so that nothing
 * depends on where it runs.
 */

import { Random } from './support/check.mjs';

const DIM = 24;
const NAMESPACES = ['default', 'tenant-a', 'tenant b', '\u{1F980}'];
const START_MS = 1_700_000_000_000;

/** The options of the cache. */
export const OPTIONS = {
  similarityThreshold: 0.8,
  defaultTtlSeconds: 5000,
  maxEntries: 600,
  namespaceQuotas: { 'tenant-a': 60 },
  touchLimit: 7,
};

/** The operations: plain objects. */
export function operations(count = 5000, seed = 20_261_126) {
  const random = new Random(seed);
  const all = [];
  let ms = START_MS;
  const text = () =>
    `Question ${random.below(150)} ${['é', 'İ', 'ß', '\u{10FFFF}', ''][random.below(5)]}`;
  const namespace = () => NAMESPACES[random.below(NAMESPACES.length)];
  // Near one of a few directions, so that there are hits.
  const vector = () => {
    const base = new Random(1 + random.below(300)).vector(DIM);
    return Array.from(base, (x) => x + (random.below(33) - 16) / 256);
  };
  for (let n = 0; n < count; n++) {
    ms += random.below(40_000);
    const roll = random.below(100);
    const of = { ms, namespace: namespace() };
    if (roll < 45) {
      const vetoes = [undefined, [], [], ['roles', 'numbers']][random.below(4)];
      all.push({ op: 'get', ...of, query: text(), embedding: vector(), vetoes });
    } else if (roll < 85) {
      const ttl = [undefined, null, 60, 3600][random.below(4)];
      const response = `answer ${n}${random.below(20) === 0 ? ' [ERROR]' : ''}`;
      all.push({
        op: 'put',
        ...of,
        query: text(),
        embedding: vector(),
        response: random.below(30) === 0 ? `[ERROR] ${n}` : response,
        ttl,
        metadata: { n },
      });
    } else if (roll < 89) {
      all.push({ op: 'delete', ...of, query: text() });
    } else if (roll < 92) {
      all.push({ op: 'stats', ...of });
    } else if (roll < 94) {
      all.push({ op: 'vacuum', ...of, compact: random.below(2) === 0 });
    } else if (roll < 96) {
      all.push({ op: 'quota', ...of, maxEntries: [null, 20, 80][random.below(3)] });
    } else if (roll < 97) {
      all.push({ op: 'requantize', ms, dtype: ['float32', 'float16', 'int8'][random.below(3)] });
    } else if (roll < 98) {
      all.push({ op: 'clear', ...of });
    } else if (roll < 99) {
      all.push({ op: 'warmUp', ms });
    } else {
      all.push({ op: 'normalize', ms, query: text() });
    }
  }
  all.push({ op: 'stats', ms });
  return all;
}

const bits = new DataView(new ArrayBuffer(4));

/** A float32 to the bit. */
function exact(value) {
  bits.setFloat32(0, value);
  return bits.getUint32(0);
}

async function one(
  cache,
  { op, namespace, query, embedding, vetoes, response, ttl, metadata, maxEntries, compact, dtype },
) {
  switch (op) {
    case 'get': {
      const { hit, miss } = await cache.lookUp(query, { namespace, embedding, vetoes });
      if (miss) {
        return [miss.reason];
      }
      const { similarity, confidence } = hit;
      return [
        hit.layer,
        hit.id,
        hit.response,
        exact(similarity),
        exact(confidence),
        hit.ageSeconds,
        hit.query,
        hit.metadata.n,
      ];
    }
    case 'put':
      return [
        await cache.put(query, response, {
          namespace,
          embedding,
          metadata,
          ttlSeconds: ttl,
        }),
      ];
    case 'delete':
      return [await cache.delete(query, { namespace })];
    case 'stats': {
      const stats = await cache.stats(namespace);
      const { hitsExact, hitsSemantic, misses, evictions, expirations } = stats.counters;
      return [
        stats.entries,
        stats.indexRows,
        stats.indexTombstones,
        hitsExact,
        hitsSemantic,
        misses,
        evictions,
        expirations,
        Object.values(stats.counters.vetoes),
        stats.namespaces.map((one) => [one.namespace, one.entries, one.quota ?? null]),
      ];
    }
    case 'vacuum':
      return [await cache.vacuum({ namespace, compact })];
    case 'quota':
      await cache.setNamespaceQuota(namespace, maxEntries);
      return [];
    case 'requantize':
      await cache.requantize(dtype);
      return [];
    case 'clear':
      return [await cache.clearNamespace(namespace)];
    case 'warmUp':
      return [await cache.warmUp()];
    case 'normalize': {
      const { text, hash } = await cache.normalize(query);
      return [text, hash];
    }
  }
}

/** Runs the script on a memory store; a line for each operation, and the SHA-256 of a dump. */
export async function script({ SemanticCache, memory }, store = memory()) {
  let now = START_MS;
  const cache = await SemanticCache.open({
    ...OPTIONS,
    store,
    embedder: { fingerprint: 'script-1', dimensions: DIM },
    now: () => now,
  });
  const lines = [];
  for (const operation of operations()) {
    now = operation.ms;
    lines.push(JSON.stringify(await one(cache, operation)));
  }
  const { archive } = await cache.dump({ layout: 'portable', level: 6 });
  const digest = await crypto.subtle.digest('SHA-256', await archive.arrayBuffer());
  lines.push(Array.from(new Uint8Array(digest), (x) => x.toString(16).padStart(2, '0')).join(''));
  await cache.close();
  return lines;
}
