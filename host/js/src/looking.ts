/** Asking questions: the exact layer, then, with a vector, the semantic one, then the verifier. */

import type { Explanation, Lookup } from './api.js';
import type { Embedding } from './embedding.js';
import type { EmbedderError } from './errors.js';
import type { LookedUp } from './flights.js';
import {
  finish,
  textsToEmbed,
  toExplanation,
  type Asked,
  type RawExplained,
  type RawGet,
  type RawLookup,
  type VectorSource,
} from './raw.js';
import type { Runner } from './runner.js';
import { inSteps, inTurns } from './steps.js';
import type { Verifying } from './verifying.js';

type Cause = { error: unknown } | undefined;
type Signal = AbortSignal | undefined;

/** The questions of a cache. */
export class Looking {
  readonly #runner: Runner;
  readonly #embedding: Embedding;
  readonly #verifying: Verifying;
  readonly #stored: () => void;

  /** @param stored is called when something was stored by the way */
  constructor(runner: Runner, embedding: Embedding, verifying: Verifying, stored: () => void) {
    this.#runner = runner;
    this.#embedding = embedding;
    this.#verifying = verifying;
    this.#stored = stored;
  }

  /** See `SemanticCache.lookUp`. */
  async one(request: RawGet, signal: Signal): Promise<LookedUp> {
    const { answer, vector, text, failure } = await this.#complete(request, signal, (asked) => {
      const call = () => this.#runner.call<RawLookup>('get', [asked], signal);
      return inSteps(call, isLater);
    });
    const lookup = this.#finish(answer, request, failure);
    return text === undefined ? { lookup, source: vector } : { lookup, source: vector, text };
  }

  /** See `SemanticCache.getMany`. */
  async several(requests: RawGet[], signal: Signal): Promise<Lookup[]> {
    const asked = [...requests];
    const ask = (some: RawGet[]) =>
      inTurns<RawGet, RawLookup>(some, isLater, (rest) =>
        this.#runner.call('getMany', [rest], signal),
      );
    const answers = await ask(asked);
    /** Asks those again that want something, with what `more` adds to each of them. */
    const again = async <T extends Wants>(
      tag: T,
      more: (answers: Asked<T>[]) => Promise<Partial<RawGet>[]>,
    ) => {
      const open = [...answers.keys()].filter((i) => answers[i]?.tag === tag);
      if (open.length > 0) {
        const added = await more(open.map((i) => answers[i] as Asked<T>));
        open.forEach((i, at) => {
          asked[i] = { ...(asked[i] as RawGet), ...added[at] };
        });
        const found = await ask(open.map((i) => asked[i] as RawGet));
        open.forEach((i, at) => {
          answers[i] = found[at] as RawLookup;
        });
      }
    };
    let failure: Cause;
    await again('needs-embedding', async (open) => {
      const found = await this.sources(textsToEmbed(open), signal);
      failure = found.failure;
      return found.sources.map((vector) => ({ vector }));
    });
    await again('needs-verification', async (open) => {
      const said = await this.#verifying.all(
        open.map(({ val }) => val),
        signal,
      );
      return said.map((verification) => ({ verification }));
    });
    return answers.map((answer, i) => {
      const request = asked[i] as RawGet;
      return this.#finish(answer, request, request.vector.tag === 'failed' ? failure : undefined);
    });
  }

  /** See `SemanticCache.explain`. */
  async explain(request: RawGet, limit: number | undefined, signal: Signal): Promise<Explanation> {
    const { answer, failure } = await this.#complete(request, signal, (asked) => {
      const call = () => this.#runner.call<RawExplained>('explain', [asked, limit], signal);
      return inSteps(call, isLater);
    });
    return toExplanation(answer, failure);
  }

  /** Asks, and asks again with the vector and the verification that the answers want. */
  async #complete<A extends RawLookup | RawExplained>(
    request: RawGet,
    signal: Signal,
    ask: (request: RawGet) => Promise<A>,
  ): Promise<{ answer: A; vector: VectorSource; text: string | undefined; failure: Cause }> {
    let asked = request;
    let text: string | undefined;
    let failure: Cause;
    let answer = await ask(asked);
    if (answer.tag === 'needs-embedding') {
      text = answer.val.text;
      const found = await this.sources([text], signal);
      failure = found.failure;
      asked = { ...asked, vector: found.sources[0] as VectorSource };
      answer = await ask(asked);
    }
    if (answer.tag === 'needs-verification') {
      const [verification] = await this.#verifying.all([answer.val], signal);
      answer = await ask({ ...asked, verification });
    }
    return { answer, vector: asked.vector, text, failure };
  }

  #finish(answer: RawLookup, { context }: RawGet, failure: Cause): Lookup {
    const lookup = finish(answer, failure);
    this.#verifying.later(answer, context, this.#stored);
    return lookup;
  }

  /** Vectors for look-ups, in which an embedder's failure is a miss. */
  async sources(
    texts: string[],
    signal: Signal,
  ): Promise<{ sources: VectorSource[]; failure: Cause }> {
    const { embedded, failure } = await this.#embedding.some(texts, signal);
    const sources: VectorSource[] = embedded.map((val) => ({ tag: 'embedded', val }));
    if (!failure) {
      return { sources, failure: undefined };
    }
    this.tellEmbedding(failure);
    while (sources.length < texts.length) {
      sources.push({ tag: 'failed', val: failure.message });
    }
    return { sources, failure: { error: failure.cause ?? failure } };
  }

  /** That a text came without a vector, and no embedder was to make one, is no failure of it. */
  tellEmbedding(error: EmbedderError | Error): void {
    if (this.#runner.options.embedder.embed) {
      this.#runner.callbacks.tell(error, { during: 'embed' });
    }
  }
}

type Wants = 'needs-embedding' | 'needs-verification';

const isLater = ({ tag }: RawLookup | RawExplained) => tag === 'later';
