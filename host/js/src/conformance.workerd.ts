/**
 * The conformance battery for workerd, which compiles no WebAssembly at run time.
 *
 * @packageDocumentation
 */

import type { Component } from './component.js';
import core from './component/conformance.core.wasm';
import core2 from './component/conformance.core2.wasm';
import core3 from './component/conformance.core3.wasm';
import * as suspending from './component/conformance.jspi.js';
import * as synchronous from './component/conformance.sync.js';
import { bindBattery } from './judge.js';

const component: Component = {
  modules: async () => ({
    'conformance.core.wasm': core,
    'conformance.core2.wasm': core2,
    'conformance.core3.wasm': core3,
  }),
  synchronous: async () => synchronous,
  suspending: async () => suspending,
};

export const { judge, listCases, runPhase } = bindBattery(component);

export * from './public-conformance.js';
