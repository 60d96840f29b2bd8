/** The cache as a JavaScript program uses it. */

import type {
  Answer,
  ComputeOptions,
  Computing,
  DumpOptions,
  DumpReport,
  EntryFilter,
  EntryPage,
  EraseFilter,
  EraseOptions,
  ExplainOptions,
  Explanation,
  GetOptions,
  Health,
  HealthOptions,
  Hit,
  ListOptions,
  ListedEntry,
  LoadOptions,
  LoadReport,
  Lookup,
  PutOptions,
  Question,
  Receipt,
  Resolved,
  Stats,
  VacuumOptions,
} from './api.js';
import type { ArchiveSource } from './archive.js';
import { dump, load } from './checkpoints.js';
import { instantiatorFor, wellFormed, type Component, type Instantiate } from './component.js';
import { Embedding } from './embedding.js';
import { entries, erase, listEntries } from './entries.js';
import { InvalidArgumentError, type EmbedderError } from './errors.js';
import { Flights, type LookedUp } from './flights.js';
import { clockOf } from './hooks.js';
import { known } from './known.js';
import {
  checkOptions,
  count,
  dtype,
  flag,
  integer,
  number,
  vector,
  type CacheOptions,
  type Vector,
  type VectorDtype,
} from './options.js';
import { plain } from './plain.js';
import { Queue } from './queue.js';
import {
  contextOf,
  finish,
  namespaceOf,
  options as optionsOf,
  rawGet,
  rawPut,
  storedId,
  textsToEmbed,
  toExplanation,
  type RawExplained,
  type RawGet,
  type RawLookup,
  type RawPut,
  type RawStep,
  type RawStored,
  type VectorSource,
} from './raw.js';
import { Runner } from './runner.js';
import { inSteps, inTurns } from './steps.js';

type Cause = { error: unknown } | undefined;

/** Namespaces that one step lists. */
const NAMES_PER_PAGE = 65_536;

/**
 * A semantic cache over one store. `SemanticCache.open` opens one.
 *
 * Calls run one at a time, in the order in which they are made; embedding runs meanwhile.
 */
export class SemanticCache {
  readonly #component: Component;
  readonly #runner: Runner;
  readonly #embedding: Embedding;
  readonly #flights: Flights;
  #stored = 0;
  /** Each would discard what another has loaded. */
  readonly #requantizing = new Queue();

  /** @internal */
  protected constructor(instantiate: Instantiate, options: CacheOptions, component: Component) {
    if (typeof instantiate !== 'function') {
      throw new InvalidArgumentError(
        'a cache is not made by new; open one by await SemanticCache.open(options)',
      );
    }
    this.#component = component;
    this.#runner = new Runner(instantiate, options);
    this.#embedding = new Embedding(options.embedder, clockOf(options));
    this.#flights = new Flights(this.#runner, {
      lookUp: (request, signal) => this.#lookUp(request, signal),
      put: (request) => this.#put(request, undefined),
      stored: () => this.#stored,
      normalize: (query) => this.normalize(query),
      embed: async (text, signal) =>
        (await this.#sources([text], signal)).sources[0] as VectorSource,
      tellEmbedding: (error) => this.#tellEmbedding(error),
    });
  }

  /**
   * Opens a cache of the class that it is called on.
   *
   * @internal
   */
  protected static async openWith(
    component: Component,
    given: CacheOptions,
  ): Promise<SemanticCache> {
    const options = checkOptions(given);
    const { store } = options;
    try {
      const instantiate = await instantiatorFor(component, store);
      const cache = new this(instantiate, options, component);
      await cache.#runner.open();
      return cache;
    } catch (error) {
      await store.release?.();
      throw error;
    }
  }

  // ---- looking up ---------------------------------------------------------------

  /** The answer to a question, if there is one. {@link lookUp} also says why there is none. */
  async get(query: string, options?: GetOptions): Promise<Hit | undefined> {
    return (await this.lookUp(query, optionsOf.get(options, 'get'))).hit;
  }

  /**
   * The answer to a question, or the reason for a miss. Of the entries of the namespace and
   * context that carry the tags, the one with the same normalised query answers, or else the most
   * similar one above the threshold. If the embedder fails, the result is a miss.
   */
  async lookUp(query: string, options?: GetOptions): Promise<Lookup> {
    const given = optionsOf.get(options, 'lookUp');
    return (await this.#lookUp(rawGet({ ...given, query }), given.signal)).lookup;
  }

  /** As {@link lookUp}, for several questions, whose texts are embedded together. */
  async getMany(
    questions: (string | Question)[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<Lookup[]> {
    const { signal } = optionsOf.signal(options, 'getMany');
    const first = listOf(questions, 'questions').map((one) =>
      rawGet(typeof one === 'string' ? { query: one } : optionsOf.question(one)),
    );
    const answers = await this.#askAll(first, signal);
    const texts = textsToEmbed(answers);
    if (texts.length === 0) {
      return answers.map((one) => finish(one, undefined));
    }
    const { sources, failure } = await this.#sources(texts, signal);
    const pending = first.filter((_, i) => answers[i]?.tag === 'needs-embedding');
    const second = pending.map((request, i) => ({
      ...request,
      vector: sources[i] as VectorSource,
    }));
    const again = await this.#askAll(second, signal);
    let at = 0;
    return answers.map((one) => {
      if (one.tag !== 'needs-embedding') {
        return finish(one, undefined);
      }
      const isFailed = sources[at]?.tag === 'failed';
      return finish(again[at++], isFailed ? failure : undefined);
    });
  }

  /**
   * Says how {@link lookUp} would answer a question now, and why, with the nearest entries.
   * Counts nothing and changes nothing. It asks the embedder even if the exact layer answers.
   */
  async explain(query: string, options?: ExplainOptions): Promise<Explanation> {
    const given = optionsOf.explain(options);
    const { signal, limit = 10 } = given;
    const request = rawGet({ ...given, query });
    const ask = (vector: VectorSource | undefined): Promise<RawExplained> => {
      const args = [{ ...request, vector }, count(limit, 'limit')];
      return inSteps(() => this.#runner.call<RawExplained>('explain', args, signal), isLater);
    };
    const first = await ask(request.vector);
    if (first.tag !== 'needs-embedding') {
      return toExplanation(first, undefined);
    }
    const { sources, failure } = await this.#sources([first.val.text], signal);
    return toExplanation(await ask(sources[0]), failure);
  }

  async #lookUp(request: RawGet, signal: AbortSignal | undefined): Promise<LookedUp> {
    const first = await this.#ask(request, signal);
    if (first.tag !== 'needs-embedding') {
      return { lookup: finish(first, undefined), source: request.vector };
    }
    const { text } = first.val;
    const { sources, failure } = await this.#sources([text], signal);
    const source = sources[0] as VectorSource;
    const second = await this.#ask({ ...request, vector: source }, signal);
    return { lookup: finish(second, failure), source, text };
  }

  #ask(request: RawGet, signal: AbortSignal | undefined): Promise<RawLookup> {
    return inSteps(() => this.#runner.call<RawLookup>('get', [request], signal), isLater);
  }

  /** As {@link #ask}, for several requests. */
  #askAll(requests: RawGet[], signal: AbortSignal | undefined): Promise<RawLookup[]> {
    return inTurns<RawGet, RawLookup>(requests, isLater, (rest) =>
      this.#runner.call('getMany', [rest], signal),
    );
  }

  /** Stores all, unless one needs an embedding; others have their turn in between. */
  #storeAll(requests: unknown[], signal: AbortSignal | undefined): Promise<RawPut[]> {
    let isEmbedding = false;
    const call = async (rest: unknown[]) => {
      const outcomes = await this.#runner.call<RawPut[]>('putMany', [rest], signal);
      this.#stored += 1;
      isEmbedding = outcomes.some(({ tag }) => tag === 'needs-embedding');
      return outcomes;
    };
    return inTurns(requests, ({ tag }) => tag === 'ready' && !isEmbedding, call);
  }

  // ---- storing ------------------------------------------------------------------

  /**
   * Stores a response and returns the id of its entry. It replaces the entry of the namespace and
   * context with the same normalised query, if there is one.
   */
  async put(query: string, response: string, options?: PutOptions): Promise<number> {
    const given = optionsOf.put(options);
    return this.#put(rawPut({ ...given, query, response }), given.signal);
  }

  async #put(request: RawStored, signal: AbortSignal | undefined): Promise<number> {
    let outcome = await this.#runner.call<RawPut>('put', [request], signal);
    if (outcome.tag === 'needs-embedding') {
      const [val] = await this.#embedding.all([outcome.val.text], signal);
      const complete = { ...request, vector: { tag: 'embedded', val } };
      outcome = await this.#runner.call<RawPut>('put', [complete], signal);
    }
    this.#stored += 1;
    return storedId(outcome);
  }

  /**
   * Stores several responses, and returns their ids. All are checked, and embedded together, before
   * the first is stored. They are stored in atomic steps of at most 256, or of the store's batch if
   * that is less. What the validator refuses, with `validate`, is left out: the result is a `refused`
   * error, and the others are stored. If a step fails, or `signal` is aborted, what was stored before stays.
   */
  async putMany(
    answers: Answer[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<number[]> {
    const { signal } = optionsOf.signal(options, 'putMany');
    const requests = listOf(answers, 'answers').map((one) => rawPut(optionsOf.answer(one)));
    let outcomes = await this.#storeAll(requests, signal);
    const texts = textsToEmbed(outcomes);
    if (texts.length > 0) {
      const embedded = await this.#embedding.all(texts, signal);
      let at = 0;
      const complete = requests.map((request, i) =>
        outcomes[i]?.tag === 'needs-embedding'
          ? { ...request, vector: { tag: 'embedded', val: embedded[at++] } }
          : request,
      );
      outcomes = await this.#storeAll(complete, signal);
    }
    return outcomes.map(storedId);
  }

  /**
   * The cached answer, or else what `compute` returns, which is then kept: a text, or a value that
   * JSON can hold. Callers who ask the same (after normalisation, of the same namespace and context,
   * with the same tags) at the same time share one computation. If it fails, its caller gets the error as it is, nothing is kept, and the others
   * compute themselves, one after another. A cached answer that the validator refuses is computed
   * too, and replaced.
   *
   * The caller always gets what was computed. If the question cannot be looked up, or the answer
   * cannot be kept (the store fails, it is too long, the validator refuses it), `onError` hears
   * why. While the embedder
   * fails, answers are kept for the exact layer.
   */
  async getOrCompute<T = string>(
    query: string,
    compute: (computing: Computing) => T | Promise<T>,
    options?: ComputeOptions,
  ): Promise<T> {
    return (await this.resolve(query, compute, options)).value;
  }

  /** As {@link getOrCompute}, but also says where the answer came from. */
  async resolve<T = string>(
    query: string,
    compute: (computing: Computing) => T | Promise<T>,
    options?: ComputeOptions,
  ): Promise<Resolved<T>> {
    const given = optionsOf.compute(options);
    const { signal } = given;
    const request = { ...rawGet({ ...given, query }), validate: true };
    // Before anything is computed: what it could not be stored with.
    const blank = rawPut({ ...given, query, response: '', validate: true });
    if (typeof compute !== 'function') {
      throw new InvalidArgumentError(`compute is of type ${typeof compute}; give a function`);
    }
    const { metadata } = given;
    return this.#flights.resolve({ query, request, blank, metadata, signal }, compute);
  }

  // ---- removing -----------------------------------------------------------------

  /**
   * Deletes the entry of a query, compared after normalisation, in a context. False if there was
   * none.
   */
  async delete(
    query: string,
    options?: { namespace?: string | undefined; context?: string | undefined },
  ): Promise<boolean> {
    const { namespace, context } = known(options, { namespace: true, context: true }, 'delete');
    return this.#runner.call('delete', [
      wellFormed(query, 'the query'),
      namespaceOf(namespace),
      contextOf(context),
    ]);
  }

  /**
   * Deletes the entries that meet a filter, and says which they were; with `dryRun`, which they
   * would be. It goes in steps, between which other calls are served. An entry that is stored again
   * meanwhile stays. A filter without a condition is an error, unless `everything` is set.
   *
   * Also deletes the index kept in the store, which holds codes of the vectors; the cache keeps one
   * again without them. After an error in a later step the earlier ones stay done.
   */
  erase(filter: EraseFilter, options?: EraseOptions): Promise<Receipt> {
    return erase(this.#runner, filter, options);
  }

  /**
   * Deletes all entries and counters, and returns the number of entries. Quotas stay. It goes in
   * steps, between which other calls are served; what they store may be deleted too.
   */
  async clear(): Promise<number> {
    return this.#inSteps('clear', []);
  }

  /** Deletes the entries and counters of one namespace, and returns the number of entries. */
  async clearNamespace(namespace: string): Promise<number> {
    return this.#inSteps('clearNamespace', [namespaceOf(namespace)]);
  }

  /**
   * All namespaces that hold entries, sorted by their bytes. It goes in steps of 65,536 namespaces,
   * between which other calls are served.
   */
  async listNamespaces(): Promise<string[]> {
    const all: string[][] = [];
    await inSteps(
      async () => {
        const after = all.at(-1)?.at(-1);
        const names = await this.#runner.call<string[]>('listNamespaces', [after, NAMES_PER_PAGE]);
        all.push(names);
        return names;
      },
      (names) => names.length >= NAMES_PER_PAGE,
    );
    return all.flat();
  }

  /** Deletes expired entries, of one namespace or of all; then, with `compact`, compacts. */
  async vacuum(options?: VacuumOptions): Promise<number> {
    const given = known<VacuumOptions>(options, { namespace: true, compact: true }, 'vacuum');
    const of = given.namespace === undefined ? undefined : namespaceOf(given.namespace);
    const compact = flag(given.compact, 'compact') ?? false;
    return this.#inSteps('vacuum', [of, compact]);
  }

  /** Does all steps of long work, each in a turn, and returns the number of entries. */
  async #inSteps(name: string, args: unknown[]): Promise<number> {
    let entries = 0;
    await inSteps(async () => {
      const step = await this.#runner.call<RawStep>(name, args);
      entries += Number(step.entries);
      return step;
    }, isMore);
    return entries;
  }

  /**
   * Frees the index memory of deleted rows, and returns their number; with graphs, builds those that
   * are due. It goes in steps; the step that builds a graph takes some 10 seconds.
   */
  async compact(): Promise<number> {
    return this.#inSteps('compact', []);
  }

  /** Finishes building the index now, and returns the number of its rows. */
  async warmUp(): Promise<number> {
    const last = await inSteps(() => this.#runner.call<RawStep>('warmUp', []), isMore);
    return Number(last.entries);
  }

  /** Writes waiting access data and counters to the store, and the index if it has changed enough. */
  async flush(): Promise<void> {
    await inSteps(() => this.#runner.call<boolean>('flush', []), Boolean);
  }

  // ---- settings -----------------------------------------------------------------

  /** Sets the most entries that a namespace may hold; null removes it. 0 closes it to writing. */
  async setNamespaceQuota(namespace: string, maxEntries: number | null): Promise<void> {
    return this.#runner.call('setNamespaceQuota', [
      namespaceOf(namespace),
      integer(maxEntries, 'maxEntries'),
    ]);
  }

  /** The most entries that a namespace may hold; undefined: any number. */
  async namespaceQuota(namespace: string): Promise<number | undefined> {
    const quota = await this.#runner.call<bigint | undefined>('getNamespaceQuota', [
      namespaceOf(namespace),
    ]);
    return quota === undefined ? undefined : Number(quota);
  }

  /** Changes the least similarity of a semantic hit: -1 to 1. */
  async setSimilarityThreshold(threshold: number): Promise<void> {
    const similarityThreshold = number(threshold, 'the threshold') ?? Number.NaN;
    await this.#runner.call('setSimilarityThreshold', [similarityThreshold]);
    this.#runner.change({ similarityThreshold });
  }

  /**
   * Changes how the index holds vectors, rebuilding it from the store. Of several at once, each waits
   * for the one before.
   */
  async requantize(to: VectorDtype): Promise<void> {
    const vectorDtype = dtype(to);
    await this.#requantizing.run(async () => {
      await inSteps(() => this.#runner.call<boolean>('requantize', [vectorDtype]), Boolean);
      this.#runner.change({ vectorDtype });
    });
  }

  // ---- looking at it ------------------------------------------------------------

  /**
   * The entries that meet a filter, without their vectors, ascending by id, for people who look after
   * a cache. Expired ones are listed too. No entry counts as used. They are read in parts, between
   * which other calls are served.
   */
  entries(filter?: EntryFilter): AsyncGenerator<ListedEntry, void, undefined> {
    return entries(this.#runner, filter);
  }

  /** A part of what {@link entries} lists, of at most `limit` entries and about 4 MiB. */
  listEntries(filter?: EntryFilter, options?: ListOptions): Promise<EntryPage> {
    return listEntries(this.#runner, filter, options);
  }

  /** Counts, settings and memory, of one namespace or of all. */
  async stats(namespace?: string): Promise<Stats> {
    const of = namespace === undefined ? undefined : namespaceOf(namespace);
    return plain(await this.#runner.call('stats', [of])) as unknown as Stats;
  }

  /**
   * Whether the store answers and holds this cache's data. With `deep`, all data is checked, which
   * may take seconds. A failing store is part of the report, not an error.
   */
  async health(options?: HealthOptions): Promise<Health> {
    const given = known<HealthOptions>(options, { deep: true }, 'health');
    const raw = await this.#runner.call<Record<string, unknown>>('health', [
      flag(given.deep, 'deep') ?? false,
    ]);
    const { coordination, ...rest } = raw as { coordination: { tag: string; val?: number } };
    const staleSeconds = coordination.val === undefined ? undefined : coordination.val / 1000;
    return { ...plain(rest), staleSeconds } as unknown as Health;
  }

  /** A query as the cache compares and embeds it: its text, and the hash of that in the empty context. */
  async normalize(query: string): Promise<{ text: string; hash: string }> {
    return this.#runner.call('normalize', [wellFormed(query, 'the query')]);
  }

  /** The cosine of two vectors, after rounding both as an index of this dtype does. */
  async similarity(a: Vector, b: Vector, of: VectorDtype = 'float32'): Promise<number> {
    return this.#runner.call('similarity', [vector(a, 'a'), vector(b, 'b'), dtype(of)]);
  }

  // ---- moving it ----------------------------------------------------------------

  /**
   * Writes the whole cache as one archive, which every host of mneme can load. A synchronous
   * store cannot wait for a sink, so its archive is first held in memory.
   *
   * The archive is read back, as `SemanticCache.inspect` does, before it is handed out or `to` is
   * closed: from memory where it is held there, or else while it is written, which costs a copy of
   * each piece. If it could not be loaded, the result is a `corrupt` error, and `to` is aborted (a
   * stream of Node is destroyed). So a stream that shows its file only when it is closed, as that of
   * `createWritable` in browsers does, keeps the old one; one that does not, such as
   * `fs.createWriteStream`, should write to another name, which is changed afterwards. A function
   * has the bytes by then. Only the native archive of a store that waits for promises, written to
   * `to`, is not read back.
   */
  dump(options?: DumpOptions): Promise<DumpReport> {
    return dump(this.#runner, this.#component, options);
  }

  /**
   * Makes an archive part of the cache: all of it, or nothing. For a synchronous store, the
   * archive is first read into memory. While another process holds the lock of a SQLite file, the load
   * waits before it begins, and look-ups go on.
   */
  load(source: ArchiveSource, options?: LoadOptions): Promise<LoadReport> {
    return load(this.#runner, source, options);
  }

  // ---- the end ------------------------------------------------------------------

  /** Flushes, then closes the store. Closing twice does nothing. */
  close(): Promise<void> {
    return this.#runner.close();
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- embedding ----------------------------------------------------------------

  /** Vectors for look-ups, in which an embedder's failure is a miss. */
  async #sources(
    texts: string[],
    signal: AbortSignal | undefined,
  ): Promise<{ sources: VectorSource[]; failure: Cause }> {
    const { embedded, failure } = await this.#embedding.some(texts, signal);
    const sources: VectorSource[] = embedded.map((val) => ({ tag: 'embedded', val }));
    if (!failure) {
      return { sources, failure: undefined };
    }
    this.#tellEmbedding(failure);
    while (sources.length < texts.length) {
      sources.push({ tag: 'failed', val: failure.message });
    }
    return { sources, failure: { error: failure.cause ?? failure } };
  }

  /** That a text came without a vector, and no embedder was to make one, is no failure of it. */
  #tellEmbedding(error: EmbedderError | Error): void {
    if (this.#runner.options.embedder.embed) {
      this.#runner.callbacks.tell(error, { during: 'embed' });
    }
  }
}

const isMore = ({ more }: RawStep) => more;
const isLater = ({ tag }: RawLookup | RawExplained) => tag === 'later';

function listOf<T>(value: T[], what: string): T[] {
  if (!Array.isArray(value)) {
    throw new InvalidArgumentError(`${what} are of type ${typeof value}; give an array`);
  }
  return value;
}
