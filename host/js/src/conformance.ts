/**
 * The conformance battery, which judges a store in any language.
 *
 * ```js
 * import { judge } from 'mneme-cache-wasm-conformance';
 *
 * const report = await judge(() => new MyStore());
 * if (report.summary.failed > 0) throw new Error(JSON.stringify(report.cases, null, 1));
 * ```
 *
 * @packageDocumentation
 */

import { embedded } from './embedded.js';
import { bindBattery } from './judge.js';

const component = embedded(
  async () => (await import('./component/conformance.modules.js')).modules,
  () => import('./component/conformance.sync.js'),
  () => import('./component/conformance.jspi.js'),
);

export const { judge, listCases, runPhase } = bindBattery(component);

export * from './public-conformance.js';
