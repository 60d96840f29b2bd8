/** Comparing a response that was computed with that of the nearest entry, for a label. */

import type { Nearest } from './api.js';
import { comparison, labelOf, rawFeedback, type Comparer, type Label } from './bound.js';
import type { Embedding } from './embedding.js';
import { ComparerError, describe } from './errors.js';
import { clockOf } from './hooks.js';
import type { Runner } from './runner.js';
import { Service, within, type Limit } from './service.js';

/** Gives the labels of the look-ups that miss. */
export class Labelling {
  readonly #runner: Runner;
  readonly #embedding: Embedding;
  readonly #limit: Limit;
  readonly #service: Service;
  readonly #comparer: Comparer | undefined;
  readonly #leastSimilarity: number | undefined;

  constructor(runner: Runner, embedding: Embedding) {
    const { options } = runner;
    const sameAnswer = comparison(options);
    this.#runner = runner;
    this.#embedding = embedding;
    this.#limit = ['embedder.timeoutSeconds', options.embedder.timeoutSeconds];
    this.#service = new Service('comparer', {
      // Somebody waits for what was computed.
      retries: 0,
      concurrency: ['sameAnswer', undefined],
      timeoutSeconds: this.#limit,
      now: clockOf(options),
    });
    if (typeof sameAnswer === 'function') {
      this.#comparer = sameAnswer;
    } else {
      this.#leastSimilarity = sameAnswer && Math.fround(sameAnswer.leastSimilarity);
    }
  }

  /** Labels the candidate of a miss, within the time limit. Of failures `onError` hears. */
  async label(nearest: Nearest, response: string): Promise<void> {
    const { candidate, ticket } = nearest;
    try {
      await within(this.#limit, async (signal) => {
        try {
          const label = await this.#compare(nearest, response, signal);
          const args = [candidate.namespace, ...rawFeedback(ticket, label, 'compared')];
          await this.#runner.call('feedback', args, signal);
        } catch (error) {
          throw error === signal.reason ? tooLate(error, this.#limit) : error;
        }
      });
    } catch (error) {
      this.#runner.callbacks.tell(error, { during: 'label' });
    }
  }

  async #compare({ candidate }: Nearest, response: string, signal: AbortSignal): Promise<Label> {
    const comparer = this.#comparer;
    if (comparer) {
      return this.#service.call(
        (signal) => comparer(candidate, response, { signal }),
        checked,
        signal,
      );
    }
    const both = [candidate.response, response];
    const label = await this.#runner.call<Label>('compare', both, signal);
    if (label === 'same' || this.#leastSimilarity === undefined) {
      return label;
    }
    const embedded = await this.#embedding.all(both, signal);
    for (const { reading } of this.#runner.options.allowUnreadable ? [] : embedded) {
      if (reading && !(await this.#runner.call<boolean>('isReadable', [reading], signal))) {
        return 'unknown';
      }
    }
    const vectors = embedded.map(({ vector }) => vector);
    const similarity = await this.#runner.call<number>(
      'similarity',
      [...vectors, 'float32'],
      signal,
    );
    return similarity >= this.#leastSimilarity ? 'same' : 'different';
  }
}

/** What a function has returned, if it is a label. */
function checked(returned: unknown): Label {
  const label = labelOf(returned);
  if (label === undefined) {
    const what = typeof returned === 'string' ? 'another text' : describe(returned).slice(0, 40);
    throw new ComparerError(`sameAnswer returned ${what}; return 'same', 'different' or 'unknown'`);
  }
  return label;
}

/** The time was over before anybody was asked, or after. */
function tooLate(cause: unknown, [option]: Limit): ComparerError {
  return new ComparerError(
    `a candidate got no label, for calls that came first took all the time; raise ${option}`,
    { retryable: true, cause },
  );
}
