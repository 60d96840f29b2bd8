/** Prints the options and the operations of the script, as JSON, for hosts in other languages. */

import { OPTIONS, operations } from '../script.mjs';

console.log(JSON.stringify({ options: OPTIONS, operations: operations() }));
