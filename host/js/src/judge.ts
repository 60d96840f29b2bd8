/** Judging a store: the conformance battery, run on it case by case. */

import { instantiatorFor, type Component, type Exports } from './component.js';
import { describe, UnsupportedError } from './errors.js';
import type { Capabilities, Store } from './store.js';
import { storeImports } from './store-imports.js';

/** What a store may claim, without which a case does not apply. */
export type Capability = 'durable' | 'shared' | 'snapshot' | 'blobs';

/**
 * The store that a part of a case works on: a new one, a second one beside the first, the first
 * one again, or one in a process of its own that is killed.
 */
export type Phase = 'fresh' | 'beside' | 'back' | 'killed';

/** One behaviour that is checked. */
export interface Case {
  name: string;
  /** The behaviour, in one line. */
  summary: string;
  /** The operation or invariant of the store that it belongs to. */
  section: string;
  needs: Capability | undefined;
  phases: Phase[];
}

/** What became of a case. */
export interface Judged {
  name: string;
  section: string;
  summary: string;
  outcome: 'passed' | 'failed' | 'skipped';
  /** The failure in one line, or the reason for skipping. */
  detail: string | null;
  /** What the contract demands, where it failed. */
  expected?: string;
  /** What the store did instead. */
  actual?: string;
  /** Of the case, counted from 0. */
  phase?: number;
}

/** How many cases came to what. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** What became of a run; the same as `mneme conformance --json` prints. */
export interface Report {
  store: string;
  /** What repeats the run, in hexadecimal. */
  seed: string;
  summary: Counts;
  cases: Judged[];
}

/**
 * What is judged: makes a new, closed store on the same data each time. An in-memory store,
 * whose data ends with it, makes an empty one.
 */
export type MakeStore = () => Store | Promise<Store>;

/** How to judge. */
export interface JudgeOptions {
  /** What the cases draw their values from. Default 1. */
  seed?: number | bigint;
  /** Runs only cases whose names match. */
  filter?: (one: Case) => boolean;
  /** Hears of each case when it is through. */
  onCase?: (judged: Judged, number: number, of: number) => void;
  /** Milliseconds that one part of a case may take. Default 60,000. */
  timeLimit?: number;
  /**
   * Starts a process that runs one part of a case on a store of its own, and resolves to what
   * kills it. Without it the cases that need a killed process are skipped.
   */
  startKilled?: (one: Case, phase: number, seed: bigint) => Promise<KilledProcess>;
}

/** A process that writes, and is to be killed. */
export interface KilledProcess {
  /** Settles when the first write has returned; to an error where the phase ended by itself. */
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

/** Runs one part of a case, in a process that is to be killed. Ends only where it fails. */
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
  options: JudgeOptions = {},
): Promise<Report> {
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
  const timeLimit = options.timeLimit ?? 60_000;
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
     * Judges a store. Nobody else may write to its data meanwhile; what the cases write, they
     * remove.
     */
    judge: (make: MakeStore, options?: JudgeOptions): Promise<Report> =>
      judgeWith(component, make, options),
    /** The cases, in the order to run them. */
    listCases: (): Promise<Case[]> => listCasesWith(component),
    /** Runs one part of a case, in a process that is to be killed; resolves to what ended it. */
    runPhase: (store: Store, name: string, phase: number, seed: bigint): Promise<string> =>
      runPhaseWith(component, store, name, phase, seed),
  };
}
