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
  LinkOptions,
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
import { feedbackOptions, rawFeedback, type FeedbackOptions, type Label } from './bound.js';
import { dump, load } from './checkpoints.js';
import { count, dtype, flag, integer, number, vector } from './checks.js';
import { instantiatorFor, wellFormed, type Component, type Instantiate } from './component.js';
import { Embedding } from './embedding.js';
import { entries, erase, listEntries } from './entries.js';
import { InvalidArgumentError } from './errors.js';
import { Flights } from './flights.js';
import { clockOf } from './hooks.js';
import { known } from './known.js';
import { Labelling } from './labelling.js';
import { Looking } from './looking.js';
import { checkOptions, type CacheOptions, type Vector, type VectorDtype } from './options.js';
import { plain } from './plain.js';
import { Queue } from './queue.js';
import {
  contextOf,
  namespaceOf,
  options as optionsOf,
  rawGet,
  rawLink,
  rawPut,
  storedId,
  textsToEmbed,
  toStats,
  type RawGet,
  type RawPut,
  type RawStep,
  type RawStored,
  type VectorSource,
} from './raw.js';
import { Runner } from './runner.js';
import { inSteps, inTurns } from './steps.js';
import { vetoKinds, type Judgement, type Vetoes } from './trust.js';
import { Verifying } from './verifying.js';

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
  readonly #verifying: Verifying;
  readonly #looking: Looking;
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
    this.#verifying = new Verifying(this.#runner);
    this.#looking = new Looking(this.#runner, this.#embedding, this.#verifying, () => {
      this.#stored += 1;
    });
    const labelling = new Labelling(this.#runner, this.#embedding);
    this.#flights = new Flights(this.#runner, {
      lookUp: (request, signal) => this.#looking.one(request, signal),
      put: (request) => this.#put(request, undefined),
      stored: () => this.#stored,
      normalize: (query) => this.normalize(query),
      embed: async (text, signal) =>
        (await this.#looking.sources([text], signal)).sources[0] as VectorSource,
      tellEmbedding: (error) => this.#looking.tellEmbedding(error),
      label: (nearest, response) => labelling.label(nearest, response),
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
    return (await this.#looking.one(this.#request({ ...given, query }), given.signal)).lookup;
  }

  /** As {@link lookUp}, for several questions, whose texts are embedded together. */
  async getMany(
    questions: (string | Question)[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<Lookup[]> {
    const { signal } = optionsOf.signal(options, 'getMany');
    const requests = listOf(questions, 'questions').map((one) =>
      this.#request(typeof one === 'string' ? { query: one } : optionsOf.question(one)),
    );
    return this.#looking.several(requests, signal);
  }

  /**
   * Says how {@link lookUp} would answer a question now, and why, with the nearest entries.
   * Counts nothing and changes nothing. It asks the embedder even if the exact layer answers, and
   * the verifier if a look-up would.
   */
  async explain(query: string, options?: ExplainOptions): Promise<Explanation> {
    const given = optionsOf.explain(options);
    const { signal, limit = 10 } = given;
    const request = this.#request({ ...given, query });
    return this.#looking.explain(request, count(limit, 'limit'), signal);
  }

  #request(question: Question): RawGet {
    return rawGet(question, this.#runner.usualVetoes);
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
   *
   * With the option `errorBound`, whoever has computed also compares what is kept with the nearest
   * entry's response, and labels it; see `sameAnswer`.
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
    const request = { ...this.#request({ ...given, query }), validate: true };
    // Before anything is computed: what it could not be stored with.
    const blank = rawPut({ ...given, query, response: '', validate: true });
    if (typeof compute !== 'function') {
      throw new InvalidArgumentError(`compute is of type ${typeof compute}; give a function`);
    }
    const { metadata } = given;
    return this.#flights.resolve({ query, request, blank, metadata, signal }, compute);
  }

  /**
   * Stores the answer of an entry under another query of its namespace and context, for the exact
   * layer only: for a program that has found out itself that it is the answer. Lifetime, tags and
   * metadata are the entry's, and the copy does not follow its later changes. Returns the id of the new
   * entry; undefined if nothing was stored: the query has an answer by now, or the entry was
   * replaced, deleted or has expired.
   */
  async link(query: string, options: LinkOptions): Promise<number | undefined> {
    const id = await this.#runner.call<bigint | undefined>('link', rawLink(query, options));
    if (id === undefined) {
      return undefined;
    }
    this.#stored += 1;
    return Number(id);
  }

  /**
   * Labels the candidate of a look-up: whether its response is the right one. The ticket is that of a
   * hit or of a miss's `nearest`, at most a day old; one of another process will do. Each question and
   * entry is labelled once. `getOrCompute` does it by itself; see `sameAnswer`.
   *
   * An `invalid-argument` error for a ticket of another namespace, one that is too old, was used or
   * was not issued here, and without the option `errorBound`.
   */
  async feedback(ticket: string, label: Label, options?: FeedbackOptions): Promise<void> {
    const { namespace, source } = feedbackOptions(options);
    const args = [namespaceOf(namespace), ...rawFeedback(ticket, label, source)];
    await this.#runner.call('feedback', args);
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
    return toStats(await this.#runner.call('stats', [of]));
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

  /**
   * The vetoes between a query and the query of an entry, as look-ups find them: why the answer to one
   * cannot be the answer to the other. Of these kinds; default: those of the cache's option `vetoes`.
   */
  async judge(query: string, entry: string, kinds?: Vetoes): Promise<Judgement> {
    const { raw, usualVetoes } = this.#runner;
    return this.#runner.call('judge', [
      wellFormed(query, 'the query'),
      wellFormed(entry, 'the query of the entry'),
      vetoKinds(kinds, usualVetoes) ?? raw.vetoes,
    ]);
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
    this.#verifying.end();
    return this.#runner.close();
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const isMore = ({ more }: RawStep) => more;

function listOf<T>(value: T[], what: string): T[] {
  if (!Array.isArray(value)) {
    throw new InvalidArgumentError(`${what} are of type ${typeof value}; give an array`);
  }
  return value;
}
