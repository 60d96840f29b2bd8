/**
 * What is said of pairs of questions, the same in every runtime: a line of JSON each. The Rust tests
 * judge the same pairs through wasmtime and compare the lines.
 */

/** Pairs that somebody has made to confuse: `{ query, entry }`. */
export function hostile() {
  const long = 32 * 1024;
  const numbers = (from) => Array.from({ length: 5000 }, (_, i) => from + i).join(' ');
  const texts = [
    '',
    ' \n\t',
    '1'.repeat(long),
    `${'1'.repeat(long - 1)}2`,
    'word '.repeat(6000),
    `not ${'word '.repeat(6000)}`,
    `How old is version 1.2? ${'x'.repeat(9000)} How old is version 1.3?`,
    `How old is version 1.3? ${'x'.repeat(9000)} How old is version 1.2?`,
    numbers(1),
    numbers(2),
    'turn \u202Eon\u202C the light',
    'turn \u202Eoff\u202C the light',
    'turn o\u200Bn the light',
    'turn o\u200Bff the light',
    'turn \u043En the light',
    'turn \u043Eff the light',
    'TURN ON THE LIGHT',
    'turn off the light',
    'Schalte das Licht an',
    'Schalte das Licht aus',
    '\u{1F980} 1 \u{10FFFF}',
    '\u{1F980} 2 \u{10FFFF}',
    'e\u0301te\u0301 2024',
    '\u00E9t\u00E9 2025',
  ];
  return texts.flatMap((query) => texts.map((entry) => ({ query, entry })));
}

/** A line for each pair and its reverse: of all kinds, and of those of the default. */
export async function judging({ SemanticCache, memory }, pairs) {
  const embedder = { fingerprint: 'pairs-1', dimensions: 2 };
  const cache = await SemanticCache.open({ store: memory(), embedder });
  const lines = [];
  for (const { query, entry } of pairs) {
    const said = [];
    for (const kinds of ['strict', 'default']) {
      for (const [one, other] of [
        [query, entry],
        [entry, query],
      ]) {
        const { vetoes, partial } = await cache.judge(one, other, kinds);
        said.push([vetoes.map(({ kind, query, entry }) => [kind, query, entry]), partial]);
      }
    }
    lines.push(JSON.stringify(said));
  }
  await cache.close();
  return lines;
}
