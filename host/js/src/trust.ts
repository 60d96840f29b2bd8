/** What keeps an entry that is similar enough from answering, and what a verifier says of it. */

import { listOf, oneOf } from './checks.js';
import { InvalidArgumentError } from './errors.js';

/** The kinds, in the order of the contract. */
const VETO_KINDS = [
  'opposites',
  'negation',
  'numbers',
  'dates',
  'identifiers',
  'roles',
  'names',
  'question-word',
] as const;

/**
 * What differs between two questions so that the answer to one is no answer to the other. The rules
 * know English; texts in another language or script get no veto.
 *
 * - `opposites`: words that exclude each other: `install` and `uninstall`, `breakfast` and `dinner`.
 * - `negation`: one of two texts that are otherwise the same has one more negation.
 * - `numbers`: other numbers, or the same in another order.
 * - `dates`: another day, month, year or time of day.
 * - `identifiers`: another version, code, file name, operator or option.
 * - `roles`: words that changed places: `miles to km` and `km to miles`.
 * - `names`: another name, as its capital tells. It is often wrong.
 * - `question-word`: another question: who, when, where, why. It is often wrong.
 */
export type VetoKind = (typeof VETO_KINDS)[number];

/**
 * Which vetoes are looked for: some kinds, in any order, each once; `default`, all but `names` and
 * `question-word`; `strict`, all; or `none`.
 */
export type Vetoes = readonly VetoKind[] | 'default' | 'strict' | 'none';

/** A reason why an entry must not answer, with its evidence. */
export interface Veto {
  kind: VetoKind;
  /** Where it stands in the query as asked: at most 64 characters of it. */
  query: string;
  /** Where it stands in the query that the entry was stored under: at most 64 characters of it. */
  entry: string;
}

/** The vetoes of two texts. */
export interface Judgement {
  /** At most one of each kind, in the order of the kinds. None: the entry may answer. */
  vetoes: Veto[];
  /**
   * Whether a text was longer than 8 KiB or 2,048 words: only the first and the last part of it were
   * compared, 4 KiB each at most.
   */
  partial: boolean;
}

/** How many candidates of look-ups had a veto of each kind. */
export type VetoCounts = Record<VetoKind, number>;

/**
 * What a verifier says about a candidate. `unknown`: it cannot tell, and the similarity decides, as if
 * nobody had been asked.
 */
export type Opinion = 'yes' | 'no' | 'unknown';

/** What was said about one version of an entry. */
export interface Verification {
  /** The store's id of the entry. */
  id: number;
  /** When the entry was stored, to the second. */
  createdAt: Date;
  /** `failed`: the verifier failed or took too long, and the candidate does not answer. */
  opinion: Opinion | 'failed';
}

/** Kinds of vetoes as the component takes them; undefined where none are given. `usual` is `default`. */
export function vetoKinds(value: unknown, usual: readonly VetoKind[]): VetoKind[] | undefined {
  switch (value) {
    case undefined:
      return undefined;
    case 'default':
      return [...usual];
    case 'strict':
      return [...VETO_KINDS];
    case 'none':
      return [];
  }
  if (typeof value === 'string') {
    throw new InvalidArgumentError(
      `vetoes are ${JSON.stringify(value)}; give default, strict, none, or an array of kinds`,
    );
  }
  return Array.from(listOf(value, 'vetoes', 'kinds'), (kind) =>
    oneOf(kind, VETO_KINDS, 'a kind of veto'),
  );
}

/** Counts as the component has them. */
export function vetoCounts(raw: Record<string, unknown>): VetoCounts {
  const camel = (kind: string) =>
    kind.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(
    VETO_KINDS.map((kind) => [kind, Number(raw[camel(kind)])]),
  ) as unknown as VetoCounts;
}
