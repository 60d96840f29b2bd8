/** The file store's log: what is left of it after a write that was cut short, or refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { header, record } from '../dist/stores/log.js';
import { OpfsStore } from '../dist/stores/opfs.js';
import { Random } from './support/check.mjs';

/** A file in memory, whose writes can fail. */
class File {
  bytes = new Uint8Array(0);
  /** Bytes that can still be written; then the disk is full. */
  room = Infinity;

  getSize() {
    return this.bytes.length;
  }

  read(to, { at }) {
    const piece = this.bytes.subarray(at, at + to.length);
    to.set(piece);
    return piece.length;
  }

  write(from, { at }) {
    const fits = Math.max(0, Math.min(from.length, this.room));
    this.room -= fits;
    if (at + fits > this.bytes.length) {
      const longer = new Uint8Array(at + fits);
      longer.set(this.bytes);
      this.bytes = longer;
    }
    this.bytes.set(from.subarray(0, fits), at);
    return fits;
  }

  truncate(size) {
    const changed = new Uint8Array(size);
    changed.set(this.bytes.subarray(0, size));
    this.bytes = changed;
  }

  flush() {}
  close() {}

  copy() {
    const copy = new File();
    copy.bytes = this.bytes.slice();
    return copy;
  }
}

const DIM = 3;
/** An empty store, as a log begins with it. */
const STATE = {
  embedder: { fingerprint: 'f', dim: DIM },
  lastId: 0,
  version: 0,
  meta: [],
  quotas: [],
  blobs: [],
};

function open(a, b) {
  const store = new OpfsStore('test', a, b);
  store.open('f', DIM);
  return store;
}

function entry(random, n) {
  return {
    id: 0,
    namespace: ['a', 'b\u{1F980}'][n % 2],
    context: ['', 'c\u{1F980}'][n % 5 ? 0 : 1],
    tags: [[], ['t'], ['t', 'u']][n % 3],
    queryHash: `${n % 17}`.padStart(64, '0'),
    query: `question ${n}\0`,
    response: 'x'.repeat(random.below(200)),
    embedding: random.vector(DIM),
    metadata: '{}',
    createdAt: n,
    lastAccessedAt: n,
    ttl: n % 3 === 0 ? undefined : n,
    accessCount: 0,
  };
}

/** One of all kinds of changes. */
function change(store, random, n) {
  switch (random.below(10)) {
    case 0:
      return store.updateAccess([{ id: 1 + random.below(20), hits: 2, lastAccessedAt: n }]);
    case 1:
      return store.deleteById(1 + random.below(20));
    case 2:
      return store.setNamespaceQuota('a', random.below(2) ? n : undefined);
    case 3:
      return store.replaceMeta('k', store.readMeta('k'), random.below(2) ? `${n}` : undefined);
    case 4:
      return store.writeBlob('blob', new Uint8Array(random.below(50)).fill(n));
    case 5:
      return store.deleteExpired(random.below(2 * n + 1), undefined, 2);
    case 6: {
      store.beginImport(random.below(8) ? 'merge' : 'replace');
      store.writeImport([entry(random, n), entry(random, n + 1)]);
      return store.commitImport([['b', n]], []);
    }
    case 7:
      return random.below(6) ? undefined : store.clearNamespace('a');
    default:
      return store.insert([entry(random, n), entry(random, n + 5)]);
  }
}

/** All that a store says of its data. */
function picture(store) {
  return JSON.stringify([
    store.iterSince(0, 1e6).map((one) => ({ ...one, embedding: [...one.embedding] })),
    ['t', 'u'].map((tag) => store.select({ tags: [tag] }, 0, 1e6)),
    store.listNamespaceQuotas(),
    store.listMeta(),
    store.listBlobs().map((name) => [name, [...store.readBlob(name)]]),
    store.readVersionCounter(),
  ]);
}

test('a log without contexts and tags is read as having none', () => {
  const [a, b] = [new File(), new File()];
  const { context: _, tags: __, ...first } = entry(new Random(1), 1);
  const log = [
    header(1),
    record(['state', { ...STATE, lastId: 1 }]),
    record(['insert', [first]]),
    record(['import', 'merge', [{ ...first, queryHash: 'b'.repeat(64) }], [], []]),
    record(['deleteUnchanged', [{ id: 9, namespace: 'a', createdAt: 1 }]]),
  ];
  for (const [i, bytes] of log.entries()) {
    a.write(bytes, { at: log.slice(0, i).reduce((sum, { length }) => sum + length, 0) });
  }
  const store = open(a, b);
  const found = store.iterSince(0, 10);
  assert.deepEqual(
    found.map(({ id, context, tags, query }) => [id, context, tags, query]),
    [
      [2, '', [], first.query],
      [3, '', [], first.query],
    ],
  );
  store.insert([{ ...found[0], context: 'c', tags: ['t'] }]);
  assert.deepEqual(store.select({ tags: ['t'] }, 0, 10).entries.length, 1);
  assert.equal(store.capabilities().maxChanges, 0);
  assert.throws(() => store.changesSince(0, 1), { code: 'unsupported' });
});

test('what has returned is there again', () => {
  const random = new Random(1);
  const [a, b] = [new File(), new File()];
  let store = open(a, b);
  for (let n = 1; n < 400; n++) {
    change(store, random, n);
    if (n % 10 === 0) {
      const before = picture(store);
      store = open(a.copy(), b.copy());
      assert.equal(picture(store), before, `after ${n} changes`);
      store = open(a, b);
    }
  }
  assert.throws(() => new OpfsStore('test', a, b).open('other', DIM), {
    code: 'embedder-mismatch',
  });
});

test('a write that was cut short was never made', () => {
  const random = new Random(2);
  const [a, b] = [new File(), new File()];
  const store = open(a, b);
  for (let n = 1; n < 20; n++) change(store, random, n);
  const file = a.bytes.length > b.bytes.length ? a : b;
  for (let n = 20; n < 40; n++) {
    const before = picture(store);
    const length = file.bytes.length;
    store.insert([entry(random, n)]);
    const whole = file.bytes;
    for (let cut = length; cut < whole.length; cut += 1 + random.below(9)) {
      const [x, y] = [a.copy(), b.copy()];
      const torn = file === a ? x : y;
      torn.truncate(cut);
      assert.equal(picture(open(x, y)), before, `cut after ${cut - length} bytes`);
      // What was there before in its place, or was never written.
      torn.bytes = whole.slice();
      torn.bytes.fill(0xa5, cut);
      const again = open(x, y);
      assert.equal(picture(again), before, `garbage after ${cut - length} bytes`);
      again.insert([entry(random, n)]);
      assert.notEqual(picture(open(x.copy(), y.copy())), before, 'it goes on from there');
    }
  }
});

test('a disk that is full refuses, and changes nothing', () => {
  const random = new Random(3);
  const [a, b] = [new File(), new File()];
  const store = open(a, b);
  let refused = 0;
  for (let n = 1; n < 300; n++) {
    const before = picture(store);
    a.room = b.room = random.below(900);
    try {
      change(store, random, n);
    } catch (error) {
      refused += 1;
      assert.equal(error.code, 'backend', error.stack);
      assert.equal(picture(store), before);
    }
    a.room = b.room = Infinity;
    assert.equal(picture(open(a.copy(), b.copy())), picture(store));
  }
  assert.ok(refused > 20, `${refused} writes were refused`);
});

test('files that were removed keep nothing more, and refuse changes', async () => {
  const random = new Random(6);
  const [a, b] = [new File(), new File()];
  let areThere = true;
  const store = new OpfsStore('test', a, b, async () => areThere);
  store.open('f', DIM);
  store.insert([entry(random, 1)]);
  areThere = false;
  const before = picture(store);
  const length = a.bytes.length + b.bytes.length;
  const { now } = performance;
  try {
    // It looks again after a second.
    performance.now = () => now.call(performance) + 1000;
    store.setNamespaceQuota('a', 5);
    await new Promise((resolve) => setTimeout(resolve));
    store.setNamespaceQuota('a', undefined);
    assert.fail('it was not refused');
  } catch (error) {
    assert.equal(error.code, 'backend', error.stack);
    assert.match(error.message, /files were removed while it was open.*reload the page/);
  } finally {
    performance.now = now;
  }
  assert.notEqual(picture(store), before);
  const known = picture(store);
  for (const call of [
    () => store.insert([entry(random, 2)]),
    () => store.deleteById(1),
    () => store.deleteUnchanged([{ id: 1, namespace: 'b\u{1F980}', createdAt: 1 }]),
    () => store.deleteExpired(1e9, undefined, 9),
    () => store.clearNamespace(),
    () => store.replaceMeta('k', undefined, 'v'),
    () => store.writeBlob('blob', new Uint8Array(1)),
    () => store.deleteBlobs(['blob']),
    () => {
      store.beginImport('replace');
      store.commitImport([], []);
    },
    () => store.open('f', DIM),
  ]) {
    assert.throws(call, { code: 'backend', message: /files were removed/ });
    store.endImport();
    assert.equal(picture(store), known, String(call));
  }
  store.updateAccess([{ id: 1, hits: 1, lastAccessedAt: 9 }]);
  store.release();
  assert.ok(a.bytes.length + b.bytes.length < length + 200, 'nothing was written');
});

test('a log that has grown is rewritten, and may be interrupted at any moment', () => {
  const random = new Random(4);
  const [a, b] = [new File(), new File()];
  const store = open(a, b);
  const blob = new Uint8Array(300_000);
  let switches = 0;
  let present = a.bytes.length > b.bytes.length ? a : b;
  for (let n = 1; n < 60; n++) {
    change(store, random, n);
    // Every fourth time the new log cannot be finished; the old one goes on.
    const spare = present === a ? b : a;
    spare.room = n % 4 === 0 ? random.below(400_000) : Infinity;
    store.writeBlob('large', blob.fill(n));
    spare.room = Infinity;
    const now =
      a.bytes.length > 16 && (b.bytes.length === 0 || a.bytes.length > b.bytes.length) ? a : b;
    switches += Number(now !== present);
    present = now;
    assert.equal(picture(open(a.copy(), b.copy())), picture(store), `after ${n} changes`);
  }
  assert.ok(switches >= 3, `${switches} new logs`);
  assert.ok(a.bytes.length + b.bytes.length < 6_000_000, 'they do not grow for ever');
});

test('any bytes are opened, or refused with a typed error', () => {
  const random = new Random(5);
  const [a, b] = [new File(), new File()];
  const store = open(a, b);
  for (let n = 1; n < 30; n++) change(store, random, n);
  const file = a.bytes.length > b.bytes.length ? a : b;
  let opens = 0;
  for (let round = 0; round < 2000; round++) {
    const [x, y] = [a.copy(), b.copy()];
    const bytes = (file === a ? x : y).bytes;
    for (let flips = 1 + random.below(3); flips > 0; flips--) {
      bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    }
    try {
      const opened = open(x, y);
      // Nothing but a last change that may have been cut short is ever passed over.
      assert.ok(opened.readVersionCounter() >= store.readVersionCounter() - 1);
      picture(opened);
      opens += 1;
    } catch (error) {
      assert.ok(
        ['backend', 'corrupt', 'schema', 'embedder-mismatch'].includes(error.code),
        error.stack,
      );
    }
  }
});
