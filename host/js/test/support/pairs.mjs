/** Pairs of questions that look alike: those that people have written, and those made to confuse. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { hostile } from '../judging.mjs';

const folder = fileURLToPath(new URL('../../../../tests/trust/', import.meta.url));

/** All pairs: `{ query, entry }`. */
export function pairs() {
  const written = ['near_misses.jsonl', 'near_misses_unseen.jsonl'].flatMap((file) =>
    readFileSync(`${folder}${file}`, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const { query, entry } = JSON.parse(line);
        return { query, entry };
      }),
  );
  return [...written, ...hostile()];
}
