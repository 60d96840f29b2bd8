/** The runtimes that there are on this machine. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { EXECUTABLE } from './chromium.mjs';

const folder = fileURLToPath(new URL('../runtimes/', import.meta.url));
const modules = `${folder}node_modules/`;

/** Whether what is missing is a failure. */
export const REQUIRE_ALL = process.env.MNEME_REQUIRE_ALL === '1';

/** Commands that run a script. */
export const COMMANDS = {
  'Node with JSPI': [`${modules}node-jspi/bin/node`],
  'Node without JSPI': [`${modules}node-sync/bin/node`],
  Bun: [`${modules}@oven/bun-linux-x64/bin/bun`],
  Deno: [`${modules}@deno/linux-x64-glibc/deno`, 'run', '--allow-all'],
};

/** A Node without SQLite. */
export const NODE_20 = `${modules}node-20/bin/node`;

export const hasRuntimes = existsSync(modules);
export const hasChromium = existsSync(EXECUTABLE);

/** Why a test is skipped; false where it is not, or where it must not be. */
export function unless(present, what) {
  return present || REQUIRE_ALL ? false : `skipped: no ${what}`;
}

/** Runs a script in a runtime, and returns the JSON that it prints last. */
export async function json(runtime, script, ...args) {
  const [command, ...before] = COMMANDS[runtime];
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  const options = { maxBuffer: 1 << 28, timeout: 1_200_000 };
  const { stdout } = await promisify(execFile)(command, [...before, path, ...args], options);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

/** A package of the runtimes' folder. */
export function load(name) {
  const require = createRequire(pathToFileURL(folder));
  return import(pathToFileURL(require.resolve(name)).href);
}
