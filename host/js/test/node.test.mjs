/** What only a server does: streams of Node, files that others damage, old releases. */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { SemanticCache } from '../dist/index.js';
import { memory } from '../dist/stores/memory.js';
import { PACKAGE } from './support/chromium.mjs';
import { byLetters, letters } from './support/check.mjs';
import { COMMANDS, NODE_20, hasRuntimes, unless } from './support/runtimes.mjs';

let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mneme-node-test-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('dump', () => {
  test('writes to a stream of Node', async () => {
    const cache = await SemanticCache.open({ store: memory(), ...byLetters() });
    await cache.put('question', 'answer '.repeat(100_000));
    const file = join(folder, 'cache.tar.gz');
    const { archive, compressedBytes } = await cache.dump({ to: createWriteStream(file) });
    assert.equal(archive, undefined);
    assert.equal(readFileSync(file).length, compressedBytes);
    const other = await SemanticCache.open({ store: memory(), ...byLetters() });
    assert.equal((await other.load(readFileSync(file))).entries, 1);
  });

  test('what shrinks to hardly anything is read back, inspected and loaded', async () => {
    const cache = await SemanticCache.open({ store: memory(), ...byLetters() });
    const many = 25;
    for (let n = 0; n < many; n++) {
      await cache.put(`question ${n}`, 'x'.repeat(3_000_000));
    }
    for (const compression of ['gzip', 'zstd']) {
      const { archive, bytes, compressedBytes } = await cache.dump({ compression });
      assert.ok(bytes > 64 * 2 ** 20 && bytes < 100 * compressedBytes, `${compressedBytes} bytes`);
      assert.equal((await SemanticCache.inspect(archive)).entries, many);
      const other = await SemanticCache.open({ store: memory(), ...byLetters() });
      assert.equal((await other.load(archive)).entries, many);
      await other.close();
    }
    await cache.close();
  });

  test('holds the limits of the cache on entries, as load does', async () => {
    const store = memory();
    const large = await SemanticCache.open({
      store,
      ...byLetters(),
      maxBytes: { response: 9_000_000 },
    });
    await large.put('question', 'x'.repeat(8_000_000));
    const { archive } = await large.dump();
    await assert.rejects(SemanticCache.inspect(archive), { code: 'checkpoint' });
    const other = await SemanticCache.open({
      store: memory(),
      ...byLetters(),
      maxBytes: { response: 9_000_000 },
    });
    assert.equal((await other.load(archive)).entries, 1);
  });

  test('says what a stream of Node failed of', async () => {
    const cache = await SemanticCache.open({ store: memory(), ...byLetters() });
    const nowhere = createWriteStream(join(folder, 'none', 'cache.tar.gz'));
    await assert.rejects(cache.dump({ to: nowhere }), {
      code: 'backend',
      message: /archive cannot be written: ENOENT/,
    });
    for (const to of [7, {}, 'cache.tar.gz', null, { write() {} }]) {
      await assert.rejects(cache.dump({ to }), {
        code: 'invalid-argument',
        message: /to is no place/,
      });
    }
  });
});

test('one quota too many is refused', async () => {
  const name = (n) => `${n}`.padEnd(1024, '"');
  const namespaceQuotas = Object.fromEntries(Array.from({ length: 6900 }, (_, n) => [name(n), n]));
  const cache = await SemanticCache.open({ store: memory(), ...byLetters(), namespaceQuotas });
  const set = async () => {
    for (let n = 7000; n < 7200; n++) {
      await cache.setNamespaceQuota(name(n), n);
    }
  };
  await assert.rejects(set(), { code: 'invalid-argument', message: /too many quotas/ });
  assert.equal((await SemanticCache.inspect((await cache.dump()).archive)).entries, 0);
  for (let n = 7000; n < 7200; n++) {
    namespaceQuotas[name(n)] = n;
  }
  await assert.rejects(SemanticCache.open({ store: memory(), ...byLetters(), namespaceQuotas }), {
    code: 'invalid-argument',
    message: /namespaceQuotas: there are too many quotas/,
  });
});

describe('old releases of Node', { skip: unless(hasRuntimes, 'Node 20') }, () => {
  const run = (script) =>
    execFileSync(NODE_20, ['--input-type=module', '-e', script], {
      cwd: PACKAGE,
      encoding: 'utf8',
    }).trim();

  test('import the SQLite store, and are told what it needs', () => {
    const said = run(`
      import { nodeSqlite } from './dist/stores/node-sqlite.js';
      try { nodeSqlite(${JSON.stringify(join(folder, 'old.db'))}); } catch (e) { console.log(e.code, e.message); }`);
    assert.match(said, /^unsupported .*\(v20\..*use Node 22\.13 or later/);
    assert.equal(existsSync(join(folder, 'old.db')), false);
  });

  test('have the cache', () => {
    const said = run(`
      import { SemanticCache } from './dist/index.js';
      import { memory } from './dist/stores/memory.js';
      const embedder = { fingerprint: 'x', dimensions: 2, embed: (texts) => texts.map(() => [1, 2]) };
      const cache = await SemanticCache.open({ store: memory(), embedder });
      await cache.put('question', 'answer');
      console.log((await cache.get('another')).response);`);
    assert.equal(said, 'answer');
  });
});

describe('a SQLite file', { skip: unless(hasRuntimes, 'Node with SQLite') }, () => {
  /** Runs a script in a Node that has SQLite, and returns the JSON that it prints last. */
  async function run(body) {
    const script = join(folder, `script-${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(
      script,
      `import { DatabaseSync } from 'node:sqlite';
       import { copyFileSync, renameSync, rmSync } from 'node:fs';
       import { SemanticCache } from '${PACKAGE}dist/index.js';
       import { nodeSqlite } from '${PACKAGE}dist/stores/node-sqlite.js';
       import { byLetters, entryOf, letters } from '${PACKAGE}test/support/check.mjs';
       const at = (name) => ${JSON.stringify(`${folder}/`)} + name;
       const open = (name, more = {}) =>
         SemanticCache.open({ store: nodeSqlite(at(name)), ...byLetters(), onError: () => {}, ...more });
       const outcome = (promise) => promise.then((value) => ({ value }),
         ({ code, message, retryable }) => ({ code, message, retryable }));
       const change = (name, ...statements) => {
         const db = new DatabaseSync(at(name), { defensive: false });
         for (const sql of statements) db.exec(sql);
         db.close();
       };
       ${body}`,
    );
    const { stdout } = await promisify(execFile)(COMMANDS['Node with JSPI'][0], [
      '--disable-warning=ExperimentalWarning',
      script,
    ]);
    return JSON.parse(stdout.trim().split('\n').at(-1));
  }

  test('is refused where its statements are not those of a cache', async () => {
    const found = await run(`
      const edit = (from, to) => ["pragma writable_schema=on",
        "update sqlite_master set sql=replace(sql,'" + from + "','" + to + "') where name='entries'",
        "pragma writable_schema=off"];
      const changes = {
        collation: edit('namespace TEXT NOT NULL', 'namespace TEXT COLLATE NOCASE NOT NULL'),
        // Letters to SQLite, which therefore sees no NOT NULL there.
        'no-break space': edit('query TEXT NOT NULL', 'query TEXT NOT\u00a0NULL'),
        'byte order mark': edit('response TEXT NOT NULL', 'response TEXT\ufeffNOT NULL'),
        check: edit('ttl INTEGER', 'ttl INTEGER CHECK (ttl > 5)'),
        generated: ["alter table entries add column g text as (hex(zeroblob(1000)))"],
        'another column': ["alter table entries add column extra text"],
        'other contexts': edit('context TEXT NOT NULL', 'context TEXT COLLATE NOCASE NOT NULL'),
        trigger: ["create trigger t after insert on entries begin delete from entries; end"],
        view: ["create view v as select 1"],
        table: ["create table mine (a)"],
        index: ["create index other on entries(query)"],
        'partial index': ["drop index idx_entries_id", "create index idx_entries_id on entries(id) where id > 5"],
        'unique index': ["drop index idx_entries_created_at", "create unique index idx_entries_created_at on entries(created_at)"],
        virtual: ["create virtual table f using fts5(x)"],
        // Names that only a Durable Object keeps for itself.
        cascade: ["create table _cf_x(e integer references entries(id) on delete cascade)"],
        'reserved trigger': ["create table _cf_x(a)",
          "create trigger _cf_t after insert on _cf_x begin delete from entries; end"],
        'reserved generated': ["create table _cf_x(a, g as (hex(zeroblob(a))))",
          "insert into _cf_x (a) values (300000000)"],
        'reserved index': ["create table _cf_KV(a)", "create index _cf_i on _cf_KV(a)"],
        'too long': ["create table mine (a /* " + 'x'.repeat(200_000) + " */)"],
        // A row of the schema that compares with nothing.
        nameless: ["create table mine (a)", "pragma writable_schema=on",
          "update sqlite_master set tbl_name = null where name = 'mine'", "pragma writable_schema=off"],
      };
      const { readFileSync } = await import('node:fs');
      const found = {};
      for (const [what, statements] of Object.entries(changes)) {
        const cache = await open('schema.db');
        await cache.put('q', 'r');
        await cache.close();
        change('schema.db', ...statements);
        found[what] = await outcome(open('schema.db'));
        // The same as a snapshot of somebody else.
        const store = nodeSqlite(at('schema-to.db'));
        store.open('letters-1', 26);
        const restored = async () => {
          store.beginRestore();
          store.writeRestore(readFileSync(at('schema.db')));
          return store.checkRestore();
        };
        found[what + ' of a snapshot'] = await outcome(restored());
        store.close();
        for (const name of ['schema.db', 'schema-to.db']) {
          for (const end of ['', '-wal', '-shm']) rmSync(at(name + end), { force: true });
        }
      }
      console.log(JSON.stringify(found));`);
    for (const [what, { code, message }] of Object.entries(found)) {
      assert.doesNotMatch(message, /\.mneme-node|give less/, what);
      // SQLite itself may find it damaged.
      if (/^(nameless|too long)/.test(what)) {
        assert.match(code, /^(schema|corrupt)$/, `${what}: ${message}`);
        continue;
      }
      assert.equal(code, 'schema', `${what}: ${message}`);
      assert.match(message, /no cache has|not as a cache has it/, what);
    }
    assert.match(found.collation.message, /entries" is not as a cache has it.*COLLATE/);
  });

  test('is used without foreign keys, which answer for another table', async () => {
    const found = await run(`
      const store = nodeSqlite(at('keys.db'));
      store.open('letters-1', 26);
      const [{ id }] = store.insert([entryOf()]);
      // Made by somebody else after the schema was read.
      change('keys.db', 'create table other (e integer references entries(id))', 'insert into other values (' + id + ')');
      console.log(JSON.stringify([await outcome((async () => store.deleteById(id))()), store.count()]));`);
    assert.deepEqual(found, [{ value: true }, 0]);
  });

  test('has the path that it is given, and no URI', async () => {
    const found = await run(`
      const { mkdirSync, existsSync, readdirSync, statSync } = await import('node:fs');
      mkdirSync(at('paths/file:sub'), { recursive: true });
      process.chdir(at('paths'));
      const openAt = (path) => SemanticCache.open({ store: nodeSqlite(path), ...byLetters() });
      const refused = {};
      for (const path of ['file:t.db', 'file:t.db?mode=memory', 'file:' + at('paths/t.db'), 'file:', ':memory:', '', 'a\\0b']) {
        refused[path] = await outcome((async () => openAt(path))());
      }
      refused.url = await outcome((async () => openAt(new URL('file:///t.db')))());
      const left = readdirSync('.');
      // Their names begin with a letter of a URI, or hold what one has.
      const kept = {};
      for (const path of ['./file:t.db', './file:sub/t.db', 't.db?mode=memory', 'FILE:u.db', 'a%20b#c.db']) {
        const cache = await openAt(path);
        await cache.put('q', 'r');
        // Its snapshot is another file beside it.
        const { archive } = await cache.dump({ layout: 'native' });
        process.chdir('/');
        await cache.load(archive, { mode: 'replace' });
        process.chdir(at('paths'));
        await cache.close();
        kept[path] = [existsSync(path), statSync(path).mode & 0o777, (await (await openAt(path)).stats()).entries];
      }
      console.log(JSON.stringify({ refused, left, kept }));`);
    for (const [path, { code, message }] of Object.entries(found.refused)) {
      assert.equal(code, 'invalid-argument', path);
      assert.match(
        message,
        path.startsWith('file:') ? /is a URI; give the path alone/ : /of a file/,
      );
    }
    assert.deepEqual(found.left, ['file:sub']);
    for (const [path, kept] of Object.entries(found.kept)) {
      assert.deepEqual(kept, [true, 0o600, 1], path);
    }
  });

  test('loses what a killed process left beside it when it is opened', async () => {
    const found = await run(`
      const { readFileSync, readdirSync, statSync, utimesSync, writeFileSync } = await import('node:fs');
      const { spawn } = await import('node:child_process');
      const cache = await open('killed.db');
      await cache.put('q', 'a secret');
      await cache.close();
      copyFileSync(at('killed.db'), at('killed-from.db'));
      const left = () => readdirSync(at('')).filter((name) => name.startsWith('.mneme-node-'));
      const restoring = (script) => new Promise((resolve) => {
        const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
          { stdio: ['ignore', 'pipe', 'inherit'] });
        child.stdout.once('data', () => resolve(child));
      });
      const script = "import { readFileSync } from 'node:fs';" +
        "import { nodeSqlite } from '${PACKAGE}dist/stores/node-sqlite.js';" +
        "const store = nodeSqlite(" + JSON.stringify(at('killed.db')) + ");" +
        "store.open('letters-1', 26); store.beginRestore();" +
        "store.writeRestore(readFileSync(" + JSON.stringify(at('killed-from.db')) + "));" +
        "console.log('written'); setInterval(() => {}, 1000);";
      const child = await restoring(script);
      const during = left();
      const plain = readFileSync(at(during[0])).includes('a secret');
      // Of a process that works, also an older one, nothing is removed.
      (await open('killed.db')).close();
      const kept = left().length;
      const over = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await over;
      const killed = left().length;
      // Whose process nobody can tell stays for a day.
      const unknown = ['.mneme-node-1-' + process.pid + '-of-another-container', '.mneme-node-' + crypto.randomUUID()];
      for (const name of unknown) writeFileSync(at(name), 'x');
      const reading = await SemanticCache.open({ store: nodeSqlite(at('killed.db'), { mode: 'ro' }), ...byLetters() });
      await reading.close();
      const read = left().length;
      const again = await open('killed.db');
      const after = left().sort();
      for (const name of unknown) utimesSync(at(name), 1, 1);
      await again.dump({ layout: 'native' });
      await again.close();
      console.log(JSON.stringify({ during: during.length, plain, kept, killed, read, same: after.join() === unknown.sort().join(), end: left() }));`);
    assert.deepEqual(found, {
      during: 1,
      plain: true,
      kept: 1,
      killed: 1,
      read: 3,
      same: true,
      end: [],
    });
  });

  test('whose disk or rights fail is told with what to do', async () => {
    const found = await run(`
      const { mkdirSync } = await import('node:fs');
      const found = {};
      const message = (work) => {
        try { work(); } catch ({ code, message, retryable }) { return { code, message, retryable }; }
      };
      const entry = (n, size) => (entryOf({ queryHash: String(n).padStart(64, '0'), response: 'r'.repeat(size) }));
      mkdirSync(at('folder.db'));
      found.cannotOpen = message(() => nodeSqlite(at('folder.db')).open('letters-1', 26));
      found.missing = message(() => nodeSqlite(at('none/t.db')).open('letters-1', 26));
      const store = nodeSqlite(at('remedies.db'), { busyTimeoutSeconds: 0.05 });
      store.open('letters-1', 26);
      const other = new DatabaseSync(at('remedies.db'));
      other.exec('BEGIN IMMEDIATE');
      found.busy = message(() => store.insert([entry(1, 9)]));
      other.exec('ROLLBACK');
      // The page limit is SQLite's own full disk, of the connection that the store opens.
      const { prototype } = DatabaseSync;
      const { exec } = prototype;
      const withPragma = (pragma, work) => {
        prototype.exec = function (sql) { exec.call(this, sql + ';' + pragma); };
        try { return work(); } finally { prototype.exec = exec; }
      };
      const limited = nodeSqlite(at('full.db'));
      nodeSqlite(at('full.db')).open('letters-1', 26);
      withPragma('PRAGMA max_page_count = 40', () => limited.open('letters-1', 26));
      found.full = message(() => limited.insert([entry(1, 400_000)]));
      found.left = limited.count();
      const reading = nodeSqlite(at('only.db'));
      nodeSqlite(at('only.db')).open('letters-1', 26);
      withPragma('PRAGMA query_only = ON', () => reading.open('letters-1', 26));
      found.readOnly = message(() => reading.insert([entry(1, 9)]));
      console.log(JSON.stringify(found));`);
    assert.equal(found.left, 0);
    const { left: _, ...failures } = found;
    for (const [what, [words, retryable]] of Object.entries({
      cannotOpen: [/unable to open database file; check that the directory exists and/, false],
      missing: [/cannot be created: ENOENT.*give a path where it can be/, false],
      busy: [/database is locked; .*longer than busyTimeoutSeconds, so call again, or raise/, true],
      full: [/full; nothing was stored; free space on the disk and call again/, false],
      readOnly: [/readonly database; give this process the right to write the file/, false],
    })) {
      const { code, message, ...rest } = failures[what] ?? {};
      assert.equal(code, 'backend', `${what}: ${message}`);
      assert.match(message, words, what);
      assert.equal(rest.retryable, retryable, what);
    }
  });

  test('as a snapshot with a value longer than the file is damage, told without its private path', async () => {
    const found = await run(`
      const { readFileSync } = await import('node:fs');
      const cache = await open('long.db');
      await cache.put('q', 'r');
      await cache.close();
      change('long.db', "update schema_meta set value = hex(zeroblob(524300)) where key = 'embedder_fingerprint'",
        'PRAGMA journal_mode = DELETE');
      const bytes = readFileSync(at('long.db'));
      // As long as leaves the first page of the value as it is. A record: its length, the types of its values; of which a text of n bytes is 13 + 2n.
      const varint = (n) => {
        const groups = [];
        for (let left = n; left > 0 || groups.length === 0; left = Math.floor(left / 128)) groups.unshift(left % 128);
        return groups.map((group, i) => (i < groups.length - 1 ? group | 0x80 : group));
      };
      const record = (length) => [varint(6 + 20 + length), [6, 13 + 2 * 20, ...varint(13 + 2 * length)]].map((x) => Buffer.from(x));
      const [[size, types], [longSize, longTypes]] = [record(1_048_600), record(1_048_600 + 200 * 4092)];
      const place = bytes.indexOf(Buffer.concat([types, Buffer.from('embedder_fingerprint')]));
      const start = bytes.lastIndexOf(size, place);
      if (place < 0 || start < place - 5) throw new Error('no such record');
      longSize.copy(bytes, start);
      longTypes.copy(bytes, place);
      const store = nodeSqlite(at('long-to.db'));
      store.open('letters-1', 26);
      const said = [];
      store.beginRestore();
      store.writeRestore(bytes);
      for (const call of [() => store.checkRestore(), () => store.readRestore(0, 1)]) {
        try { said.push(call()); } catch ({ code, message }) { said.push({ code, message }); }
      }
      console.log(JSON.stringify([...said, store.count()]));`);
    const [checked, over, left] = found;
    assert.equal(checked.code, 'corrupt', checked.message);
    assert.match(
      checked.message,
      /snapshot was refused: .*nothing was changed, take another snapshot/,
    );
    assert.doesNotMatch(checked.message, /\.mneme-node|give less/);
    // What SQLite says where the limit is heeded.
    assert.match(checked.message, /too big/);
    assert.match(over.message, /no restore was begun, or it is over/);
    assert.equal(left, 0);
  });

  test('gives its rows to an archive, and never its schema', async () => {
    const found = await run(`
      const cache = await open('from.db');
      await cache.put('q', 'r');
      await cache.close();
      change('from.db', "pragma writable_schema=on",
        "update sqlite_master set sql=replace(sql,'namespace TEXT NOT NULL','namespace TEXT COLLATE NOCASE NOT NULL') where name='entries'");
      const { MemoryStore } = await import('${PACKAGE}dist/stores/memory.js');
      // A native archive is this file; what reads it decides.
      const store = nodeSqlite(at('to.db'));
      store.open('letters-1', 26);
      store.beginRestore();
      store.writeRestore((await import('node:fs')).readFileSync(at('from.db')));
      let said;
      try { store.checkRestore(); } catch ({ code, message }) { said = { code, message }; }
      console.log(JSON.stringify(said));`);
    assert.equal(found.code, 'schema');
    assert.match(found.message, /snapshot was refused.*not as a cache has it/);
  });

  test('as a snapshot is checked before anything is written to it', async () => {
    const found = await run(`
      const { readFileSync } = await import('node:fs');
      const cache = await open('good.db');
      await cache.put('q', 'r');
      await cache.close();
      const from = new DatabaseSync(at('good.db'));
      const copied = (name, encoding, leaves = () => true) => {
        const to = new DatabaseSync(at(name));
        to.exec("PRAGMA encoding = '" + encoding + "'");
        for (const { name, sql } of from.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'").all()) {
          if (leaves(name)) to.exec(sql);
        }
        for (const table of ['schema_meta', 'entries']) {
          for (const row of from.prepare('SELECT * FROM ' + table).all()) {
            to.prepare('INSERT INTO ' + table + ' VALUES (' + Object.keys(row).map(() => '?') + ')').run(...Object.values(row));
          }
        }
        to.close();
        return readFileSync(at(name));
      };
      const restored = (name, bytes) => {
        const store = nodeSqlite(at(name));
        store.open('letters-1', 26);
        try {
          store.beginRestore();
          store.writeRestore(bytes);
          const { entries } = store.checkRestore();
          store.commitRestore(true);
          return [entries, store.count(), store.integrityCheck()];
        } catch ({ code, message }) {
          return { code, message, left: store.count() };
        } finally {
          store.close();
        }
      };
      const good = copied('utf8.db', 'UTF-8');
      const damaged = Buffer.from(good);
      damaged.fill(0xff, 5 * 4096 + 8, 6 * 4096);
      console.log(JSON.stringify({
        good: restored('to1.db', good),
        // As a release that has no quotas and counters writes it.
        partial: restored('to2.db', copied('partial.db', 'UTF-8', (name) => !/quotas|counters|expiry|lru/.test(name))),
        wide: restored('to3.db', copied('utf16.db', 'UTF-16le')),
        live: await outcome(open('utf16.db')),
        cut: restored('to4.db', good.subarray(0, good.length - 4096)),
        damaged: restored('to5.db', damaged),
        nothing: restored('to6.db', Buffer.from('no database at all, but some bytes')),
      }));`);
    assert.deepEqual(
      [found.good, found.partial],
      [
        [1, 1, true],
        [1, 1, true],
      ],
    );
    assert.equal(found.wide.code, 'schema');
    assert.match(found.wide.message, /refused: the encoding .* is UTF-16le.*nothing was changed/);
    assert.equal(found.live.code, 'schema');
    assert.match(found.live.message, /encoding of the database is UTF-16le/);
    for (const what of ['cut', 'damaged', 'nothing']) {
      assert.equal(found[what].code, 'corrupt', `${what}: ${found[what].message}`);
      assert.equal(found[what].left, 0, what);
    }
  });

  test('as a snapshot leaves room for ids, and has the quotas of a cache', async () => {
    const found = await run(`
      const { readFileSync } = await import('node:fs');
      const cache = await open('extent.db');
      await cache.put('q', 'r');
      await cache.close();
      const bytes = (name, ...statements) => {
        copyFileSync(at('extent.db'), at(name));
        change(name, ...statements, 'PRAGMA journal_mode = DELETE');
        return readFileSync(at(name));
      };
      const restored = (name, ...statements) => {
        const store = nodeSqlite(at('to-' + name));
        store.open('letters-1', 26);
        try {
          store.beginRestore();
          store.writeRestore(bytes(name, ...statements));
          const { entries } = store.checkRestore();
          store.commitRestore(true);
          const [{ id }] = store.insert([{ ...store.iterSince(0, 1)[0], queryHash: 'b'.repeat(64) }]);
          return { entries, id, sound: store.integrityCheck() };
        } catch ({ code, message }) {
          return { code, message, left: store.count() };
        } finally {
          store.close();
        }
      };
      const last = (seq) => 'update sqlite_sequence set seq = ' + seq;
      const quotas = (n) => "insert into namespace_quotas (namespace, max_entries) with recursive t(i) as "
        + "(select 1 union all select i + 1 from t where i < " + n + ") select printf('%01000d', i), 1 from t";
      console.log(JSON.stringify({
        most: restored('most.db', last('4503599627370495')),
        beyond: restored('beyond.db', last('4503599627370496')),
        last: restored('last.db', last('9007199254740991')),
        id: restored('id.db', 'update entries set id = 4503599627370496', last('1')),
        few: restored('few.db', quotas(1000)),
        many: restored('many.db', quotas(1000), "insert into schema_meta (key, value) values ('long', hex(zeroblob(9500000)))"),
      }));`);
    assert.deepEqual(found.most, { entries: 1, id: 2 ** 52, sound: true });
    assert.deepEqual(found.few, { entries: 1, id: 2, sound: true });
    for (const what of ['beyond', 'last', 'id']) {
      assert.deepEqual([found[what].code, found[what].left], ['corrupt', 0], what);
      assert.match(found[what].message, /refused: its ids go up beyond 4503599627370495/, what);
    }
    assert.deepEqual([found.many.code, found.many.left], ['corrupt', 0], JSON.stringify(found));
    assert.match(found.many.message, /refused: its quotas and meta values take \d+ bytes/);
  });

  test('as a snapshot with bytes changed is refused, or is a sound cache', async () => {
    const found = await run(`
      const { readFileSync } = await import('node:fs');
      const cache = await open('mutated.db');
      await cache.putMany(Array.from({ length: 50 }, (_, i) => ({ query: 'q' + i, response: 'r'.repeat(99) })));
      await cache.setNamespaceQuota('other', 5);
      await cache.close();
      change('mutated.db', 'PRAGMA journal_mode = DELETE');
      const good = readFileSync(at('mutated.db'));
      let seed = 7;
      const below = (n) => (seed = (seed * 48271) % 2147483647) % n;
      const store = nodeSqlite(at('mutated-to.db'));
      const outcomes = {};
      for (let round = 0; round < 150; round++) {
        const bytes = Buffer.from(good);
        for (let i = 0; i < 1 + below(8); i++) {
          // Headers and ends of pages, where the structure is, as often as anything else.
          const page = below(bytes.length / 4096);
          const place = [below(bytes.length), 4096 * page + below(120), 28 + below(72)][below(3)];
          bytes[place] = [0, 0xff, 0x7f, below(256)][below(4)];
        }
        store.open('letters-1', 26);
        const before = store.count();
        let outcome;
        try {
          store.beginRestore();
          store.writeRestore(bytes);
          const { entries } = store.checkRestore();
          store.commitRestore(false);
          outcome = store.count() === entries && store.integrityCheck() ? 'sound' : 'unsound';
        } catch ({ code, message }) {
          outcome = store.count() === before ? code : 'changed ' + message;
        }
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        store.insert([entryOf({ queryHash: 'c'.repeat(64) })]);
        store.close();
      }
      console.log(JSON.stringify(outcomes));`);
    const { sound = 0, corrupt = 0, ...others } = found;
    assert.ok(sound >= 5 && corrupt >= 20, JSON.stringify(found));
    for (const what of Object.keys(others)) {
      assert.match(what, /^(schema|embedder-mismatch|embedder-dimension)$/, JSON.stringify(found));
    }
  });

  test('with a number that no writer means is damage, told with the row', async () => {
    const found = await run(`
      const found = {};
      for (const [column, value] of [
        ['ttl', -1], ['ttl', '9007199254740992'], ['created_at', -1], ['created_at', "'soon'"],
        ['access_count', '9223372036854775807'], ['last_accessed_at', -5], ['ttl', "x'00'"],
      ]) {
        const cache = await open('rows.db');
        await cache.put('q', 'r', { ttlSeconds: 60 });
        await cache.close();
        change('rows.db', 'update entries set ' + column + ' = ' + value);
        const again = await open('rows.db');
        found[column + ' ' + value] = [await outcome(again.get('q')), (await again.health({ deep: true })).deep.integrityOk];
        await again.close();
        rmSync(at('rows.db'));
      }
      const cache = await open('rows.db');
      await cache.put('q', 'r');
      await cache.close();
      change('rows.db', "update sqlite_sequence set seq = 9223372036854775807");
      found.sequence = [await outcome(open('rows.db')), false];
      console.log(JSON.stringify(found));`);
    for (const [what, [{ code, message }, sound]] of Object.entries(found)) {
      assert.equal(code, 'corrupt', `${what}: ${message}`);
      assert.equal(sound, false, what);
    }
  });

  test('that is removed or replaced under an open cache is an error, and then it goes on', async () => {
    const found = await run(`
      const embedder = letters();
      const cache = await open('gone.db');
      await cache.put('abcdefgh', 'old');
      for (const end of ['', '-wal', '-shm']) rmSync(at('gone.db' + end), { force: true });
      const lost = await outcome(cache.put('other', 'r'));
      const computed = await cache.getOrCompute('third', () => 'third');
      const after = [(await cache.stats()).entries, (await cache.get('third')).response, await outcome(cache.get('abcdefghh'))];
      const another = await open('another.db');
      await another.put('xyz', 'another');
      await another.close();
      for (const end of ['-wal', '-shm']) rmSync(at('gone.db' + end), { force: true });
      renameSync(at('another.db'), at('gone.db'));
      const replaced = await outcome(cache.put('q', 'r'));
      const seen = (await cache.get('xyz'))?.response;
      // Tables that somebody dropped.
      change('gone.db', 'drop table entries');
      const dropped = await outcome(cache.put('q', 'r'));
      const kept = await cache.getOrCompute('q', () => 'r');
      console.log(JSON.stringify({ lost, computed, after, replaced, seen, dropped, kept, entries: (await cache.stats()).entries }));`);
    assert.equal(found.lost.code, 'backend');
    assert.equal(found.lost.retryable, true);
    assert.match(found.lost.message, /removed or replaced while it was open/);
    assert.deepEqual([found.computed, found.after], ['third', [1, 'third', {}]]);
    assert.match(found.replaced.message, /removed or replaced/);
    assert.equal(found.seen, 'another');
    assert.match(found.dropped.message, /no such table/);
    assert.deepEqual([found.kept, found.entries], ['r', 1]);
  });

  test('whose log is removed under an open cache is an error, and what was in it is kept', async () => {
    const found = await run(`
      const embedder = letters();
      const cache = await open('log.db');
      await cache.put('abcdefgh', 'one');
      await cache.put('ijklmnop', 'two');
      rmSync(at('log.db-wal'));
      const lost = await outcome(cache.put('other', 'r'));
      await cache.put('third', '3');
      const entries = (await cache.stats()).entries;
      renameSync(at('log.db-shm'), at('aside'));
      const locks = await outcome(cache.put('other', 'r'));
      await cache.close();
      const again = await open('log.db');
      const report = await again.health({ deep: true });
      console.log(JSON.stringify({ lost, entries, locks, kept: (await again.stats()).entries, sound: report.deep.integrityOk }));
      await again.close();`);
    assert.match(found.lost.message, /log\.db-wal: it was removed or replaced/);
    assert.equal(found.entries, 3);
    assert.match(found.locks.message, /log\.db-shm: it was removed or replaced/);
    assert.deepEqual([found.kept, found.sound], [3, true]);
  });

  test('that is locked holds up bookkeeping only briefly', async () => {
    const found = await run(`
      const store = nodeSqlite(at('busy.db'), { busyTimeoutSeconds: 1.5 });
      store.open('letters-1', 26);
      const [{ id }] = store.insert([entryOf()]);
      const other = new DatabaseSync(at('busy.db'));
      other.exec('BEGIN IMMEDIATE');
      const measured = (work) => {
        const start = performance.now();
        try { work(); return ['done', 0]; } catch ({ code, retryable }) {
          return [code + ' ' + retryable, performance.now() - start];
        }
      };
      const found = {
        updateAccess: measured(() => store.updateAccess([{ id, hits: 1, lastAccessedAt: 2 }])),
        deleteUnchanged: measured(() => store.deleteUnchanged([{ id, namespace: 'n', createdAt: 1 }])),
        replaceMeta: measured(() => store.replaceMeta('k', undefined, 'v')),
        writeBlob: measured(() => store.writeBlob('b', new Uint8Array(1))),
        // The patience is that of the options again.
        deleteById: measured(() => store.deleteById(id)),
      };
      other.exec('ROLLBACK');
      store.updateAccess([{ id, hits: 1, lastAccessedAt: 2 }]);
      found.after = store.getByIds([id], false)[0].accessCount;
      console.log(JSON.stringify(found));`);
    const { deleteById, after: count, ...brief } = found;
    for (const [what, [outcome, ms]] of Object.entries(brief)) {
      assert.equal(outcome, 'backend true', what);
      assert.ok(ms < 1200, `${what} took ${ms} ms`);
    }
    assert.equal(deleteById[0], 'backend true');
    assert.ok(deleteById[1] >= 1300, `deleteById took ${deleteById[1]} ms`);
    assert.equal(count, 1);
  });

  test('is created, only used, or only read, as the mode says', async () => {
    const found = await run(`
      const { existsSync, readFileSync, writeFileSync } = await import('node:fs');
      const withMode = async (name, mode) => SemanticCache.open({ store: nodeSqlite(at(name), { mode }),
        ...byLetters(), onError: () => {} });
      const found = { wrong: await outcome(withMode('mode.db', 'r')) };
      writeFileSync(at('empty.db'), '');
      for (const mode of ['ro', 'rw']) {
        found['missing ' + mode] = [await outcome(withMode('mode.db', mode)), existsSync(at('mode.db'))];
        found['empty ' + mode] = [await outcome(withMode('empty.db', mode)), readFileSync(at('empty.db')).length > 0];
      }
      const cache = await withMode('mode.db', 'rwc');
      await cache.put('abcdefgh', 'r');
      await cache.close();
      const again = await withMode('mode.db', 'rw');
      await again.put('mnopqrst', 's');
      await again.close();
      const before = readFileSync(at('mode.db')).toString('base64');
      const reading = await withMode('mode.db', 'ro');
      found.read = [(await reading.get('abcdefgh')).layer, (await reading.get('abcdefghh')).layer,
        (await reading.stats()).entries, (await reading.health({ deep: true })).healthy];
      found.computed = await reading.getOrCompute('zzzz', () => 'computed');
      found.put = await outcome(reading.put('q', 'r'));
      found.clear = await outcome(reading.clear());
      found.dumped = (await reading.dump()).archive.size > 0;
      found.closed = await outcome(reading.close());
      found.same = readFileSync(at('mode.db')).toString('base64') === before;
      console.log(JSON.stringify(found));`);
    const { wrong, read, computed, put, clear, dumped, closed, same, ...refused } = found;
    assert.match(wrong.message, /mode is "r"; give ro, rw or rwc/);
    for (const [what, [{ code, message }, changed]] of Object.entries(refused)) {
      assert.deepEqual([code, changed], ['backend', false], what);
      assert.match(message, /there is no cache here/, what);
    }
    assert.deepEqual(read, ['exact', 'semantic', 2, true]);
    for (const one of [put, clear]) {
      assert.equal(one.code, 'backend');
      assert.match(one.message, /mode ro, so it can only be read, and nothing was changed/);
    }
    assert.deepEqual([computed, dumped, closed.code, same], ['computed', true, undefined, true]);
  });

  test('of mneme-cache gets contexts and tags when it is written to, and is read without', async () => {
    const found = await run(`
      const { readFileSync } = await import('node:fs');
      // As mneme-cache makes it.
      change('first.db', 'PRAGMA journal_mode = WAL',
        'CREATE TABLE schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
        "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL DEFAULT 'default', " +
          'query_hash TEXT NOT NULL, query TEXT NOT NULL, response TEXT NOT NULL, embedding BLOB NOT NULL, ' +
          'metadata TEXT NOT NULL, created_at INTEGER NOT NULL, last_accessed_at INTEGER NOT NULL, ttl INTEGER, ' +
          'access_count INTEGER NOT NULL DEFAULT 0, UNIQUE(namespace, query_hash))',
        'CREATE TABLE cache_counters (namespace TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, ' +
          'PRIMARY KEY (namespace, name))',
        'CREATE TABLE namespace_quotas (namespace TEXT PRIMARY KEY, max_entries INTEGER NOT NULL)',
        'CREATE TABLE multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
        'CREATE INDEX idx_entries_ns_hash ON entries(namespace, query_hash)',
        'CREATE INDEX idx_entries_ns_lru ON entries(namespace, last_accessed_at)',
        'CREATE INDEX idx_entries_created_at ON entries(created_at)',
        'CREATE INDEX idx_entries_id ON entries(id)',
        "INSERT INTO schema_meta VALUES ('schema_version', '1'), ('embedder_fingerprint', 'letters-1'), ('embedder_dim', '26')",
        "INSERT INTO multi_process_state VALUES ('version_counter', '1')");
      const hash = (await (await open('normal.db')).normalize('abcdef')).hash;
      const vector = letters().embed(['abcdef'])[0].map((value) => value / Math.sqrt(6));
      const db = new DatabaseSync(at('first.db'));
      db.prepare("INSERT INTO entries (query_hash, query, response, embedding, metadata, created_at, last_accessed_at) " +
        "VALUES (?, 'abcdef', 'first', ?, '{}', 1, 1)").run(hash, new Uint8Array(vector.buffer));
      db.close();
      const bytes = readFileSync(at('first.db')).toString('base64');
      const read = async (cache) => {
        const entries = await Array.fromAsync(cache.entries());
        const tagged = await Array.fromAsync(cache.entries({ tags: ['doc:1'] }));
        return [
          (await cache.get('abcdef'))?.response,
          (await cache.get('abcdeff', { maxAgeSeconds: 1e10 }))?.response,
          (await cache.get('abcdef', { context: 'small' }))?.response,
          (await cache.get('abcdeff', { context: 'small', tags: ['doc:1'] }))?.response,
          entries.map(({ context, tags }) => [context, tags]), tagged.map(({ id }) => id),
          (await cache.health({ deep: true })).healthy,
        ];
      };
      const found = {};
      const reading = await SemanticCache.open({ store: nodeSqlite(at('first.db'), { mode: 'ro' }),
        ...byLetters(), onError: () => {} });
      found.reading = await read(reading);
      found.unchanged = readFileSync(at('first.db')).toString('base64') === bytes;
      found.refused = await outcome(reading.put('abcdef', 'r', { tags: ['doc:1'] }));
      const writing = await open('first.db');
      found.writing = await read(writing);
      await writing.put('abcdef', 'second', { context: 'small', tags: ['user:7', 'doc:1'] });
      found.written = await read(writing);
      // Who has it open to read sees what has been added.
      found.followed = await read(reading);
      await reading.close();
      // What mneme-cache deletes and replaces leaves its tags in their index, where nobody heeds them.
      await writing.put('ghijkl', 'r', { tags: ['doc:1'] });
      await writing.put('mnopqr', 'r', { tags: ['doc:1'] });
      change('first.db', "DELETE FROM entries WHERE query = 'ghijkl'",
        "UPDATE entries SET tags = '[]' WHERE query = 'mnopqr'");
      const listed = async (cache) => (await Array.fromAsync(cache.entries({ tags: ['doc:1'] }))).map(({ id }) => id);
      found.stale = await listed(writing);
      const rows = () => {
        const db = new DatabaseSync(at('first.db'));
        const rows = db.prepare('SELECT tag, id FROM entry_tags').all().map(({ tag, id }) => [tag, id]);
        db.close();
        return rows;
      };
      await writing.put('abcdef', 'third', { context: 'small', tags: ['doc:3'] });
      found.replaced = rows();
      const archive = (await writing.dump()).archive;
      await writing.clearNamespace('default');
      found.cleared = rows();
      await writing.load(archive, { mode: 'replace' });
      found.loaded = [rows(), await Array.fromAsync(writing.entries({ tags: ['doc:3'] })).then((all) => all.length)];
      change('first.db', "UPDATE entries SET tags = '[1]' WHERE context = 'small'");
      found.damaged = [await outcome(writing.get('abcdef', { context: 'small' })),
        (await writing.health({ deep: true })).healthy];
      change('first.db', "UPDATE entries SET tags = '{' WHERE context = 'small'");
      found.broken = [await outcome(writing.get('abcdef', { context: 'small' })),
        (await writing.health({ deep: true })).healthy];
      await writing.erase({ everything: true });
      await writing.put('abcdef', 'r', { tags: ['doc:1'] });
      change('first.db', 'DELETE FROM entry_tags');
      found.lost = (await writing.health({ deep: true })).healthy;
      await writing.close();
      // Nobody has written down what moves the counter elsewhere.
      const store = nodeSqlite(at('first.db'));
      store.open('letters-1', 26);
      const since = () => store.changesSince(store.readVersionCounter() - 1, 9)?.changes.length ?? null;
      store.insert([entryOf()]);
      found.changes = [since()];
      change('first.db', "UPDATE multi_process_state SET value = value + 1");
      found.changes.push(since());
      store.insert([entryOf()]);
      found.changes.push(since(), store.changesSince(store.readVersionCounter() - 2, 9) ?? null);
      store.close();
      // Whoever opens it where the index is missing makes it again.
      change('first.db', 'DROP TABLE entry_tags', 'DROP TABLE changes');
      const again = await open('first.db');
      found.again = [(await listed(again)).length, (await again.health({ deep: true })).healthy];
      await again.close();
      console.log(JSON.stringify(found));`);
    const { refused, damaged, broken, ...rest } = found;
    assert.equal(refused.code, 'backend');
    for (const [{ code, message }, healthy] of [damaged, broken]) {
      assert.equal(code, 'corrupt');
      assert.match(message, /column tags of the row with id 2 is not a list of texts in JSON/);
      assert.equal(healthy, false);
    }
    const old = ['first', 'first', null, null, [['', []]], [], true];
    const labelled = [
      ['', []],
      ['small', ['doc:1', 'user:7']],
    ];
    const written = ['first', 'first', 'second', 'second', labelled, [2], true];
    const kept = [['doc:3', 2]];
    assert.deepEqual(rest, {
      reading: old,
      unchanged: true,
      writing: old,
      written,
      followed: written,
      stale: [2],
      replaced: [['doc:1', 3], ['doc:1', 4], ...kept],
      cleared: [
        ['doc:1', 3],
        ['doc:1', 4],
      ],
      loaded: [kept, 1],
      lost: false,
      changes: [1, null, 1, null],
      again: [1, true],
    });
  });

  test('that is locked holds up no look-up, and writes wait in their order', async () => {
    const found = await run(`
      const cache = await open('locked.db', { store: nodeSqlite(at('locked.db'), { busyTimeoutSeconds: 30 }) });
      await cache.put('known', 'answer');
      const other = new DatabaseSync(at('locked.db'));
      other.exec('BEGIN IMMEDIATE');
      let done = 0;
      const writes = ['a', 'b', 'a'].map((query, n) => cache.put(query, 'response ' + n, { exactOnly: true }).finally(() => done++));
      writes.push(cache.delete('b').finally(() => done++));
      const abort = new AbortController();
      const left = outcome(cache.put('left', 'r', { exactOnly: true, signal: abort.signal }));
      const took = [];
      for (let n = 0; n < 300; n++) {
        const start = performance.now();
        if ((await cache.get('known')).layer !== 'exact') throw new Error('no hit');
        took.push(performance.now() - start);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      took.sort((a, b) => a - b);
      const waiting = done;
      abort.abort(new Error('gone'));
      const gone = (await left).message;
      // Who closes waits for those who write.
      const closed = cache.close();
      other.exec('ROLLBACK');
      const outcomes = await Promise.all(writes);
      await closed;
      const again = await open('locked.db');
      const answers = [];
      for (const query of ['a', 'b', 'left']) answers.push((await again.get(query, { threshold: 1 }))?.response ?? null);
      console.log(JSON.stringify({ median: took[150], worst: took[299], waiting, gone, outcomes, answers }));`);
    const { median, worst, ...rest } = found;
    assert.ok(worst < 1000 && median < 100, `${median} ms, ${worst} ms`);
    assert.deepEqual(rest, {
      waiting: 0,
      gone: 'gone',
      outcomes: [2, 3, 2, true],
      answers: ['response 2', null, null],
    });
  });

  test('that is locked holds up no look-up beside a load, a clear or a flush', async () => {
    const found = await run(`
      const other = await open('source.db');
      for (let n = 0; n < 40; n++) await other.put('loaded ' + n, 'r', { exactOnly: true });
      const archives = {};
      for (const layout of ['portable', 'native']) archives[layout] = (await other.dump({ layout })).archive;
      const cache = await open('waiting.db', { store: nodeSqlite(at('waiting.db'), { busyTimeoutSeconds: 30 }) });
      for (let n = 0; n < 300; n++) await cache.put('many ' + n, 'r', { namespace: 'many', exactOnly: true });
      await cache.put('known', 'answer');
      // Which a flush writes.
      await cache.get('known');
      const locking = new DatabaseSync(at('waiting.db'));
      locking.exec('BEGIN IMMEDIATE');
      const before = performance.now();
      const dumped = (await cache.dump()).archive.size > 0 && performance.now() - before < 5000;
      locking.exec('ROLLBACK');
      const calls = {
        flush: () => cache.flush(),
        clear: () => cache.clearNamespace('many'),
        merged: () => cache.load(archives.portable, { mode: 'merge' }),
        replaced: () => cache.load(archives.native, { mode: 'replace' }),
      };
      const found = { dumped };
      for (const [name, call] of Object.entries(calls)) {
        locking.exec('BEGIN IMMEDIATE');
        let done = false;
        const outcome = call().finally(() => (done = true));
        // Longer than bookkeeping waits for a lock.
        const start = performance.now();
        const took = [];
        while (took.length < 100 || performance.now() - start < 500) {
          const before = performance.now();
          if ((await cache.get('known')).layer !== 'exact') throw new Error('no hit');
          took.push(performance.now() - before);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        took.sort((a, b) => a - b);
        const waiting = !done;
        locking.exec('ROLLBACK');
        const result = await outcome;
        found[name] = [waiting, took[took.length >> 1], took.at(-1), result?.entries ?? result ?? null, (await cache.stats()).entries];
      }
      console.log(JSON.stringify(found));`);
    const { dumped, ...waits } = found;
    assert.ok(dumped, 'a dump waits for no lock');
    const rest = {};
    for (const [name, [waiting, median, worst, result, entries]] of Object.entries(waits)) {
      assert.ok(worst < 1000 && median < 100, `${name}: ${median} ms, ${worst} ms`);
      rest[name] = [waiting, result, entries];
    }
    assert.deepEqual(rest, {
      flush: [true, null, 301],
      clear: [true, 300, 1],
      merged: [true, 40, 41],
      replaced: [true, 40, 40],
    });
  });

  test('that stays locked fails each writer after one patience, and none after the other', async () => {
    const found = await run(`
      const cache = await open('stuck.db', { store: nodeSqlite(at('stuck.db'), { busyTimeoutSeconds: 0.5 }) });
      const other = new DatabaseSync(at('stuck.db'));
      other.exec('BEGIN IMMEDIATE');
      const start = performance.now();
      const failures = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => outcome(cache.put('q' + n, 'r'))));
      const took = performance.now() - start;
      other.exec('ROLLBACK');
      const stored = await cache.put('q', 'r');
      console.log(JSON.stringify({ took, failures, stored }));`);
    assert.ok(found.took >= 500 && found.took < 2000, `${found.took} ms`);
    for (const { code, message } of found.failures) {
      assert.equal(code, 'backend');
      assert.match(message, /locked/);
    }
    assert.equal(found.stored, 1);
  });

  test('of another process is followed by default', async () => {
    const found = await run(`
      const [one, two] = [await open('shared.db'), await open('shared.db')];
      await one.put('abcdefgh', 'first');
      await two.get('abcdefghh');
      await one.put('mnopqrst', 'second');
      const deadline = Date.now() + 5000;
      let hit;
      while (!hit && Date.now() < deadline) hit = await two.get('mnopqrstt');
      const { staleSeconds } = await two.health();
      const alone = await open('shared.db', { staleSeconds: null });
      console.log(JSON.stringify([hit?.response, staleSeconds, (await alone.health()).staleSeconds ?? null]));`);
    assert.deepEqual(found, ['second', 0, null]);
  });
});
