/** Runs the script of operations, and prints what came of them, as JSON. */

import { SemanticCache } from '../../dist/index.js';
import { memory } from '../../dist/stores/memory.js';
import { script } from '../script.mjs';

console.log(JSON.stringify(await script({ SemanticCache, memory })));
