/** Between what callers give and get, and what the component takes and answers. */

import {
  DEFAULT_NAMESPACE,
  type Answer,
  type ComputeOptions,
  type Counters,
  type EntryFilter,
  type EraseFilter,
  type ExplainOptions,
  type Explanation,
  type Hit,
  type JudgedEntry,
  type GetOptions,
  type LinkOptions,
  type ListedEntry,
  type LoadOptions,
  type Lookup,
  type PutOptions,
  type Question,
  type Stats,
} from './api.js';
import { toBoundReport } from './bound.js';
import {
  count,
  dtype,
  flag,
  integer,
  integers,
  metadata,
  number,
  oneOf,
  parseMetadata,
  texts,
  vector,
} from './checks.js';
import { wellFormed } from './component.js';
import type { Embedded } from './embedding.js';
import { ComponentError, InvalidArgumentError, RefusedError, type ErrorValue } from './errors.js';
import { known, type Names } from './known.js';
import type { CacheEvent, Candidate, MissReason, Vector } from './options.js';
import { plain } from './plain.js';
import { vetoCounts, vetoKinds, type Verification, type VetoKind } from './trust.js';

/** A query as the cache compares it, and the SHA-256 of that. */
export interface Compared {
  text: string;
  hash: string;
}

/** An entry that is about to answer, as the component gives it. */
export type RawCandidate = Record<string, unknown> & {
  id: bigint;
  namespace: string;
  query: string;
  metadata: string;
  createdAt: bigint;
};

/** What was said about a candidate. */
export interface RawVerification {
  id: bigint;
  createdAt: bigint;
  opinion: Verification['opinion'];
}

/** A look-up as the component answers it. */
export type RawLookup =
  | {
      tag: 'hit';
      val: Record<string, unknown> & { metadata: string; createdAt: bigint };
    }
  | {
      tag: 'miss';
      val: {
        reason: MissReason;
        doubt: RawCandidate | undefined;
        nearest: { candidate: RawCandidate; ticket: string } | undefined;
      };
    }
  | { tag: 'needs-embedding'; val: Compared }
  | { tag: 'needs-verification'; val: RawCandidate }
  | { tag: 'later' };

/** A look-up of one of these tags. */
export type Asked<T extends RawLookup['tag']> = Extract<RawLookup, { tag: T }>;

export type RawPut =
  | { tag: 'stored'; val: bigint }
  | { tag: 'needs-embedding'; val: Compared }
  | { tag: 'ready' }
  | { tag: 'refused' };

/** An explanation as the component gives it. */
export type RawExplained =
  | { tag: 'explanation'; val: Record<string, unknown> }
  | { tag: 'needs-embedding'; val: Compared }
  | { tag: 'needs-verification'; val: RawCandidate }
  | { tag: 'later' };

/** A part of a list, as the component gives it. */
export interface RawPage {
  entries: Record<string, unknown>[];
  next: bigint | undefined;
  failed: ErrorValue | undefined;
}

/** What one step of an erasure has done. */
export interface RawErasure {
  ids: BigUint64Array;
  versionBefore: bigint;
  versionAfter: bigint;
  next: bigint | undefined;
  failed: ErrorValue | undefined;
}

/** What one step of a long work has done. */
export interface RawStep {
  entries: bigint;
  more: boolean;
}

export type VectorSource =
  | { tag: 'pending' }
  | { tag: 'given'; val: Float32Array }
  | { tag: 'embedded'; val: Embedded }
  | { tag: 'absent' }
  | { tag: 'failed'; val: string };

export interface RawGet {
  query: string;
  namespace: string;
  context: string;
  tags: string[];
  vector: VectorSource;
  threshold: number | undefined;
  maxAge: bigint | undefined;
  bypass: boolean;
  validate: boolean;
  vetoes: VetoKind[] | undefined;
  verification: RawVerification | undefined;
}

const GET: Names<GetOptions> = {
  namespace: true,
  context: true,
  tags: true,
  embedding: true,
  threshold: true,
  maxAgeSeconds: true,
  exactOnly: true,
  bypass: true,
  vetoes: true,
  signal: true,
};
const COMPUTE: Names<ComputeOptions> = { ...GET, ttlSeconds: true, metadata: true };
const PUT: Names<PutOptions> = {
  namespace: true,
  context: true,
  tags: true,
  embedding: true,
  ttlSeconds: true,
  metadata: true,
  exactOnly: true,
  validate: true,
  signal: true,
};
const LINK: Names<LinkOptions> = { namespace: true, context: true, id: true, createdAt: true };
const FILTER: Names<EntryFilter> = {
  namespace: true,
  context: true,
  tags: true,
  query: true,
  ids: true,
  minAgeSeconds: true,
  maxAgeSeconds: true,
};
const { signal: _, ...ONE_OF_GETS } = GET;
const { signal: __, ...ONE_OF_PUTS } = PUT;

/** The options of each method, checked for names that nobody knows. */
export const options = {
  get: (given: GetOptions | undefined, of: string) => known(given, GET, of),
  put: (given: PutOptions | undefined) => known(given, PUT, 'put'),
  compute: (given: ComputeOptions | undefined) => known(given, COMPUTE, 'getOrCompute'),
  explain: (given: ExplainOptions | undefined) => known(given, { ...GET, limit: true }, 'explain'),
  signal: (given: { signal?: AbortSignal | undefined } | undefined, of: string) =>
    known(given, { signal: true }, of),
  filter: (given: EntryFilter | undefined, of: string) => known(given, FILTER, of),
  scope: (given: EraseFilter) =>
    known(given, { ...FILTER, everything: true }, 'the filter of erase'),
  question: (given: Question) => known(given, { ...ONE_OF_GETS, query: true }, 'a question'),
  answer: (given: Answer) =>
    known(given, { ...ONE_OF_PUTS, query: true, response: true }, 'an answer'),
};

/** The texts that answers ask for, in order. */
export function textsToEmbed(answers: (RawLookup | RawPut)[]): string[] {
  return answers.flatMap((one) => (one.tag === 'needs-embedding' ? [one.val.text] : []));
}

export function namespaceOf(namespace: string | undefined): string {
  return wellFormed(namespace ?? DEFAULT_NAMESPACE, 'the namespace');
}

export function contextOf(context: string | undefined): string {
  return wellFormed(context ?? '', 'the context');
}

/** Tags, which the component checks. */
export function tagsOf(tags: string[] | undefined): string[] {
  return texts(tags, 'the tags', 'a tag') ?? [];
}

function source(of: {
  embedding?: Vector | undefined;
  exactOnly?: boolean | undefined;
}): VectorSource {
  const { embedding } = of;
  if (flag(of.exactOnly, 'exactOnly')) {
    if (embedding !== undefined) {
      throw new InvalidArgumentError(
        'exactOnly has no use for an embedding, and one is given; give one of them',
      );
    }
    return { tag: 'absent' };
  }
  return embedding === undefined ? { tag: 'pending' } : { tag: 'given', val: vector(embedding) };
}

/** @param usual the kinds of vetoes that `default` means */
export function rawGet(question: Question, usual: readonly VetoKind[]): RawGet {
  return {
    query: wellFormed(question.query, 'the query'),
    namespace: namespaceOf(question.namespace),
    context: contextOf(question.context),
    tags: tagsOf(question.tags),
    vector: source(question),
    threshold: number(question.threshold, 'threshold'),
    maxAge: integer(question.maxAgeSeconds, 'maxAgeSeconds'),
    bypass: flag(question.bypass, 'bypass') ?? false,
    validate: false,
    vetoes: vetoKinds(question.vetoes, usual),
    verification: undefined,
  };
}

export interface RawStored {
  query: string;
  response: string;
  namespace: string;
  context: string;
  tags: string[];
  vector: VectorSource;
  ttl: { tag: string; val?: bigint | undefined };
  metadata: string;
  validate: boolean;
}

export function rawPut(answer: Answer): RawStored {
  const { ttlSeconds: ttl } = answer;
  return {
    query: wellFormed(answer.query, 'the query'),
    response: wellFormed(answer.response, 'the response'),
    namespace: namespaceOf(answer.namespace),
    context: contextOf(answer.context),
    tags: tagsOf(answer.tags),
    vector: source(answer),
    ttl:
      ttl === undefined
        ? { tag: 'inherit' }
        : ttl === null
          ? { tag: 'unlimited' }
          : { tag: 'seconds', val: integer(ttl, 'ttlSeconds') },
    metadata: metadata(answer.metadata),
    validate: flag(answer.validate, 'validate') ?? false,
  };
}

/** What `link` of the component takes, in its order. */
export function rawLink(query: string, given: LinkOptions): unknown[] {
  const options = known(given, LINK, 'link');
  const { namespace, context, createdAt } = options;
  const id = integer(options.id, 'id');
  if (id === undefined) {
    throw new InvalidArgumentError('link lacks an id; give that of the entry');
  }
  return [
    wellFormed(query, 'the query'),
    namespaceOf(namespace),
    contextOf(context),
    id,
    secondsOf(createdAt),
  ];
}

/** A time to the second, as hits have it. */
function secondsOf(date: unknown): bigint {
  const time =
    Object.prototype.toString.call(date) === '[object Date]' ? (date as Date).getTime() : NaN;
  if (!(time >= 0)) {
    throw new InvalidArgumentError('createdAt is no Date since 1970; give that of the entry');
  }
  return BigInt(Math.floor(time / 1000));
}

/** A filter that has been checked for names that nobody knows. */
export function rawFilter(filter: EntryFilter) {
  const { namespace, context, query } = filter;
  return {
    namespace: namespace === undefined ? undefined : wellFormed(namespace, 'the namespace'),
    context: context === undefined ? undefined : wellFormed(context, 'the context'),
    tags: tagsOf(filter.tags),
    query: query === undefined ? undefined : wellFormed(query, 'the query'),
    ids: integers(filter.ids, 'the ids', 'an id'),
    minAge: integer(filter.minAgeSeconds, 'minAgeSeconds'),
    maxAge: integer(filter.maxAgeSeconds, 'maxAgeSeconds'),
  };
}

/** An entry of a list, as the component gives it. */
export function toListed(raw: Record<string, unknown>): ListedEntry {
  const { embedding: _, metadata, createdAt, lastAccessedAt, ttl, ...entry } = plain(raw);
  return {
    ...entry,
    metadata: parseMetadata(String(metadata)),
    createdAt: dateOf(createdAt),
    lastAccessedAt: dateOf(lastAccessedAt),
    ttlSeconds: ttl,
  } as unknown as ListedEntry;
}

function dateOf(time: unknown): Date {
  return new Date(Number(time) * 1000);
}

export function rawLoad(given: LoadOptions | undefined) {
  const options = known<LoadOptions>(
    given,
    {
      mode: true,
      namespaces: true,
      namespacePrefix: true,
      ttlSeconds: true,
      quotas: true,
      maxEntries: true,
      vectorDtype: true,
      maxExpansion: true,
      onProgress: true,
    },
    'load',
  );
  const { ttlSeconds: ttl = 'keep', quotas } = options;
  const rawTtl = () => {
    if (ttl === 'keep') {
      return { tag: 'keep' };
    }
    if (ttl === null) {
      return { tag: 'unlimited' };
    }
    return typeof ttl === 'object'
      ? { tag: 'at-most', val: integer(ttl.atMost, 'ttlSeconds.atMost') ?? 0n }
      : { tag: 'seconds', val: integer(ttl, 'ttlSeconds') };
  };
  return {
    mode: oneOf(options.mode ?? 'empty', ['empty', 'merge', 'replace'], 'mode'),
    namespaces: texts(options.namespaces, 'namespaces', 'namespaces'),
    namespacePrefix: wellFormed(options.namespacePrefix ?? '', 'namespacePrefix'),
    ttl: rawTtl(),
    quotas:
      quotas &&
      Object.entries(quotas).map(([name, quota]) => [
        wellFormed(name, 'quotas'),
        integer(quota, `the quota of ${JSON.stringify(name)}`) ?? 0n,
      ]),
    maxEntries: integer(options.maxEntries, 'maxEntries'),
    vectorDtype: options.vectorDtype === undefined ? undefined : dtype(options.vectorDtype),
    maxExpansion: count(options.maxExpansion, 'maxExpansion') ?? 128,
  };
}

export function finish(
  answer: RawLookup | undefined,
  failure: { error: unknown } | undefined,
): Lookup {
  switch (answer?.tag) {
    case 'hit':
      return { hit: toHit(answer.val) };
    case 'miss': {
      const { reason, nearest } = answer.val;
      return {
        miss: {
          reason,
          ...(nearest && {
            nearest: { candidate: toCandidate(nearest.candidate), ticket: nearest.ticket },
          }),
          ...(failure && { embedderError: failure.error }),
        },
      };
    }
    default:
      throw brokenPromise();
  }
}

/** An entry that is about to answer, as the caller's functions judge it. */
export function toCandidate(raw: RawCandidate): Candidate {
  const candidate = dated(plain(raw) as { createdAt: number });
  return { ...candidate, metadata: parseMetadata(raw.metadata) } as unknown as Candidate;
}

function dated<T extends { createdAt: number }>(of: T) {
  return { ...of, createdAt: dateOf(of.createdAt) };
}

export function toHit(raw: Extract<RawLookup, { tag: 'hit' }>['val']): Hit {
  const { ttlLeft, ...hit } = plain(raw);
  return {
    ...hit,
    metadata: parseMetadata(raw.metadata),
    createdAt: dateOf(raw.createdAt),
    ttlLeftSeconds: ttlLeft,
  } as unknown as Hit;
}

export function toExplanation(
  answer: RawExplained,
  failure: { error: unknown } | undefined,
): Explanation {
  if (answer.tag !== 'explanation') {
    throw brokenPromise();
  }
  const { exact, candidates, verification, outcome, ...rest } = plain(answer.val);
  const { tag, val } = outcome as { tag: 'hit' | 'miss'; val: string };
  return {
    ...rest,
    exact: exact === undefined ? undefined : toJudged(exact),
    candidates: (candidates as unknown[]).map(toJudged),
    verification: verification && dated(verification as { createdAt: number }),
    outcome: tag === 'hit' ? { layer: val } : { reason: val },
    ...(failure && { embedderError: failure.error }),
  } as unknown as Explanation;
}

function toJudged(entry: unknown): JudgedEntry {
  const { ttl, metadata, ...judged } = entry as Omit<JudgedEntry, 'ttlSeconds' | 'metadata'> & {
    ttl: number | undefined;
    metadata: unknown;
  };
  return { ...judged, ttlSeconds: ttl, metadata: parseMetadata(String(metadata)) };
}

export function storedId(outcome: RawPut): number {
  switch (outcome.tag) {
    case 'stored':
      return Number(outcome.val);
    case 'refused':
      throw new RefusedError('the validator refuses the response, so it was not kept');
    default:
      throw brokenPromise();
  }
}

/** Counts and settings as the component gives them. */
export function toStats(raw: Record<string, unknown>): Stats {
  const { counters, namespaces, bound, ...stats } = plain(raw);
  return {
    ...stats,
    counters: toCounters(counters),
    bound: bound && toBoundReport(bound as Record<string, unknown>),
    namespaces: (namespaces as { counters: unknown }[]).map((one) => ({
      ...one,
      counters: toCounters(one.counters),
    })),
  } as unknown as Stats;
}

function toCounters(raw: unknown): Counters {
  const { vetoes, ...counters } = raw as Record<string, unknown>;
  return {
    ...counters,
    vetoes: vetoCounts(vetoes as Record<string, unknown>),
  } as unknown as Counters;
}

/** The component asked for something that it had been given. */
export function brokenPromise(): ComponentError {
  return new ComponentError(
    'the component asked again for what it was given, a vector or a verification, which is a bug in mneme',
  );
}

export function toEvent(raw: unknown): CacheEvent {
  const { tag, val } = raw as { tag: CacheEvent['type']; val: Record<string, unknown> };
  return { type: tag, ...plain(val) } as unknown as CacheEvent;
}
