/**
 * Runs the tests: in Node, Bun, Deno, workerd and Chromium. The runtimes are npm packages of their
 * own (test/runtimes), Chromium is Debian's.
 *
 * What is not there is skipped, and said so; with MNEME_REQUIRE_ALL=1 it is a failure.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('../', import.meta.url));

function run(command, args, cwd = here) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`${command} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`);
    process.exit(1);
  }
}

if (!existsSync(`${here}dist/index.js`)) {
  run('npm', ['run', 'build']);
}
run('npm', ['run', '--silent', 'lint']);
const runtimes = `${here}test/runtimes`;
const changed = (file) => statSync(`${runtimes}/${file}`, { throwIfNoEntry: false })?.mtimeMs ?? 0;
if (
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  changed('node_modules/.package-lock.json') < changed('package-lock.json')
) {
  run('npm', ['ci', '--no-audit', '--no-fund'], runtimes);
}
const files = readdirSync(`${here}test`).filter((name) => name.endsWith('.test.mjs'));
// This reporter says at the end which tests failed.
const options = ['--test', '--test-concurrency=2', '--test-reporter=spec'];
run(process.execPath, [...options, ...files.map((name) => `test/${name}`)]);
