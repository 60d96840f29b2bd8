/**
 * The conformance battery for workerd, which compiles no WebAssembly at run time.
 *
 * @packageDocumentation
 */

import type { Component } from './component.js';
// @ts-ignore: made by the build, and imported as modules by workerd.
import core from './component/conformance.core.wasm';
// @ts-ignore
import core2 from './component/conformance.core2.wasm';
// @ts-ignore
import core3 from './component/conformance.core3.wasm';
import * as suspending from './component/conformance.jspi.js';
import * as synchronous from './component/conformance.sync.js';
import {
  judgeWith,
  listCasesWith,
  type Case,
  type JudgeOptions,
  type MakeStore,
  type Report,
} from './judge.js';

const component: Component = {
  modules: async () => ({
    'conformance.core.wasm': core,
    'conformance.core2.wasm': core2,
    'conformance.core3.wasm': core3,
  }),
  synchronous: async () => synchronous,
  suspending: async () => suspending,
};

/** Judges a store. */
export function judge(make: MakeStore, options?: JudgeOptions): Promise<Report> {
  return judgeWith(component, make, options);
}

/** The cases, in the order to run them. */
export function listCases(): Promise<Case[]> {
  return listCasesWith(component);
}
