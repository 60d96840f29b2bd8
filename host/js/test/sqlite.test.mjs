/** Files that the other hosts of mneme are to open: see the Rust tests. */

import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PACKAGE } from './support/chromium.mjs';
import { hasRuntimes, json, unless } from './support/runtimes.mjs';

const artefacts = process.env.MNEME_ARTEFACTS ?? join(PACKAGE, 'artefacts');

test('a file and an archive of it', { skip: unless(hasRuntimes, 'Node with SQLite') }, async () => {
  mkdirSync(artefacts, { recursive: true });
  for (const name of ['javascript.db', 'javascript.db-wal', 'javascript.db-shm', 'native.tar.gz']) {
    rmSync(join(artefacts, name), { force: true });
  }
  const report = await json('Node with JSPI', 'test/support/write-sqlite.mjs', artefacts);
  assert.deepEqual(report, { layout: 'native', entries: 3 });
});
