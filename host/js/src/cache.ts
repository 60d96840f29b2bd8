/** The cache as a JavaScript program uses it. */

import type {
  Answer,
  DumpOptions,
  DumpReport,
  ExplainOptions,
  Explanation,
  GetOptions,
  Health,
  Hit,
  LoadOptions,
  LoadReport,
  Lookup,
  PutOptions,
  Question,
  Resolved,
  Stats,
} from './api.js';
import { Reader, Writer, guarded, type ArchiveSource } from './archive.js';
import {
  Instance,
  instantiatorFor,
  wellFormed,
  type Component,
  type Hooks,
  type Instantiate,
} from './component.js';
import { ClosedError, EmbedderError, InvalidArgumentError, describe } from './errors.js';
import {
  applyOptions,
  count,
  dtype,
  flag,
  integer,
  number,
  oneOf,
  parseMetadata,
  vector,
  type CacheOptions,
  type Candidate,
  type Embedder,
  type RawOptions,
  type Vector,
  type VectorDtype,
} from './options.js';
import { plain } from './plain.js';
import { Queue, until } from './queue.js';
import {
  finish,
  namespaceOf,
  rawGet,
  rawLoad,
  rawPut,
  storedId,
  textsToEmbed,
  toEvent,
  toExplanation,
  toHit,
  type RawExplained,
  type RawGet,
  type RawLookup,
  type RawPut,
  type VectorSource,
} from './raw.js';
import type { Store } from './store.js';

/** The archive of the present call. */
interface Archive {
  reader?: Reader;
  writer?: Writer;
  progress?: DumpOptions['onProgress'] | undefined;
}

/** A computation under way. */
type Flight = Promise<{ response: string; cacheError?: unknown }>;

/**
 * A semantic cache over one store.
 *
 * Calls run one at a time, in the order in which they are made; embedding runs meanwhile.
 */
export class SemanticCache {
  readonly #embedder: Embedder;
  readonly #store: Store;
  readonly #options: CacheOptions;
  readonly #instantiate: Instantiate;
  readonly #queue = new Queue();
  readonly #flights = new Map<string, Flight>();
  #raw: RawOptions;
  #instance: Instance | undefined;
  #closed = false;
  #archive: Archive = {};
  /** What a function of the options threw during the present call. */
  #thrown: { error: unknown } | undefined;

  private constructor(instantiate: Instantiate, raw: RawOptions, options: CacheOptions) {
    this.#instantiate = instantiate;
    this.#raw = raw;
    this.#options = options;
    this.#embedder = options.embedder;
    this.#store = options.store;
  }

  /** Opens a cache. The package exports it with the component filled in. */
  static async openWith(component: Component, options: CacheOptions): Promise<SemanticCache> {
    const { store, embedder } = options ?? {};
    if (typeof store?.capabilities !== 'function') {
      throw new InvalidArgumentError('options.store is not a store; give one, such as memory()');
    }
    if (typeof embedder?.fingerprint !== 'string' || typeof embedder.dimensions !== 'number') {
      throw new InvalidArgumentError(
        'options.embedder is not an embedder; give an object with fingerprint, dimensions and embed',
      );
    }
    try {
      const instantiate = await instantiatorFor(component, store);
      const cache = new SemanticCache(instantiate, {} as RawOptions, options);
      await cache.#open();
      return cache;
    } catch (error) {
      await store.release?.();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { fingerprint, dimensions } = this.#embedder;
    const instance = this.#start();
    const defaults = await instance.call<RawOptions>(
      'cache',
      'defaultOptions',
      wellFormed(fingerprint, 'embedder.fingerprint'),
      count(dimensions, 'embedder.dimensions'),
    );
    this.#raw = applyOptions(defaults, this.#options);
    await instance.call('cache', 'open', this.#raw);
    this.#instance = instance;
    // A quota set once is not to be set again by an instance that takes over.
    this.#raw = { ...this.#raw, namespaceQuotas: [] };
  }

  // ---- looking up ---------------------------------------------------------------

  /** The answer to a question, if there is one. {@link lookUp} also says why there is none. */
  async get(query: string, options: GetOptions = {}): Promise<Hit | undefined> {
    return (await this.lookUp(query, options)).hit;
  }

  /**
   * The answer to a question, or the reason for a miss. The entry with the same normalised
   * query answers, or else the most similar one above the threshold. If the embedder fails, the
   * result is a miss.
   */
  async lookUp(query: string, options: GetOptions = {}): Promise<Lookup> {
    return (await this.#lookUp(rawGet({ ...options, query }), options.signal)).lookup;
  }

  /** As {@link lookUp}, for several questions, whose texts are embedded together. */
  async getMany(
    questions: (string | Question)[],
    options: { signal?: AbortSignal } = {},
  ): Promise<Lookup[]> {
    const { signal } = options;
    const first = questions.map((one) => rawGet(typeof one === 'string' ? { query: one } : one));
    const answers = await this.#call<RawLookup[]>('getMany', [first], signal);
    const texts = textsToEmbed(answers);
    let again: RawLookup[] = [];
    let failure: { error: unknown } | undefined;
    if (texts.length > 0) {
      const sources = await this.#sources(texts, signal);
      failure = sources.failure;
      const pending = first.filter((_, i) => answers[i]?.tag === 'needs-embedding');
      const second = pending.map((request, i) => ({ ...request, vector: sources.vectors[i] }));
      again = await this.#call<RawLookup[]>('getMany', [second], signal);
    }
    return answers.map((one) =>
      one.tag === 'needs-embedding' ? finish(again.shift(), failure) : finish(one, undefined),
    );
  }

  /**
   * Says how {@link lookUp} would answer a question now, and why, with the nearest entries.
   * Counts nothing and changes nothing. It asks the embedder even if the exact layer answers.
   */
  async explain(query: string, options: ExplainOptions = {}): Promise<Explanation> {
    const { signal, limit = 10 } = options;
    const request = rawGet({ ...options, query });
    const ask = (vector: VectorSource | undefined) =>
      this.#call<RawExplained>('explain', [{ ...request, vector }, count(limit, 'limit')], signal);
    const first = await ask(request.vector);
    if (first.tag !== 'needs-embedding') {
      return toExplanation(first, undefined);
    }
    const { vectors, failure } = await this.#sources([first.val], signal);
    return toExplanation(await ask(vectors[0]), failure);
  }

  async #lookUp(
    request: RawGet,
    signal: AbortSignal | undefined,
  ): Promise<{ lookup: Lookup; vector: Float32Array | undefined }> {
    const first = await this.#call<RawLookup>('get', [request], signal);
    if (first.tag !== 'needs-embedding') {
      const given = request.vector.tag === 'given' ? request.vector.val : undefined;
      return { lookup: finish(first, undefined), vector: given };
    }
    const { vectors, failure } = await this.#sources([first.val], signal);
    const source = vectors[0];
    const second = await this.#call<RawLookup>('get', [{ ...request, vector: source }], signal);
    return {
      lookup: finish(second, failure),
      vector: source?.tag === 'embedded' ? source.val : undefined,
    };
  }

  // ---- storing ------------------------------------------------------------------

  /**
   * Stores a response and returns the id of its entry. It replaces the entry of the namespace
   * with the same normalised query, if there is one.
   */
  async put(query: string, response: string, options: PutOptions = {}): Promise<number> {
    const request = rawPut({ ...options, query, response });
    let outcome = await this.#call<RawPut>('put', [request], options.signal);
    if (outcome.tag === 'needs-embedding') {
      const [embedded] = await this.#embed([outcome.val], options.signal);
      outcome = await this.#call<RawPut>(
        'put',
        [{ ...request, vector: { tag: 'embedded', val: embedded } }],
        options.signal,
      );
    }
    return storedId(outcome);
  }

  /**
   * Stores several responses, in atomic steps of at most the store's batch, and returns their
   * ids. All are checked, and embedded together, before the first is stored.
   */
  async putMany(answers: Answer[], options: { signal?: AbortSignal } = {}): Promise<number[]> {
    const { signal } = options;
    const requests = answers.map(rawPut);
    let outcomes = await this.#call<RawPut[]>('putMany', [requests], signal);
    const texts = textsToEmbed(outcomes);
    if (texts.length > 0) {
      const vectors = await this.#embed(texts, signal);
      const complete = requests.map((request, i) =>
        outcomes[i]?.tag === 'needs-embedding'
          ? { ...request, vector: { tag: 'embedded', val: vectors.shift() } }
          : request,
      );
      outcomes = await this.#call<RawPut[]>('putMany', [complete], signal);
    }
    return outcomes.map(storedId);
  }

  /**
   * The cached answer, or else what `compute` returns, which is then stored. Callers who ask the
   * same (after normalisation) at the same time share one computation; if it fails, all of them
   * get its error. The caller gets the answer even if the cache fails.
   */
  async getOrCompute(
    query: string,
    compute: () => string | Promise<string>,
    options: GetOptions & Pick<PutOptions, 'ttl' | 'metadata'> = {},
  ): Promise<string> {
    return (await this.resolve(query, compute, options)).response;
  }

  /** As {@link getOrCompute}, but also says where the answer came from. */
  async resolve(
    query: string,
    compute: () => string | Promise<string>,
    options: GetOptions & Pick<PutOptions, 'ttl' | 'metadata'> = {},
  ): Promise<Resolved> {
    const { signal, ttl, metadata: kept } = options;
    const request = rawGet({ ...options, query });
    // Before anything is computed: what it could not be stored with.
    rawPut({ ...options, query, response: '' });
    let vector: Float32Array | undefined;
    let lookupError: unknown;
    try {
      const found = await this.#lookUp(request, signal);
      if (found.lookup.hit) {
        const { hit } = found.lookup;
        return { response: hit.response, origin: 'cache', hit };
      }
      vector = found.vector;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof InvalidArgumentError) {
        throw error;
      }
      lookupError = error;
    }
    const key = `${request.namespace}\0${(await this.normalize(query).catch(() => ({ hash: query }))).hash}`;
    const present = this.#flights.get(key);
    if (present) {
      const { response } = await (signal ? until(present, signal) : present);
      return { response, origin: 'shared' };
    }
    let hit: Hit | undefined;
    const flight: Flight = (async () => {
      // Whoever was computing it may have finished between the look-up and now.
      const again = request.bypass
        ? undefined
        : await this.#call<RawLookup>('get', [{ ...request, vector: { tag: 'pending' } }]).catch(
            () => undefined,
          );
      if (again?.tag === 'hit') {
        hit = toHit(again.val);
        return { response: hit.response };
      }
      const response = await compute();
      if (typeof response !== 'string') {
        throw new InvalidArgumentError(
          `what was to be computed is ${typeof response}; return a string`,
        );
      }
      try {
        const { namespace } = request;
        const put: PutOptions = { namespace };
        if (ttl !== undefined) put.ttl = ttl;
        if (kept !== undefined) put.metadata = kept;
        if (vector !== undefined) put.embedding = vector;
        await this.put(query, response, put);
        return lookupError === undefined ? { response } : { response, cacheError: lookupError };
      } catch (cacheError) {
        return { response, cacheError };
      }
    })();
    this.#flights.set(key, flight);
    const landed = flight.finally(() => this.#flights.delete(key));
    // Whoever waits hears of a failure; that the others have gone is no fault.
    landed.catch(() => {});
    const { response, cacheError } = await (signal ? until(landed, signal) : landed);
    if (hit) {
      return { response, origin: 'cache', hit };
    }
    return cacheError === undefined
      ? { response, origin: 'computed' }
      : { response, origin: 'computed', cacheError };
  }

  // ---- removing -----------------------------------------------------------------

  /** Deletes the entry of a query, compared after normalisation. False if there was none. */
  async delete(query: string, options: { namespace?: string } = {}): Promise<boolean> {
    return this.#call('delete', [wellFormed(query, 'the query'), namespaceOf(options.namespace)]);
  }

  /** Deletes all entries and counters, and returns the number of entries. Quotas stay. */
  async clear(): Promise<number> {
    return Number(await this.#call<bigint>('clear', []));
  }

  /** Deletes the entries and counters of one namespace, and returns the number of entries. */
  async clearNamespace(namespace: string): Promise<number> {
    return Number(await this.#call<bigint>('clearNamespace', [namespaceOf(namespace)]));
  }

  /** The namespaces that hold entries, sorted by their bytes. */
  async listNamespaces(): Promise<string[]> {
    return this.#call('listNamespaces', []);
  }

  /** Deletes expired entries, of one namespace or of all; then, with `compact`, compacts. */
  async vacuum(options: { namespace?: string; compact?: boolean } = {}): Promise<number> {
    const { namespace } = options;
    const of = namespace === undefined ? undefined : namespaceOf(namespace);
    const compact = flag(options.compact, 'compact') ?? false;
    return Number(await this.#call<bigint>('vacuum', [of, compact]));
  }

  /** Frees the index memory of deleted rows; with graphs, builds at most one more. */
  async compact(): Promise<number> {
    return Number(await this.#call<bigint>('compact', []));
  }

  /** Finishes building the index now, and returns the number of its rows. */
  async warmUp(): Promise<number> {
    return Number(await this.#call<bigint>('warmUp', []));
  }

  /** Writes waiting access data and counters to the store. */
  async flush(): Promise<void> {
    return this.#call('flush', []);
  }

  // ---- settings -----------------------------------------------------------------

  /** Sets the most entries that a namespace may hold; null removes it. 0 closes it to writing. */
  async setNamespaceQuota(namespace: string, maxEntries: number | null): Promise<void> {
    return this.#call('setNamespaceQuota', [
      namespaceOf(namespace),
      integer(maxEntries, 'maxEntries'),
    ]);
  }

  /** The most entries that a namespace may hold; undefined: any number. */
  async namespaceQuota(namespace: string): Promise<number | undefined> {
    const quota = await this.#call<bigint | undefined>('getNamespaceQuota', [
      namespaceOf(namespace),
    ]);
    return quota === undefined ? undefined : Number(quota);
  }

  /** Changes the least similarity of a semantic hit: -1 to 1. */
  async setSimilarityThreshold(threshold: number): Promise<void> {
    const similarityThreshold = number(threshold, 'the threshold') ?? Number.NaN;
    await this.#call('setSimilarityThreshold', [similarityThreshold]);
    this.#raw = { ...this.#raw, similarityThreshold };
  }

  /** Changes how the index holds vectors, rebuilding it from the store. */
  async requantize(to: VectorDtype): Promise<void> {
    const vectorDtype = dtype(to);
    await this.#call('requantize', [vectorDtype]);
    this.#raw = { ...this.#raw, vectorDtype };
  }

  // ---- looking at it ------------------------------------------------------------

  /** Counts, settings and memory, of one namespace or of all. */
  async stats(namespace?: string): Promise<Stats> {
    const of = namespace === undefined ? undefined : namespaceOf(namespace);
    return plain(await this.#call('stats', [of])) as unknown as Stats;
  }

  /** Checks the store and reports. A failing store is part of the report, not an error. */
  async health(): Promise<Health> {
    const raw = await this.#call<Record<string, unknown>>('health', []);
    const { coordination, ...rest } = raw as { coordination: { tag: string; val?: number } };
    return { ...plain(rest), staleMs: coordination.val } as unknown as Health;
  }

  /** A query as the cache compares and embeds it: its text, and the SHA-256 of that. */
  async normalize(query: string): Promise<{ text: string; hash: string }> {
    return this.#call('normalize', [wellFormed(query, 'the query')]);
  }

  /** The cosine of two vectors, after rounding both as an index of this dtype does. */
  async similarity(a: Vector, b: Vector, of: VectorDtype = 'float32'): Promise<number> {
    return this.#call('similarity', [vector(a, 'a'), vector(b, 'b'), dtype(of)]);
  }

  // ---- moving it ----------------------------------------------------------------

  /**
   * Writes the whole cache as one archive, which every host of mneme can load. A synchronous
   * store cannot wait for a sink, so its archive is first held in memory.
   */
  async dump(options: DumpOptions = {}): Promise<DumpReport> {
    const { layout, level, onProgress } = options;
    const compression = oneOf(options.compression ?? 'gzip', ['gzip', 'zstd'], 'compression');
    const writer = new Writer(options.to, this.#store.synchronous);
    const raw = {
      layout: layout === undefined ? undefined : oneOf(layout, ['native', 'portable'], 'layout'),
      compression,
      level: count(level, 'level') ?? (compression === 'gzip' ? 1 : undefined),
    };
    if (raw.level !== undefined && raw.level > 9) {
      throw new InvalidArgumentError(`level is ${raw.level}; give 0 to 9`);
    }
    try {
      const report = plain(
        await this.#call('dump', [raw], undefined, { writer, progress: onProgress }, 'checkpoint'),
      ) as unknown as DumpReport;
      await writer.finish();
      return options.to
        ? report
        : {
            ...report,
            archive: writer.blob(compression === 'gzip' ? 'application/gzip' : 'application/zstd'),
          };
    } catch (error) {
      await writer.fail(error);
      throw error;
    }
  }

  /**
   * Makes an archive part of the cache: all of it, or nothing. For a synchronous store, the
   * archive is first read into memory.
   */
  async load(source: ArchiveSource, options: LoadOptions = {}): Promise<LoadReport> {
    const raw = rawLoad(options);
    const reader = await Reader.of(source, this.#store.synchronous);
    try {
      const report = await this.#call<LoadReport>(
        'load',
        [raw],
        undefined,
        { reader, progress: options.onProgress },
        'checkpoint',
      );
      if (raw.maxEntries !== undefined) {
        this.#raw = { ...this.#raw, maxEntries: raw.maxEntries };
      }
      if (raw.vectorDtype !== undefined) {
        this.#raw = { ...this.#raw, vectorDtype: raw.vectorDtype };
      }
      return plain(report as unknown as Record<string, unknown>) as unknown as LoadReport;
    } finally {
      await reader.end().catch(() => {});
    }
  }

  // ---- the end ------------------------------------------------------------------

  /** Flushes, then closes the store. Closing twice does nothing. */
  close(): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#closed) {
        return;
      }
      this.#closed = true;
      const instance = this.#instance;
      this.#instance = undefined;
      try {
        await (instance ? instance.call('cache', 'close') : this.#store.close());
      } finally {
        await this.#store.release?.();
      }
    });
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- the component ------------------------------------------------------------

  #call<R>(
    name: string,
    args: unknown[],
    signal?: AbortSignal,
    archive: Archive = {},
    face: 'cache' | 'checkpoint' = 'cache',
  ): Promise<R> {
    return this.#queue.run(async () => {
      if (this.#closed) {
        throw new ClosedError();
      }
      const instance = await this.#running();
      this.#archive = archive;
      this.#thrown = undefined;
      try {
        const result = await instance.call<R>(face, name, ...args);
        // A function of the options has failed, and the answer is not what it would be.
        const thrown = this.#thrown as { error: unknown } | undefined;
        if (thrown) {
          throw thrown.error;
        }
        return result;
      } finally {
        this.#archive = {};
        if (instance.trapped) {
          this.#instance = undefined;
        }
      }
    }, signal);
  }

  /** The instance; a new one, on the same store, if the last one has trapped. */
  async #running(): Promise<Instance> {
    if (!this.#instance) {
      const instance = this.#start();
      await instance.call('cache', 'open', this.#raw);
      await this.#tellQuotas(instance);
      this.#instance = instance;
    }
    return this.#instance;
  }

  /** Opens an instance again with the present quotas of the namespaces named at opening. */
  async #tellQuotas(instance: Instance): Promise<void> {
    const namespaceQuotas: [string, bigint][] = [];
    for (const namespace of Object.keys(this.#options.namespaceQuotas ?? {})) {
      const quota = await instance.call<bigint | undefined>(
        'cache',
        'getNamespaceQuota',
        namespace,
      );
      if (quota !== undefined) {
        namespaceQuotas.push([namespace, quota]);
      }
    }
    if (namespaceQuotas.length > 0) {
      await instance.call('cache', 'close');
      await instance.call('cache', 'open', { ...this.#raw, namespaceQuotas });
    }
  }

  #start(): Instance {
    return new Instance(
      this.#instantiate,
      this.#store,
      this.#hooks(),
      count(this.#options.storeTimeout, 'storeTimeout'),
    );
  }

  #hooks(): Hooks {
    const { confidence, validator, onEvent, now = Date.now } = this.#options;
    return {
      now,
      confidence: (similarity, age, text) => {
        if (!confidence || !('compute' in confidence)) {
          return 0;
        }
        return this.#guard(0, () => confidence.compute(similarity, age, parseMetadata(text)));
      },
      // What cannot be judged is not deleted.
      accept: (raw) => {
        if (typeof validator !== 'function') {
          return true;
        }
        const candidate = plain(raw as Record<string, unknown>) as unknown as Candidate & {
          metadata: unknown;
        };
        candidate.metadata = parseMetadata(String(candidate.metadata));
        return this.#guard(true, () => Boolean(validator(candidate)));
      },
      onEvent: (raw) => {
        try {
          onEvent?.(toEvent(raw));
        } catch (error) {
          report(error);
        }
      },
      read: (max) => guarded('read', () => this.#archive.reader?.read(max) ?? new Uint8Array(0)),
      write: (bytes) => guarded('written', () => this.#archive.writer?.write(bytes)),
      progress: (done, total, unit) => {
        try {
          this.#archive.progress?.(done, total, unit);
        } catch (error) {
          report(error);
        }
      },
    };
  }

  /** What a function of the options returns. If it throws, the call fails at its end. */
  #guard<T>(otherwise: T, work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#thrown ??= { error };
      return otherwise;
    }
  }

  // ---- embedding ----------------------------------------------------------------

  async #embed(texts: string[], signal: AbortSignal | undefined): Promise<Float32Array[]> {
    const { fingerprint } = this.#embedder;
    if (!this.#embedder.embed) {
      throw new EmbedderError(
        `the embedder ${JSON.stringify(fingerprint)} has no embed function, so every question and answer must come with its embedding`,
      );
    }
    let vectors: Vector[];
    try {
      const asked = Promise.resolve(this.#embedder.embed(texts, { signal }));
      vectors = await (signal ? until(asked, signal) : asked);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new EmbedderError(`the embedder failed: ${describe(cause)}`, { cause });
    }
    if (!Array.isArray(vectors) || vectors.length !== texts.length) {
      throw new EmbedderError(
        `the embedder ${JSON.stringify(fingerprint)} returned ${Array.isArray(vectors) ? vectors.length : 'no'} vectors for ${texts.length} texts; it must return one for each`,
      );
    }
    try {
      return vectors.map((one) => vector(one, 'a vector of the embedder'));
    } catch (cause) {
      throw new EmbedderError(describe(cause), { cause });
    }
  }

  /** Vectors for look-ups, in which an embedder's failure is a miss. */
  async #sources(
    texts: string[],
    signal: AbortSignal | undefined,
  ): Promise<{ vectors: VectorSource[]; failure: { error: unknown } | undefined }> {
    try {
      const vectors = await this.#embed(texts, signal);
      return { vectors: vectors.map((val) => ({ tag: 'embedded', val })), failure: undefined };
    } catch (error) {
      signal?.throwIfAborted();
      const failed: VectorSource = { tag: 'failed', val: describe(error) };
      const cause =
        error instanceof EmbedderError && error.cause !== undefined ? error.cause : error;
      return { vectors: texts.map(() => failed), failure: { error: cause } };
    }
  }
}

/** Nobody here handles what a listener throws; it is reported like that of any listener. */
function report(error: unknown): void {
  if (typeof globalThis.reportError === 'function') {
    globalThis.reportError(error);
  } else {
    queueMicrotask(() => {
      throw error;
    });
  }
}
