/** Asking the embedder, in batches. */

import { count, vector } from './checks.js';
import { EmbedderError, InvalidArgumentError, describe } from './errors.js';
import { known } from './known.js';
import type { Embedder, Reading, Vector } from './options.js';
import { Service, isErrorOf } from './service.js';

/** A vector, and how much of the text it stands for, if the embedder says so. */
export interface Embedded {
  vector: Float32Array;
  reading: Reading | undefined;
}

const READ = { vector: true, tokens: true, tokensRead: true, tokensUnknown: true } as const;

const MAX_BATCH = 100;
const RETRIES = 2;

/** An embedder, with what is known of its health. */
export class Embedding {
  readonly #embedder: Embedder;
  readonly #maxBatch: number;
  readonly #service: Service;

  /** @param now milliseconds, for how long it rests */
  constructor(embedder: Embedder, now: () => number) {
    this.#embedder = embedder;
    this.#maxBatch = Math.max(count(embedder.maxBatch, 'embedder.maxBatch') ?? MAX_BATCH, 1);
    this.#service = new Service('embedder', {
      retries: count(embedder.retries, 'embedder.retries') ?? RETRIES,
      concurrency: ['embedder.concurrency', embedder.concurrency],
      timeoutSeconds: ['embedder.timeoutSeconds', embedder.timeoutSeconds],
      now,
    });
  }

  /** A vector for each text; an `EmbedderError` if one cannot be had. */
  async all(texts: string[], signal: AbortSignal | undefined): Promise<Embedded[]> {
    const { embedded, failure } = await this.some(texts, signal);
    if (failure) {
      throw failure;
    }
    return embedded;
  }

  /** Vectors for the texts, up to the first batch that fails. */
  async some(
    texts: string[],
    signal: AbortSignal | undefined,
  ): Promise<{ embedded: Embedded[]; failure: EmbedderError | undefined }> {
    const embedded: Embedded[] = [];
    for (let from = 0; from < texts.length; from += this.#maxBatch) {
      try {
        embedded.push(...(await this.#batch(texts.slice(from, from + this.#maxBatch), signal)));
      } catch (error) {
        if (isErrorOf('embedder', error)) {
          return { embedded, failure: error };
        }
        throw error;
      }
    }
    return { embedded, failure: undefined };
  }

  async #batch(texts: string[], signal: AbortSignal | undefined): Promise<Embedded[]> {
    const { fingerprint, embed } = this.#embedder;
    if (!embed) {
      throw new EmbedderError(
        `the embedder ${JSON.stringify(fingerprint)} has no embed function, so every question and answer must come with its embedding`,
      );
    }
    return this.#service.call(
      (signal) => this.#embedder.embed?.(texts, { signal }),
      (returned) => this.#checked(returned, texts),
      signal,
    );
  }

  /** What the embedder returned, if it is what it must be. */
  #checked(returned: unknown, texts: string[]): Embedded[] {
    const { fingerprint } = this.#embedder;
    if (!Array.isArray(returned) || returned.length !== texts.length) {
      throw new EmbedderError(
        `the embedder ${JSON.stringify(fingerprint)} returned ${Array.isArray(returned) ? returned.length : 'no'} vectors for ${texts.length} texts; it must return one for each`,
      );
    }
    try {
      return returned.map(embeddedOf);
    } catch (cause) {
      throw new EmbedderError(describe(cause), { cause });
    }
  }
}

/** An embedding as an embedder returns it. An `InvalidArgumentError` if its reading is not whole. */
export function embeddedOf(one: unknown): Embedded {
  if (typeof one !== 'object' || one === null || !('vector' in one)) {
    return { vector: vector(one, 'a vector of the embedder'), reading: undefined };
  }
  const where = 'what the embedder returned for a text';
  const given = known(one as { vector: Vector } & Partial<Reading>, READ, where);
  const tokens = count(given.tokens, 'tokens');
  const tokensRead = count(given.tokensRead, 'tokensRead') ?? tokens;
  const tokensUnknown = count(given.tokensUnknown, 'tokensUnknown');
  const least = (name: string, is: number | undefined, of: string, most: number | undefined) => {
    if (is !== undefined && (most === undefined || is > most)) {
      throw new InvalidArgumentError(
        `${where}: ${name} is ${is} and ${of} is ${most ?? 'missing'}; give ${of}, at least as many`,
      );
    }
  };
  least('tokensRead', tokensRead, 'tokens', tokens);
  least('tokensUnknown', tokensUnknown, 'tokensRead', tokensRead);
  return {
    vector: vector(given.vector, 'a vector of the embedder'),
    reading:
      tokens === undefined || tokensRead === undefined
        ? undefined
        : { tokens, tokensRead, tokensUnknown: tokensUnknown ?? 0 },
  };
}
