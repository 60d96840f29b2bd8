/** The error bound: how many answers by meaning may be wrong, what labels say, and who gives them. */

import { number, oneOf } from './checks.js';
import { wellFormed } from './component.js';
import { InvalidArgumentError, UnsupportedError } from './errors.js';
import { known, type Names } from './known.js';
import type { CacheOptions, Candidate } from './options.js';
import { random } from './platform.js';
import type { VetoKind } from './trust.js';

const OF = ['answers', 'requests'] as const;
const LABELS = ['same', 'different', 'unknown'] as const;
const SOURCES = ['compared', 'judged', 'user'] as const;

/**
 * How many answers by meaning may be wrong. An entry answers if labels prove that at most a share
 * `delta` of what answers so is wrong. With too few labels, or bad ones, nothing answers by meaning.
 */
export interface ErrorBound {
  /** The largest share that may be wrong, above 0 and below 1. Default 0.05. */
  delta?: number | undefined;
  /**
   * What it is a share of: of the answers given by meaning, or of all requests that the exact layer
   * does not answer. Default `answers`.
   */
  of?: (typeof OF)[number] | undefined;
  /**
   * The share of the would-be answers that are refused to get a label, 0 to 1. The question and the
   * entry decide which: the same question is refused each time. Default 0.05.
   */
  explore?: number | undefined;
  /** How sure the bound is at each look at the labels, above 0.5 and below 1. Default 0.95. */
  confidence?: number | undefined;
  /**
   * No entry below this similarity is looked at, -1 to below 1. It replaces `similarityThreshold`;
   * the `threshold` of a question is a further limit. Default 0.7.
   */
  floor?: number | undefined;
}

/**
 * What somebody found who compared an entry's response with the right one. `same`: the entry may
 * answer. `different`: it may not. `unknown`: nobody can say, which the bound counts as wrong.
 */
export type Label = (typeof LABELS)[number];

/** Who found it: a program that has both responses, a verifier, or a person. */
export type LabelSource = (typeof SOURCES)[number];

/**
 * Compares the response of a candidate with the right one, which is the text that the cache keeps: of
 * values that are no text, their JSON. `signal` is aborted when nobody waits for it any more.
 */
export type Comparer = (
  candidate: Candidate,
  response: string,
  options: { signal: AbortSignal },
) => Label | Promise<Label>;

/**
 * How two responses are compared: by a function; or by the cosine of their vectors, which the
 * cache's embedder makes. At `leastSimilarity` (-1 to 1) or above they are the `same`, below it
 * `different`. Equal ones are not embedded, and what the embedder could not read is `unknown`.
 */
export type SameAnswer = Comparer | { leastSimilarity: number };

/** Options of `feedback`. */
export interface FeedbackOptions {
  /** That of the look-up. 1 to 1,024 bytes without NUL. Default `default`. */
  namespace?: string | undefined;
  /** Who found it. Default `user`. */
  source?: LabelSource | undefined;
}

/** What the labels of a namespace say. Older counts weigh less: half as much every 2,000 requests. */
export interface BoundReport {
  /** Requests that the exact layer did not answer. */
  requests: number;
  labels: number;
  /** Labels that are not `same`. */
  wrong: number;
  /** Labels that are `unknown`, a part of `wrong`. */
  unknown: number;
  /**
   * The score from which entries answer; undefined: none does. The score is the similarity, and up to
   * 0.05 more or less: more where the next entry has an equal response, less where it has another.
   */
  threshold: number | undefined;
  /** The upper limit of the share of wrong answers at that threshold. */
  share: number | undefined;
  /**
   * `open`: something answers by meaning. Or why nothing does: there are too few labels, more is
   * wrong than the bound allows, or mostly nobody could say.
   */
  state: 'open' | 'too-few-labels' | 'labels-err' | 'too-many-unknown';
  /** With `too-few-labels`: at least so many more are needed, if as many are right as so far. */
  needed: number | undefined;
  /** Kinds of vetoes that are not looked for, as labels show that they refuse right answers. */
  vetoesOff: VetoKind[];
}

const BOUND: Names<ErrorBound> = {
  delta: true,
  of: true,
  explore: true,
  confidence: true,
  floor: true,
};
const FEEDBACK: Names<FeedbackOptions> = { namespace: true, source: true };

const SEED_BYTES = 32;

/** The options of the component; the defaults stay where the caller wants no bound. */
export function rawBound({ errorBound }: CacheOptions) {
  if (errorBound === undefined || errorBound === null) {
    return { errorBound: undefined, seed: undefined };
  }
  const bound = known<ErrorBound>(errorBound, BOUND, 'errorBound');
  const seed = random(SEED_BYTES);
  if (!seed) {
    throw new UnsupportedError(
      'errorBound takes random bytes, and this runtime lacks crypto.getRandomValues; leave it out here',
    );
  }
  return {
    errorBound: {
      delta: number(bound.delta, 'errorBound.delta') ?? 0.05,
      of: oneOf(bound.of ?? 'answers', OF, 'errorBound.of'),
      explore: number(bound.explore, 'errorBound.explore') ?? 0.05,
      confidence: number(bound.confidence, 'errorBound.confidence') ?? 0.95,
      floor: number(bound.floor, 'errorBound.floor') ?? 0.7,
    },
    seed,
  };
}

/** How responses are compared; undefined: as the component does. */
export function comparison(options: CacheOptions): SameAnswer | undefined {
  const { sameAnswer, errorBound, embedder } = options;
  if (sameAnswer === undefined) {
    return undefined;
  }
  if (errorBound === undefined || errorBound === null) {
    throw new InvalidArgumentError('sameAnswer is given without errorBound; give that too');
  }
  if (typeof sameAnswer === 'function') {
    return sameAnswer;
  }
  if (typeof sameAnswer !== 'object' || sameAnswer === null) {
    throw new InvalidArgumentError(
      `sameAnswer is ${sameAnswer === null ? 'null' : `of type ${typeof sameAnswer}`}; give a function or { leastSimilarity }`,
    );
  }
  const given = known(sameAnswer, { leastSimilarity: true }, 'sameAnswer');
  const leastSimilarity = number(given.leastSimilarity, 'sameAnswer.leastSimilarity');
  if (leastSimilarity === undefined || !(leastSimilarity >= -1 && leastSimilarity <= 1)) {
    throw new InvalidArgumentError(
      `sameAnswer.leastSimilarity is ${leastSimilarity ?? 'missing'}; give a number from -1 to 1`,
    );
  }
  if (!embedder.embed) {
    throw new InvalidArgumentError(
      'sameAnswer.leastSimilarity compares vectors of responses, and the embedder has no embed function; give a function that compares',
    );
  }
  return { leastSimilarity };
}

/** One of the labels; undefined for anything else. */
export function labelOf(value: unknown): Label | undefined {
  return LABELS.find((label) => label === value);
}

/** What `feedback` of the component takes, in its order, but for the namespace. */
export function rawFeedback(
  ticket: string,
  label: Label,
  source: LabelSource = 'user',
): [ticket: string, label: Label, source: LabelSource] {
  return [
    wellFormed(ticket, 'the ticket'),
    oneOf(label, LABELS, 'the label'),
    oneOf(source, SOURCES, 'source'),
  ];
}

/** The options of `feedback`, checked for names that nobody knows. */
export function feedbackOptions(given: FeedbackOptions | undefined): FeedbackOptions {
  return known(given, FEEDBACK, 'feedback');
}

/** A report as the component gives it, its numbers made plain. */
export function toBoundReport(raw: Record<string, unknown>): BoundReport {
  const { state, ...counts } = raw;
  const { tag, val } = state as { tag: BoundReport['state']; val?: number };
  return { ...counts, state: tag, needed: val } as unknown as BoundReport;
}
