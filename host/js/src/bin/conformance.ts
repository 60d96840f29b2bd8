#!/usr/bin/env node
/** `mneme-cache-wasm-conformance ./my-store.js`: judges a store. */

import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { argv, exit, execArgv, execPath, stderr, stdout } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import {
  judge,
  listCases,
  runPhase,
  type Case,
  type KilledProcess,
  type MakeStore,
} from '../conformance.js';
import type { Store } from '../store.js';
import { listText, reportText } from './report.js';

const USAGE = `Usage: mneme-cache-wasm-conformance STORE.js [options]

Judges a store: runs the conformance battery on it. STORE.js is a module whose default export
makes a new, closed store on the same data each time it is called. Nobody else may write to that
data meanwhile.

Options:
  --case GLOB   run only cases whose names match; * stands for anything
  --seed N      what the cases draw their values from (default 1)
  --list        list the cases and run none
  --json        print JSON
  -h, --help    print this

Exit code: 0 where no case failed, 1 where one did, 2 for a usage error.`;

/** Tells the parent that the first write of a process that is to be killed has returned. */
const WRITTEN = 'written\n';
/** How long a process goes on writing before it is killed, at most. */
const MOMENT_MS = 60;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv.slice(2),
    allowPositionals: true,
    options: {
      case: { type: 'string' },
      seed: { type: 'string' },
      list: { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
      /** Not for people: the phase of a case to run until this process is killed. */
      phase: { type: 'string' },
    },
  });
  if (values.help) {
    stdout.write(`${USAGE}\n`);
    return 0;
  }
  const [file, ...more] = positionals;
  if (more.length > 0 || (!file && !values.list)) {
    throw new UsageError('name the module of one store');
  }
  const seed = parseSeed(values.seed);
  const wanted = glob(values.case);
  const cases = (await listCases()).filter(wanted);
  if (cases.length === 0) {
    throw new UsageError(`--case ${values.case} matches no case; see --list`);
  }
  if (values.list || file === undefined) {
    stdout.write(`${values.json ? JSON.stringify({ cases }, null, 2) : listText(cases)}\n`);
    return 0;
  }
  const make = await load(file);
  if (values.phase !== undefined) {
    const ended = await runPhase(
      telling(await make()),
      values.case ?? '',
      Number(values.phase),
      seed,
    );
    stderr.write(`${ended}\n`);
    return 1;
  }
  const report = await judge(make, {
    seed,
    filter: wanted,
    startKilled: (one, phase) => startKilled(file, one, phase, seed),
    onCase: ({ section }, number, of) => {
      if (stderr.isTTY && !values.json) {
        stderr.write(`\r\x1b[2K${bar(number / of)} ${number}/${of}  ${section}`);
      }
    },
  });
  if (stderr.isTTY && !values.json) {
    stderr.write('\r\x1b[2K');
  }
  stdout.write(`${values.json ? JSON.stringify(report, null, 2) : reportText(report)}\n`);
  return report.summary.failed > 0 ? 1 : 0;
}

class UsageError extends Error {}

async function load(file: string): Promise<MakeStore> {
  const url = pathToFileURL(resolve(file)).href;
  let module: { default?: unknown };
  try {
    module = await import(url);
  } catch (error) {
    throw new UsageError(
      `${file} cannot be loaded: ${error instanceof Error ? error.message : error}`,
    );
  }
  if (typeof module.default !== 'function') {
    throw new UsageError(
      `${file} has no default export that is a function; export one that makes a store`,
    );
  }
  return module.default as MakeStore;
}

function parseSeed(text: string | undefined): bigint {
  if (text === undefined) {
    return 1n;
  }
  if (!/^(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(text) || BigInt(text) >= 1n << 64n) {
    throw new UsageError(
      '--seed is a whole number below 2^64, in decimal or in hexadecimal after 0x',
    );
  }
  return BigInt(text);
}

function glob(pattern: string | undefined): (one: Case) => boolean {
  if (pattern === undefined) {
    return () => true;
  }
  const parts = pattern.split('*').map((part) => part.replace(/[^\w-]/g, '\\$&'));
  const matcher = new RegExp(`^${parts.join('.*')}$`);
  return ({ name }) => matcher.test(name);
}

function bar(share: number): string {
  const full = Math.round(share * 30);
  return `${'█'.repeat(full)}${'░'.repeat(30 - full)}`;
}

/** The store, which tells the parent when its first write has returned. */
function telling(store: Store): Store {
  const insert = store.insert.bind(store);
  let told = false;
  const tell = () => {
    if (!told) {
      told = true;
      // At once: nothing of this process runs again before it is killed.
      writeSync(1, WRITTEN);
    }
  };
  store.insert = (entries) => {
    const inserted = insert(entries);
    if (inserted instanceof Promise) {
      return inserted.then((value) => {
        tell();
        return value;
      });
    }
    tell();
    return inserted;
  };
  return store;
}

async function startKilled(
  file: string,
  one: Case,
  phase: number,
  seed: bigint,
): Promise<KilledProcess> {
  const self = fileURLToPath(import.meta.url);
  const args = [file, '--case', one.name, '--phase', `${phase}`, '--seed', `${seed}`];
  const child = spawn(execPath, [...execArgv, self, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const gone = new Promise<void>((done) => child.once('close', () => done()));
  const first = new Promise<string | undefined>((done) => {
    child.stdout.once('data', () => done(undefined));
    child.once('error', (error) => done(`it could not be started: ${error.message}`));
    child.once('close', () => done(said.trim() || 'it ended by itself'));
  });
  const written = first.then(async (ended) => {
    if (ended === undefined) {
      await new Promise((go) => setTimeout(go, Math.random() * MOMENT_MS));
    }
    return ended;
  });
  return {
    written,
    kill: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}

try {
  exit(await main());
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const isUsage =
    error instanceof UsageError ||
    String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS');
  stderr.write(`error: ${message}\n${isUsage ? '\nFor more information, try --help.\n' : ''}`);
  exit(2);
}
