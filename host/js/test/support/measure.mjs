/** What a call costs, in whatever runtime this runs: medians in microseconds. */

import { Random } from './check.mjs';

const DIM = 384;

/** Vectors in topics, whose variances decay as those of sentence vectors. */
export function vectors(count, seed) {
  const random = new Random(seed);
  const weights = Float32Array.from({ length: DIM }, (_, i) => (1 + i / 32) ** -0.75);
  const direction = () => {
    const v = new Float32Array(DIM);
    // The sum of four even numbers is about normal.
    for (let i = 0; i < DIM; i++) {
      let sum = -2;
      for (let k = 0; k < 4; k++) sum += random.next() / 2 ** 32;
      v[i] = sum * weights[i];
    }
    return unit(v);
  };
  const topics = Array.from({ length: Math.ceil(count / 50) }, direction);
  return Array.from({ length: count }, (_, n) => {
    const topic = topics[n % topics.length];
    const own = direction();
    return unit(own.map((x, i) => 0.632 * x + 0.775 * topic[i]));
  });
}

function unit(v) {
  let squares = 0;
  for (const x of v) squares += x * x;
  const length = Math.sqrt(squares);
  return v.map((x) => x / length);
}

function summary(times) {
  times.sort((a, b) => a - b);
  const at = (share) => 1000 * times[Math.min(times.length - 1, Math.floor(share * times.length))];
  return { p50: at(0.5), p99: at(0.99) };
}

async function timed(count, call) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await call(i);
    times.push(performance.now() - start);
  }
  return times;
}

/**
 * Exact and semantic look-ups and puts on a store with `rows` entries, beside a scan of all
 * vectors in plain JavaScript. Clocks of browsers are coarse, so that look-ups are timed in tens.
 */
export async function measure(
  { SemanticCache },
  store,
  rows,
  { queries = 400, exactly = 8000 } = {},
) {
  const embedder = { fingerprint: 'bench', dimensions: DIM };
  const cache = await SemanticCache.open({ store, embedder });
  const all = vectors(rows, 1);
  for (let from = 0; from < rows; from += 500) {
    await cache.putMany(
      all.slice(from, from + 500).map((embedding, i) => ({
        query: `question ${from + i}`,
        response: `An answer of the usual length, number ${from + i}. `.repeat(4),
        embedding,
      })),
    );
  }
  await cache.warmUp();
  const random = new Random(3);
  const asked = Array.from({ length: queries }, () => {
    const row = random.below(rows);
    const other = all[random.below(rows)];
    return { row, embedding: unit(all[row].map((x, i) => 0.93 * x + 0.25 * other[i])) };
  });
  const flat = new Float32Array(rows * DIM);
  all.forEach((v, row) => flat.set(v, row * DIM));
  const scan = (q) => {
    let best = -2;
    let at = -1;
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      const start = row * DIM;
      for (let i = 0; i < DIM; i++) sum += q[i] * flat[start + i];
      if (sum > best) {
        best = sum;
        at = row;
      }
    }
    return at;
  };
  const TENS = 10;
  const tens = async (count, call) =>
    (
      await timed(count / TENS, async (i) => {
        for (let k = 0; k < TENS; k++) await call(i * TENS + k);
      })
    ).map((ms) => ms / TENS);
  const exact = () => cache.get(`question ${random.below(rows)}`);
  const semantic = async (i) => {
    const { row, embedding } = asked[i];
    // It has the same number, or it would be vetoed.
    const hit = await cache.get(`new question ${row}`, { embedding });
    if (hit?.query !== `question ${row}`) throw new Error(`query ${i} got ${hit?.query}`);
  };
  // Compilers of JavaScript take some thousand calls until they are through.
  await tens(exactly, exact);
  await tens(100, semantic);
  const results = {
    'exact-hit': summary(await tens(exactly, exact)),
    'semantic-hit': summary(await tens(queries, semantic)),
    put: summary(
      await timed(200, (i) => cache.put(`later ${i}`, 'an answer', { embedding: all[i] })),
    ),
  };
  scan(asked[0].embedding);
  results['plain JavaScript scan'] = summary(
    await tens(100, (i) => {
      if (scan(asked[i].embedding) !== asked[i].row) throw new Error('the scan is wrong');
    }),
  );
  await cache.close();
  return results;
}
