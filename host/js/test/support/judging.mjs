/** Judges all pairs, and prints them and what is said of them, as JSON. */

import { SemanticCache } from '../../dist/index.js';
import { memory } from '../../dist/stores/memory.js';
import { judging } from '../judging.mjs';
import { pairs } from './pairs.mjs';

const judged = pairs();
const lines = await judging({ SemanticCache, memory }, judged);
// The pairs are for hosts in other languages.
console.log(JSON.stringify(process.argv.includes('--pairs') ? { pairs: judged, lines } : lines));
