/** Between what callers give and get, and what the component takes and answers. */

import {
  DEFAULT_NAMESPACE,
  type Answer,
  type Explanation,
  type Hit,
  type JudgedEntry,
  type LoadOptions,
  type Lookup,
  type Question,
} from './api.js';
import { wellFormed } from './component.js';
import { ComponentError } from './errors.js';
import {
  count,
  dtype,
  flag,
  integer,
  metadata,
  number,
  oneOf,
  parseMetadata,
  vector,
  type CacheEvent,
  type MissReason,
  type Vector,
} from './options.js';
import { plain } from './plain.js';

/** A look-up as the component answers it. */
export type RawLookup =
  | {
      tag: 'hit';
      val: Record<string, unknown> & { metadata: string; ageSeconds: bigint; id: bigint };
    }
  | { tag: 'miss'; val: MissReason }
  | { tag: 'needs-embedding'; val: string };

export type RawPut =
  { tag: 'stored'; val: bigint } | { tag: 'needs-embedding'; val: string } | { tag: 'ready' };

/** An explanation as the component gives it. */
export type RawExplained =
  { tag: 'explanation'; val: Record<string, unknown> } | { tag: 'needs-embedding'; val: string };

export type VectorSource =
  | { tag: 'pending' }
  | { tag: 'given' | 'embedded'; val: Float32Array }
  | { tag: 'failed'; val: string };

export interface RawGet {
  query: string;
  namespace: string;
  vector: VectorSource;
  threshold: number | undefined;
  bypass: boolean;
}

/** The texts that answers ask for, in order. */
export function textsToEmbed(answers: (RawLookup | RawPut)[]): string[] {
  return answers.flatMap((one) => (one.tag === 'needs-embedding' ? [one.val] : []));
}

export function namespaceOf(namespace: string | undefined): string {
  return wellFormed(namespace ?? DEFAULT_NAMESPACE, 'the namespace');
}

export function given(embedding: Vector | undefined): VectorSource {
  return embedding === undefined ? { tag: 'pending' } : { tag: 'given', val: vector(embedding) };
}

export function rawGet(question: Question): RawGet {
  return {
    query: wellFormed(question.query, 'the query'),
    namespace: namespaceOf(question.namespace),
    vector: given(question.embedding),
    threshold: number(question.threshold, 'threshold'),
    bypass: flag(question.bypass, 'bypass') ?? false,
  };
}

export function rawPut(answer: Answer) {
  const { ttl } = answer;
  return {
    query: wellFormed(answer.query, 'the query'),
    response: wellFormed(answer.response, 'the response'),
    namespace: namespaceOf(answer.namespace),
    vector: given(answer.embedding),
    ttl:
      ttl === undefined
        ? { tag: 'inherit' }
        : ttl === null
          ? { tag: 'unlimited' }
          : { tag: 'seconds', val: integer(ttl, 'ttl') },
    metadata: metadata(answer.metadata),
  };
}

export function rawLoad(options: LoadOptions) {
  const { ttl = 'keep', quotas } = options;
  const rawTtl = () => {
    if (ttl === 'keep') {
      return { tag: 'keep' };
    }
    if (ttl === null) {
      return { tag: 'unlimited' };
    }
    return typeof ttl === 'object'
      ? { tag: 'at-most', val: integer(ttl.atMost, 'ttl.atMost') ?? 0n }
      : { tag: 'seconds', val: integer(ttl, 'ttl') };
  };
  return {
    mode: oneOf(options.mode ?? 'empty', ['empty', 'merge', 'replace'], 'mode'),
    namespaces: options.namespaces?.map((name) => wellFormed(name, 'namespaces')),
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
    maxExpansion: count(options.maxExpansion, 'maxExpansion') ?? 200,
  };
}

export function finish(
  answer: RawLookup | undefined,
  failure: { error: unknown } | undefined,
): Lookup {
  switch (answer?.tag) {
    case 'hit':
      return { hit: toHit(answer.val) };
    case 'miss':
      return {
        miss: failure
          ? { reason: answer.val, embedderError: failure.error }
          : { reason: answer.val },
      };
    default:
      throw brokenPromise();
  }
}

export function toHit(raw: Extract<RawLookup, { tag: 'hit' }>['val']): Hit {
  return { ...plain(raw), metadata: parseMetadata(raw.metadata) } as unknown as Hit;
}

export function toExplanation(
  answer: RawExplained,
  failure: { error: unknown } | undefined,
): Explanation {
  if (answer.tag !== 'explanation') {
    throw brokenPromise();
  }
  const { exact, candidates, outcome, ...rest } = plain(answer.val);
  const { tag, val } = outcome as { tag: 'hit' | 'miss'; val: string };
  return {
    ...rest,
    exact: exact === undefined ? undefined : toJudged(exact),
    candidates: (candidates as unknown[]).map(toJudged),
    outcome: tag === 'hit' ? { layer: val } : { reason: val },
    ...(failure && { embedderError: failure.error }),
  } as unknown as Explanation;
}

function toJudged(entry: unknown): JudgedEntry {
  const judged = entry as JudgedEntry & { metadata: unknown };
  return { ...judged, metadata: parseMetadata(String(judged.metadata)) };
}

export function storedId(outcome: RawPut): number {
  if (outcome.tag !== 'stored') {
    throw brokenPromise();
  }
  return Number(outcome.val);
}

/** The component asked for something that it had been given. */
export function brokenPromise(): ComponentError {
  return new ComponentError(
    'the component asked again for a vector that it was given, which is a bug in mneme',
  );
}

export function toEvent(raw: unknown): CacheEvent {
  const { tag, val } = raw as { tag: CacheEvent['type']; val: Record<string, unknown> };
  return { type: tag, ...plain(val) } as unknown as CacheEvent;
}
