/** What every entry of the conformance battery exports, besides the judge. */

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
