/**
 * The conformance battery: the judge of a store in any language.
 *
 * ```js
 * import { judge } from 'mneme-cache-wasm/conformance';
 *
 * const report = await judge(() => new MyStore());
 * if (report.summary.failed > 0) throw new Error(JSON.stringify(report.cases, null, 1));
 * ```
 *
 * @packageDocumentation
 */

import { embedded } from './embedded.js';
import {
  judgeWith,
  listCasesWith,
  runPhaseWith,
  type Case,
  type JudgeOptions,
  type MakeStore,
  type Report,
} from './judge.js';
import type { Store } from './store.js';

const component = embedded(
  async () => (await import('./component/conformance.modules.js')).modules,
  () => import('./component/conformance.sync.js'),
  () => import('./component/conformance.jspi.js'),
);

/**
 * Judges a store. Nobody else may write to its data meanwhile; what the cases write, they remove.
 */
export function judge(make: MakeStore, options?: JudgeOptions): Promise<Report> {
  return judgeWith(component, make, options);
}

/** The cases, in the order to run them. */
export function listCases(): Promise<Case[]> {
  return listCasesWith(component);
}

/** Runs one part of a case, in a process that is to be killed; resolves to what ended it. */
export function runPhase(store: Store, name: string, phase: number, seed: bigint): Promise<string> {
  return runPhaseWith(component, store, name, phase, seed);
}

export type {
  Capability,
  Case,
  Counts,
  JudgeOptions,
  Judged,
  KilledProcess,
  MakeStore,
  Phase,
  Report,
} from './judge.js';
