/** Asking the verifier about candidates: before one answers, or afterwards. */

import { VerifierError, describe } from './errors.js';
import { clockOf } from './hooks.js';
import { toCandidate, type RawCandidate, type RawLookup, type RawVerification } from './raw.js';
import type { Runner } from './runner.js';
import { Service, isErrorOf } from './service.js';
import type { Opinion } from './trust.js';

/** The most candidates that are verified afterwards at a time, those in line included. */
const MOST_LATER = 256;

const OPINIONS: ReadonlyMap<unknown, Opinion> = new Map<unknown, Opinion>([
  [true, 'yes'],
  [false, 'no'],
  ['yes', 'yes'],
  ['no', 'no'],
  ['unknown', 'unknown'],
]);

/** The verifier of a cache. */
export class Verifying {
  readonly #runner: Runner;
  readonly #service: Service;
  /** Candidates that are verified afterwards, by question and version. */
  readonly #later = new Map<string, AbortController>();
  #isOver = false;

  constructor(runner: Runner) {
    const { verifyConcurrency, verifyTimeoutSeconds } = runner.options;
    this.#runner = runner;
    this.#service = new Service('verifier', {
      // Somebody waits for the look-up, which has another end.
      retries: 0,
      concurrency: ['verifyConcurrency', verifyConcurrency],
      timeoutSeconds: ['verifyTimeoutSeconds', verifyTimeoutSeconds],
      now: clockOf(runner.options),
    });
  }

  /** What the verifier says of each candidate, in order. Of its failures `onError` hears. */
  all(candidates: RawCandidate[], signal: AbortSignal | undefined): Promise<RawVerification[]> {
    return Promise.all(candidates.map((one) => this.#one(one, signal)));
  }

  async #one(raw: RawCandidate, signal: AbortSignal | undefined): Promise<RawVerification> {
    const { id, createdAt } = raw;
    try {
      const opinion = await this.#service.call(
        (signal) => this.#runner.options.verify?.(toCandidate(raw), { signal }),
        opinionOf,
        signal,
      );
      return { id, createdAt, opinion };
    } catch (error) {
      if (!isErrorOf('verifier', error)) {
        throw error;
      }
      this.#runner.callbacks.tell(error, { during: 'verify' });
      return { id, createdAt, opinion: 'failed' };
    }
  }

  /**
   * Verifies the doubt of a look-up that has missed, if it has one, and links the query to it if it
   * is the answer; then `linked` is called. Nobody waits. A question that is asked again meanwhile is
   * not verified twice.
   */
  later(answer: RawLookup, context: string, linked: () => void): void {
    const doubt = answer.tag === 'miss' ? answer.val.doubt : undefined;
    if (doubt === undefined || this.#isOver || this.#later.size >= MOST_LATER) {
      return;
    }
    const { namespace, query, id, createdAt } = doubt;
    const key = JSON.stringify([namespace, context, query, String(id), String(createdAt)]);
    if (this.#later.has(key)) {
      return;
    }
    const control = new AbortController();
    const { signal } = control;
    this.#later.set(key, control);
    const verify = async () => {
      const [said] = await this.all([doubt], signal);
      if (said?.opinion === 'yes') {
        const args = [query, namespace, context, id, createdAt];
        if ((await this.#runner.call('link', args, signal)) !== undefined) {
          linked();
        }
      }
    };
    verify()
      .catch((error: unknown) => {
        if (!signal.aborted) {
          this.#runner.callbacks.tell(error, { during: 'link' });
        }
      })
      .finally(() => this.#later.delete(key));
  }

  /** Stops what is verified afterwards. */
  end(): void {
    this.#isOver = true;
    for (const control of this.#later.values()) {
      control.abort();
    }
  }
}

/** What a verifier has returned, if it is an opinion. */
function opinionOf(returned: unknown): Opinion {
  const opinion = OPINIONS.get(returned);
  if (opinion === undefined) {
    const what = typeof returned === 'string' ? 'another text' : describe(returned).slice(0, 40);
    throw new VerifierError(
      `the verifier returned ${what}; return true, false, 'yes', 'no' or 'unknown'`,
    );
  }
  return opinion;
}
