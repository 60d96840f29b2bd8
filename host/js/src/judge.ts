/** Judging a store: the conformance battery, run on it case by case. */

import { seconds } from './checks.js';
import { instantiatorFor, type Component, type Exports } from './component.js';
import { describe, UnsupportedError } from './errors.js';
import { known } from './known.js';
import type { Capabilities, Store } from './store.js';
import { storeImports } from './store-imports.js';

/** A capability that a store may claim and a case may need. */
export type Capability = 'durable' | 'shared' | 'snapshot' | 'blobs';

/**
 * The store that a phase of a case works on: a new one, a second one beside the first, the first
 * one again, or one in a separate process that is killed.
 */
export type Phase = 'fresh' | 'beside' | 'back' | 'killed';

/** A check of one behaviour. */
export interface Case {
  name: string;
  /** The behaviour, in one line. */
  summary: string;
  /** The operation or invariant of the store that it belongs to. */
  section: string;
  needs: Capability | undefined;
  phases: Phase[];
}

/** The outcome of a case. */
export interface Judged {
  name: string;
  section: string;
  summary: string;
  outcome: 'passed' | 'failed' | 'skipped';
  /** The failure in one line, or the reason for skipping. */
  detail: string | null;
  /** If it failed: what the contract demands. */
  expected?: string;
  /** If it failed: what the store did instead. */
  actual?: string;
  /** The phase of the case, counted from 0. */
  phase?: number;
}

/** The number of cases by outcome. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The result of a run, as `mneme conformance --json` prints it. */
export interface Report {
  store: string;
  /** The seed, which repeats the run, in hexadecimal. */
  seed: string;
  summary: Counts;
  cases: Judged[];
}

/**
 * Makes the store to judge: a new, closed store on the same data each time. An in-memory store
 * starts empty each time.
 */
export type MakeStore = () => Store | Promise<Store>;

/** How to judge. */
export interface JudgeOptions {
  /** The seed of the cases' values. Default 1. */
  seed?: number | bigint | undefined;
  /** Runs only cases whose names match. */
  filter?: ((one: Case) => boolean) | undefined;
  /** Called with each case when it is finished. */
  onCase?: ((judged: Judged, number: number, of: number) => void) | undefined;
  /** How long one phase of a case may take. Default 60. */
  timeLimitSeconds?: number | undefined;
  /**
   * Starts a process that runs one phase of a case on another store, and resolves to the means
   * to kill it. Without it the cases that need a killed process are skipped.
   */
  startKilled?: ((one: Case, phase: number, seed: bigint) => Promise<KilledProcess>) | undefined;
}

/** A process that writes until it is killed. */
export interface KilledProcess {
  /** Settles when the first write has returned, or with an error if the phase ended early. */
  written: Promise<string | undefined>;
  /** Kills it and waits until it is gone. */
  kill(): Promise<void>;
}

type RawOutcome =
  | { tag: 'passed' }
  | { tag: 'failed'; val: { expected: string; actual: string } }
  | { tag: 'skipped'; val: string };

type Outcome =
  | { outcome: 'passed' }
  | { outcome: 'failed'; expected: string; actual: string; phase: number }
  | { outcome: 'skipped'; reason: string };

/** The battery on one store. */
class Running {
  readonly #suite: Exports;
  readonly #timeLimit: number;

  constructor(suite: Exports, timeLimit: number) {
    this.#suite = suite;
    this.#timeLimit = timeLimit;
  }

  static async on(component: Component, store: Store, timeLimit: number): Promise<Running> {
    return new Running(await suiteOn(component, store), timeLimit);
  }

  async run(name: string, phase: number, seed: bigint): Promise<Outcome> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<Outcome>((resolve) => {
      timer = setTimeout(
        () =>
          resolve(
            failed(
              phase,
              'calls that return',
              `a call of the store has not returned within ${this.#timeLimit / 1000} s`,
            ),
          ),
        this.#timeLimit,
      );
    });
    try {
      const asked = Promise.resolve(
        this.#suite['run']?.(name, phase, seed) as RawOutcome | Promise<RawOutcome>,
      ).then((raw): Outcome => {
        switch (raw.tag) {
          case 'passed':
            return { outcome: 'passed' };
          case 'skipped':
            return { outcome: 'skipped', reason: raw.val };
          case 'failed':
            return failed(phase, raw.val.expected, raw.val.actual);
        }
      });
      return await Promise.race([asked, late]);
    } catch (thrown) {
      return failed(
        phase,
        'a store that answers, or throws an error',
        `the battery stopped: ${describe(thrown)}`,
      );
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The cases, in the order to run them. */
async function listCasesWith(component: Component): Promise<Case[]> {
  const suite = await suiteOn(component, NO_STORE);
  return suite['listCases']?.() as Case[];
}

/** The battery with a store to judge. */
async function suiteOn(component: Component, store: Store): Promise<Exports> {
  const instantiate = await instantiatorFor(component, store);
  return instantiate({ 'mneme:cache/store': storeImports({ store }) })['suite'] as Exports;
}

/** Runs one phase of a case, in a process that will be killed. Ends only if it fails. */
async function runPhaseWith(
  component: Component,
  store: Store,
  name: string,
  phase: number,
  seed: bigint,
): Promise<string> {
  const running = await Running.on(component, store, 0x7fff_ffff);
  const outcome = await running.run(name, phase, seed);
  return outcome.outcome === 'failed'
    ? `expected ${outcome.expected}; actual ${outcome.actual}`
    : `the phase ended: ${outcome.outcome}`;
}

/** Judges a store. */
async function judgeWith(
  component: Component,
  make: MakeStore,
  given?: JudgeOptions,
): Promise<Report> {
  const options = known<JudgeOptions>(
    given,
    { seed: true, filter: true, onCase: true, timeLimitSeconds: true, startKilled: true },
    'judge',
  );
  const seed = BigInt.asUintN(64, BigInt(options.seed ?? 1));
  const cases = (await listCasesWith(component)).filter(options.filter ?? (() => true));
  const one = await make();
  const claims = one.capabilities();
  await one.release?.();
  const report: Report = {
    store: claims.name,
    seed: `0x${seed.toString(16)}`,
    summary: { passed: 0, failed: 0, skipped: 0 },
    cases: [],
  };
  for (const one of cases) {
    const outcome = await course(component, make, one, seed, claims, options);
    const judged = describeOutcome(one, outcome);
    report.summary[judged.outcome] += 1;
    report.cases.push(judged);
    options.onCase?.(judged, report.cases.length, cases.length);
  }
  return report;
}

/** Goes through the phases of a case. */
async function course(
  component: Component,
  make: MakeStore,
  one: Case,
  seed: bigint,
  claims: Capabilities,
  options: JudgeOptions,
): Promise<Outcome> {
  if (one.needs && !claimed(one.needs, claims)) {
    return { outcome: 'skipped', reason: `the store does not claim \`${one.needs}\`` };
  }
  const timeLimit = 1000 * (seconds(options.timeLimitSeconds, 'timeLimitSeconds') ?? 60);
  const stores: Store[] = [];
  let first: Running | undefined;
  let second: Running | undefined;
  const start = async () => {
    const store = await make();
    stores.push(store);
    return Running.on(component, store, timeLimit);
  };
  /** What the cases drop without closing must not hold up the next. */
  const drop = async () => {
    first = second = undefined;
    for (const store of stores.splice(0)) {
      await store.release?.();
    }
  };
  const phase = async (number: number): Promise<Outcome> => {
    try {
      switch (one.phases[number]) {
        case 'killed':
          await drop();
          return await killed(one, number, seed, options);
        case 'fresh':
          await drop();
          first = await start();
          return await first.run(one.name, number, seed);
        case 'back':
          first ??= await start();
          return await first.run(one.name, number, seed);
        default:
          second ??= await start();
          return await second.run(one.name, number, seed);
      }
    } catch (thrown) {
      return failed(number, 'a store', `none could be made: ${describe(thrown)}`);
    }
  };
  const last = one.phases.length - 1;
  let outcome: Outcome = { outcome: 'passed' };
  for (let number = 0; number <= last; number++) {
    outcome = await phase(number);
    if (outcome.outcome === 'passed') {
      continue;
    }
    if (number < last && one.phases[last] !== 'killed') {
      // It removes what is left; what it finds does not count.
      await phase(last);
    }
    if (
      one.needs &&
      outcome.outcome === 'skipped' &&
      (one.phases[number] !== 'killed' || options.startKilled)
    ) {
      outcome = failed(
        number,
        `a case that applies, since the store claims \`${one.needs}\``,
        `the case does not apply: ${outcome.reason}`,
      );
    }
    break;
  }
  for (const store of stores) {
    await Promise.resolve(store.close()).catch(() => {});
  }
  await drop();
  return outcome;
}

async function killed(
  one: Case,
  phase: number,
  seed: bigint,
  { startKilled }: JudgeOptions,
): Promise<Outcome> {
  if (!startKilled) {
    return { outcome: 'skipped', reason: 'no process can be started here to be killed' };
  }
  const process = await startKilled(one, phase, seed);
  try {
    const ended = await process.written;
    return ended === undefined
      ? { outcome: 'passed' }
      : failed(phase, 'a process that writes until it is killed', ended);
  } finally {
    await process.kill();
  }
}

function claimed(capability: Capability, claims: Capabilities): boolean {
  return capability === 'blobs' ? claims.maxBlob > 0 : claims[capability];
}

function failed(phase: number, expected: string, actual: string): Outcome {
  return { outcome: 'failed', expected, actual, phase };
}

function describeOutcome(one: Case, outcome: Outcome): Judged {
  const { name, section, summary } = one;
  switch (outcome.outcome) {
    case 'passed':
      return { name, section, summary, outcome: 'passed', detail: null };
    case 'skipped':
      return { name, section, summary, outcome: 'skipped', detail: outcome.reason };
    case 'failed': {
      const { expected, actual, phase } = outcome;
      const detail = `expected ${expected}; actual ${actual} (phase ${phase})`;
      return { name, section, summary, outcome: 'failed', detail, expected, actual, phase };
    }
  }
}

/** For listing cases, which asks no store for anything. */
const NO_STORE = new Proxy({} as Store, {
  get: (_, name) =>
    name === 'synchronous'
      ? true
      : () => {
          throw new UnsupportedError('cases are only listed here');
        },
});

/** The battery with its component filled in: what the package exports as `./conformance`. */
export function bindBattery(component: Component) {
  return {
    /**
     * Judges a store. Nobody else may write to its data meanwhile. The cases remove what they
     * write.
     */
    judge: (make: MakeStore, options?: JudgeOptions): Promise<Report> =>
      judgeWith(component, make, options),
    /** The cases, in the order to run them. */
    listCases: (): Promise<Case[]> => listCasesWith(component),
    /** Runs one phase of a case, in a process that will be killed; resolves to what ended it. */
    runPhase: (store: Store, name: string, phase: number, seed: bigint): Promise<string> =>
      runPhaseWith(component, store, name, phase, seed),
  };
}
