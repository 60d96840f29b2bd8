/** Computations under way, each of which many callers may wait for. */

import type { Computing, Hit, Lookup, Nearest, Resolved } from './api.js';
import { isMnemeError } from './errors.js';
import { until } from './queue.js';
import {
  tagsOf,
  toHit,
  type RawGet,
  type RawLookup,
  type RawStored,
  type VectorSource,
} from './raw.js';
import type { Runner } from './runner.js';
import { keptOf, valueOf } from './values.js';

/** What came of a computation. */
interface Landed {
  value: unknown;
  /** Somebody else had stored it meanwhile. */
  hit?: Hit;
  /** The text of it that is kept. */
  response?: string;
  /** Why it is not kept. */
  cacheError?: unknown;
}

/** A look-up, and what is known after it. */
export interface LookedUp {
  lookup: Lookup;
  /** The vector that a response to the same query can be stored with. */
  source: VectorSource;
  /** The text that is compared, if the component has told it. */
  text?: string;
}

/** What a computation asks of its cache. */
export interface Resolver {
  lookUp(request: RawGet, signal: AbortSignal | undefined): Promise<LookedUp>;
  put(request: RawStored): Promise<number>;
  /** How often something was stored. If it has not changed, a look-up need not be repeated. */
  stored(): number;
  /** The vector of a text; `failed` where the embedder fails, of which `onError` hears. */
  embed(text: string, signal: AbortSignal | undefined): Promise<VectorSource>;
  normalize(query: string): Promise<{ text: string }>;
  tellEmbedding(error: Error): void;
  /** Labels the candidate of a miss by the response that was computed. Does not fail. */
  label(nearest: Nearest, response: string): Promise<void>;
}

/** A question, and what to do with its answer. */
export interface Wanted {
  query: string;
  request: RawGet;
  /** What the answer is kept with. */
  blank: RawStored;
  metadata: Record<string, unknown> | undefined;
  signal: AbortSignal | undefined;
}

/** The computations of a cache. */
export class Flights {
  readonly #runner: Runner;
  readonly #cache: Resolver;
  /** By what is asked; undefined once it has failed. */
  readonly #flights = new Map<string, Promise<Landed | undefined>>();

  constructor(runner: Runner, cache: Resolver) {
    this.#runner = runner;
    this.#cache = cache;
  }

  /** The cached answer, or else what `compute` returns, which is then kept. */
  async resolve<T>(
    { query, request, blank, metadata, signal }: Wanted,
    compute: (computing: Computing) => T | Promise<T>,
  ): Promise<Resolved<T>> {
    let source = request.vector;
    let isLookedUp = false;
    let compared: string | undefined;
    let nearest: Nearest | undefined;
    const before = this.#cache.stored();
    try {
      const found = await this.#cache.lookUp(request, signal);
      const kept = fromHit<T>(found.lookup.hit);
      if (kept) {
        return kept;
      }
      source = found.source;
      compared = found.text;
      nearest = found.lookup.miss?.nearest;
      isLookedUp = true;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isMnemeError(error) || error.code !== 'invalid-argument') {
        this.#runner.callbacks.tell(error, { during: 'look-up' });
      } else if (!this.#isTooLong(query)) {
        // Options that are wrong are the caller's to mend. A question too long is not: it is
        // computed, and keeping tells why that is all.
        throw error;
      }
    }
    // Questions are the same that the exact layer takes for the same.
    const text = compared ?? (await this.#textOf(query));
    // A look-up that misses at once asks for no vector. Those who wait for the flight are not to wait
    // for the embedder too.
    // Of a blank text the component wants no embedding.
    if (request.bypass && isLookedUp && source.tag === 'pending' && text.trim() !== '') {
      source = await this.#cache.embed(text, signal);
    }
    if (source.tag === 'failed') {
      source = { tag: 'absent' };
    }
    const { namespace, context, tags } = request;
    const key = JSON.stringify([namespace, context, [...tags].sort(), text]);
    for (let present; (present = this.#flights.get(key)) !== undefined;) {
      signal?.throwIfAborted();
      const shared = await (signal ? until(present, signal) : present);
      // Whoever computed has heard of a failure. Those who waited compute themselves, one by one,
      // as does who wants no stored answer.
      if (shared && !(request.bypass && shared.hit)) {
        return { value: shared.value as T, origin: 'shared' };
      }
    }
    signal?.throwIfAborted();
    const flight = (async (): Promise<Landed> => {
      if (!request.bypass && this.#cache.stored() !== before) {
        // Whoever was computing it may have finished between the look-up and now.
        const again = await this.#runner
          .call<RawLookup>('get', [{ ...request, vector: { tag: 'pending' } }])
          .catch(() => undefined);
        const kept = fromHit(again?.tag === 'hit' ? toHit(again.val) : undefined);
        if (kept) {
          return kept;
        }
      }
      const all = new Set(tags);
      const value = await compute({
        tag: (...more) => tagsOf(more).forEach((tag) => all.add(tag)),
      });
      const whole = { ...blank, vector: source, tags: [...all] };
      return { value, ...(await this.#keep(value, whole, metadata)) };
    })();
    const settled = flight.catch(() => undefined).finally(() => this.#flights.delete(key));
    this.#flights.set(key, settled);
    // Those who share the flight do not wait for the label.
    const labelled = flight.then(async (landed) => {
      if (nearest && landed.response !== undefined) {
        await this.#cache.label(nearest, landed.response);
      }
      return landed;
    });
    const { value, hit, cacheError } = await (signal ? until(labelled, signal) : labelled);
    if (hit) {
      return { value: value as T, origin: 'cache', hit };
    }
    return cacheError === undefined
      ? { value: value as T, origin: 'computed' }
      : { value: value as T, origin: 'computed', cacheError };
  }

  /** Keeps what was computed, and returns its text; or why it could not, of which `onError` hears. */
  async #keep(
    value: unknown,
    request: RawStored,
    metadata: Record<string, unknown> | undefined,
  ): Promise<Pick<Landed, 'response' | 'cacheError'>> {
    try {
      const kept = keptOf(value, metadata);
      const whole = {
        ...request,
        response: kept.response,
        metadata: JSON.stringify(kept.metadata),
      };
      try {
        await this.#cache.put(whole);
      } catch (error) {
        // The look-up needed no vector, or failed; the exact layer needs none either.
        if (!isMnemeError(error) || error.code !== 'embedder') {
          throw error;
        }
        this.#cache.tellEmbedding(error);
        await this.#cache.put({ ...whole, vector: { tag: 'absent' } });
      }
      return { response: kept.response };
    } catch (error) {
      this.#runner.callbacks.tell(error, { during: 'keep' });
      return { cacheError: error };
    }
  }

  /** The text that is compared for a query. */
  async #textOf(query: string): Promise<string> {
    if (this.#runner.options.normalize === false) {
      return query;
    }
    const normalized = await this.#cache.normalize(query).catch(() => undefined);
    return normalized?.text ?? query;
  }

  #isTooLong(query: string): boolean {
    return new TextEncoder().encode(query).length > Number(this.#runner.raw['maxQueryBytes']);
  }
}

/** What a hit stands for. Where its value cannot be read, it is no hit. */
function fromHit<T>(hit: Hit | undefined): (Resolved<T> & { hit: Hit }) | undefined {
  const kept = hit && valueOf(hit);
  return kept && { value: kept.value as T, origin: 'cache', hit };
}
