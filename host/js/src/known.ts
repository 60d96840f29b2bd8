/** Options that nobody knows are errors: a name that is spelt wrong would pass unheeded. */

import { InvalidArgumentError } from './errors.js';

/** Every name of the options `T`; the compiler sees that it is complete. */
export type Names<T> = Record<keyof Required<T>, true>;

/** Names that people try, and what they are called here: whichever of them the call has. */
const CALLED: Record<string, string[]> = {
  ttl: ['ttlSeconds', 'defaultTtlSeconds'],
  ttlms: ['ttlSeconds', 'defaultTtlSeconds'],
  expires: ['ttlSeconds', 'defaultTtlSeconds'],
  maxage: ['ttlSeconds', 'defaultTtlSeconds'],
  defaultttl: ['defaultTtlSeconds'],
  stalems: ['staleSeconds'],
  embedtimeout: ['embedder.timeoutSeconds'],
  embedtimeoutseconds: ['embedder.timeoutSeconds'],
  threshold: ['similarityThreshold'],
  similaritythreshold: ['threshold'],
  keepcase: ['normalize: false'],
  vector: ['embedding'],
  verifier: ['verify'],
  veto: ['vetoes'],
  bound: ['errorBound'],
  compare: ['sameAnswer'],
  halflifeseconds: ['decay.halfLifeSeconds'],
  cutoff: ['decay.cutOff', 'confidence.cutOff'],
};

/**
 * The options as a plain object, none where there are none. Each name is read once, from wherever
 * the object has it: copying an instance of a class would lose what its prototype has. An `InvalidArgumentError` for what is no object, and for
 * one with a name that is not among `names`, which suggests the right one.
 */
export function known<T extends object>(
  options: T | null | undefined,
  names: Names<T>,
  where: string,
): T {
  if (options === undefined || options === null) {
    return {} as T;
  }
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw new InvalidArgumentError(
      `the options of ${where} are ${Array.isArray(options) ? 'a list' : `of type ${typeof options}`}; give an object`,
    );
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(names, name)) {
      throw unknownOption(name, Object.keys(names), where);
    }
  }
  const plain: Partial<T> = {};
  for (const name of Object.keys(names) as (keyof T)[]) {
    const value = options[name];
    if (value !== undefined) {
      plain[name] = value;
    }
  }
  return plain as T;
}

/**
 * Refuses names that are nearly those of options that are not given, in an object that may have
 * any others.
 */
export function refuseNear<T extends object>(object: T, names: Names<T>, where: string): void {
  for (const name of Object.keys(object)) {
    const near = Object.hasOwn(names, name) ? undefined : nearest(name, Object.keys(names));
    if (near !== undefined && object[near as keyof T] === undefined) {
      throw unknownOption(name, Object.keys(names), where);
    }
  }
}

function unknownOption(name: string, names: string[], where: string): InvalidArgumentError {
  const near = nearest(name, names);
  const remedy =
    near === undefined ? `it knows ${names.sort().join(', ') || 'none'}` : `did you mean ${near}?`;
  return new InvalidArgumentError(`${where} has no option ${JSON.stringify(name)}; ${remedy}`);
}

/** The name that was most likely meant. */
function nearest(given: string, names: string[]): string | undefined {
  const called = Object.entries(CALLED).flatMap(([word, means]) =>
    means
      .filter((name) => names.includes(name.split(/[.:]/)[0] as string))
      .map((name) => ({ word, name })),
  );
  const candidates = [...names.map((name) => ({ word: name.toLowerCase(), name })), ...called];
  let best: { name: string; steps: number } | undefined;
  for (const { word, name } of candidates) {
    const steps = farFrom(given.toLowerCase(), word);
    if (steps <= Math.max(1, Math.floor(word.length / 4)) && steps < (best?.steps ?? Infinity)) {
      best = { name, steps };
    }
  }
  return best?.name;
}

/** How far a word is from another, of which the unit may be left out or another one. */
function farFrom(given: string, word: string): number {
  const bare = (text: string) => text.replace(/(seconds|secs|ms|millis|milliseconds)$/, '');
  return Math.min(distance(given, word), distance(bare(given), bare(word)));
}

/** How many letters have to be added, removed, changed or swapped with the next (Damerau). */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  const at = (i: number, j: number) => (rows[i] as number[])[j] as number;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      let steps = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + change);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        steps = Math.min(steps, at(i - 2, j - 2) + 1);
      }
      row.push(steps);
    }
  }
  return at(a.length, b.length);
}
