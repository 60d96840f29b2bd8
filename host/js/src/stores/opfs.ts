/**
 * A store in the origin private file system, for browsers without WebAssembly JSPI. It works only
 * in a dedicated Worker, where files are read and written synchronously.
 */

import {
  BackendError,
  ClosedError,
  CorruptError,
  MnemeError,
  UnsupportedError,
} from '../errors.js';
import { known } from '../known.js';
import type { Capabilities, Entry, EntryRef, Inserted, MetaChange, Touch } from '../store.js';
import { MAX_BATCH, type StoredEmbedder } from './checks.js';
import { HEADER_BYTES, changes, floats, generationOf, header, record, type Change } from './log.js';
import { MemoryStore } from './memory.js';
import { begun } from './stage.js';

/** A file that a Worker has open. */
export interface SyncFile {
  read(to: Uint8Array, options: { at: number }): number;
  write(from: Uint8Array, options: { at: number }): number;
  getSize(): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** The log is rewritten when it is this many times as long as its content. */
const WASTE = 2;
/** Below this nothing is worth the while: 1 MiB. */
const SHORTEST = 1 << 20;

/** How often a store that is written to looks whether its files are still there. */
const LOOK_MS = 1000;

/** Everything, at the beginning of a log. */
interface State {
  embedder: StoredEmbedder | undefined;
  lastId: number;
  version: number;
  meta: [string, string][];
  quotas: [string, number][];
  blobs: [string, Uint8Array][];
}

/**
 * Opens the store `name`, creating it if it is missing. All entries are in memory, and every change
 * is on the disk before the call returns. Only one Worker at a time can have it open; others get a
 * `backend` error that says so. `release` releases it, and so does closing the cache. Where its
 * files are removed while it is open, as by clearing the site's data, changes become a `backend`
 * error within a second or two.
 */
export async function opfs(name: string, options?: Record<string, never>): Promise<OpfsStore> {
  known(options, {}, 'opfs');
  const storage = globalThis.navigator?.storage;
  if (typeof storage?.getDirectory !== 'function' || !('FileSystemFileHandle' in globalThis)) {
    throw new UnsupportedError('this place has no origin private file system; use another store');
  }
  const files: SyncFile[] = [];
  const handles: FileSystemFileHandle[] = [];
  const areThere = () =>
    Promise.all(handles.map((handle) => handle.getFile())).then(
      () => true,
      (error: Error) => error.name !== 'NotFoundError',
    );
  try {
    const root = await storage.getDirectory();
    const folder = await root.getDirectoryHandle(`mneme-${encodeURIComponent(name)}`, {
      create: true,
    });
    for (const file of ['a.log', 'b.log']) {
      const found = await folder.getFileHandle(file, { create: true });
      const handle = found as unknown as { createSyncAccessHandle?: () => Promise<SyncFile> };
      if (!handle.createSyncAccessHandle) {
        throw new UnsupportedError(
          'files can be written at once in a dedicated Worker only; open the cache in one',
        );
      }
      files.push(await handle.createSyncAccessHandle());
      handles.push(found);
    }
    return new OpfsStore(name, files[0] as SyncFile, files[1] as SyncFile, areThere);
  } catch (cause) {
    for (const file of files) {
      file.close();
    }
    if (cause instanceof MnemeError) {
      throw cause;
    }
    const { name: kind, message } = cause as Error;
    throw kind === 'NoModificationAllowedError'
      ? new BackendError(
          `OPFS ${name}: another tab or Worker has it open; close that one, or share its Worker`,
          { retryable: true, cause },
        )
      : new BackendError(`OPFS ${name}: it cannot be opened: ${kind}: ${message}`, { cause });
  }
}

/** See {@link opfs}. */
export class OpfsStore extends MemoryStore {
  protected override readonly changes = undefined;
  readonly #name: string;
  #files: [present: SyncFile, spare: SyncFile] | undefined;
  #generation = 0;
  /** Where the next record goes, and where the state ended when the log was begun. */
  #end = HEADER_BYTES;
  #stateEnd = HEADER_BYTES;
  readonly #areThere: () => Promise<boolean>;
  #looked = Number.NEGATIVE_INFINITY;
  #areGone = false;

  /**
   * Takes two files; one of them holds the present log. `areThere` tells whether both still have
   * their names: what is written to a file without one succeeds, and is lost.
   */
  constructor(
    name: string,
    a: SyncFile,
    b: SyncFile,
    areThere: () => Promise<boolean> = async () => true,
  ) {
    super();
    this.#name = name;
    this.#areThere = areThere;
    const read = (file: SyncFile) => {
      const bytes = new Uint8Array(file.getSize());
      file.read(bytes, { at: 0 });
      return { file, bytes, generation: generationOf(bytes) ?? -1 };
    };
    const both = [read(a), read(b)].sort((x, y) => y.generation - x.generation);
    // The header is written last: a log without it was never finished.
    const present = both.find(({ generation }) => generation >= 0);
    const other = both.find((one) => one !== present) as (typeof both)[number];
    this.#files = [present?.file ?? a, present ? other.file : b];
    if (present) {
      this.#generation = present.generation;
      try {
        this.#replay(present.bytes);
      } catch (cause) {
        // A record that is whole says what makes no sense.
        throw cause instanceof MnemeError && cause.code !== 'invalid-argument'
          ? cause
          : new CorruptError(
              `OPFS ${name}: the log makes no sense: ${(cause as Error).message}; delete the store, or load an archive into another`,
              { cause },
            );
      }
    } else {
      this.#rewrite();
    }
  }

  override capabilities(): Capabilities {
    return { ...super.capabilities(), name: 'opfs', durable: true };
  }

  /** Releases the files, so that others can open them. The store cannot be used after that. */
  release(): void {
    this.close();
    // Chromium never returns from closing what was removed. The end of the page does it.
    for (const file of (this.#areGone ? undefined : this.#files) ?? []) {
      file.close();
    }
    this.#files = undefined;
  }

  override open(embedderFingerprint: string, embedderDim: number): void {
    if (!this.#files) {
      throw new BackendError(`OPFS ${this.#name}: the store was released; make a new one`);
    }
    this.#acceptFiles();
    const isNew = !this.embedder;
    super.open(embedderFingerprint, embedderDim);
    if (isNew) {
      this.#keep(['embedder', this.embedder], () => {
        this.embedder = undefined;
      });
    }
  }

  override insert(entries: Entry[]): Inserted[] {
    return this.#changing(['insert', entries], () => super.insert(entries), entries.length > 0);
  }

  /** Not flushed by itself: a loss of power may take the hits of the last moments. */
  override updateAccess(touches: Touch[]): void {
    super.updateAccess(touches);
    if (touches.length > 0 && !this.#areGone) {
      this.#append(['updateAccess', touches]);
    }
  }

  override deleteById(id: number): boolean {
    return this.#changing(['deleteById', id], () => super.deleteById(id), this.entries.has(id));
  }

  override deleteUnchanged(entries: EntryRef[]): number[] {
    return this.#changing(['deleteUnchanged', entries], () => super.deleteUnchanged(entries));
  }

  override deleteExpired(now: number, namespace: string | undefined, limit: number): EntryRef[] {
    return this.#changing(['deleteExpired', now, namespace ?? null, limit], () =>
      super.deleteExpired(now, namespace, limit),
    );
  }

  override clearNamespace(namespace?: string): number {
    return this.#changing(['clearNamespace', namespace ?? null], () =>
      super.clearNamespace(namespace),
    );
  }

  override setNamespaceQuota(namespace: string, maxEntries: number | undefined): void {
    this.#changing(['setNamespaceQuota', namespace, maxEntries ?? null], () =>
      super.setNamespaceQuota(namespace, maxEntries),
    );
  }

  override replaceMeta(
    key: string,
    expected: string | undefined,
    value: string | undefined,
  ): boolean {
    return this.#changing(['replaceMeta', key, expected ?? null, value ?? null], () =>
      super.replaceMeta(key, expected, value),
    );
  }

  override writeBlob(name: string, bytes: Uint8Array): void {
    this.#changing(['writeBlob', name, bytes], () => super.writeBlob(name, bytes));
  }

  override deleteBlobs(names: string[]): void {
    this.#changing(['deleteBlobs', names], () => super.deleteBlobs(names), names.length > 0);
  }

  override commitImport(quotas: [string, number][], meta: MetaChange[]): boolean {
    this.opened();
    const { mode, stage } = begun(this.import);
    const change: Change = ['import', mode, [...stage.entries()], quotas, meta];
    return this.#changing(change, () => super.commitImport(quotas, meta));
  }

  /**
   * Makes a change in memory, then writes it to the log. If the write fails, memory is restored
   * from the log, so that nothing has changed.
   */
  #changing<T>(change: Change, work: () => T, changes = true): T {
    this.#acceptFiles();
    const result = work();
    if (changes && result !== false) {
      this.#keep(change, () => this.#reload());
    }
    return result;
  }

  #keep(change: Change, undo: () => void): void {
    try {
      this.#append(change);
      this.#present().flush();
    } catch (error) {
      undo();
      throw error;
    }
  }

  /** Refuses changes that would be lost. */
  #acceptFiles(): void {
    if (this.#areGone) {
      throw new BackendError(
        `OPFS ${this.#name}: its files were removed while it was open, and nothing was changed; reload the page, or restart the browser, to open it again`,
      );
    }
    const now = performance.now();
    if (now - this.#looked >= LOOK_MS) {
      this.#looked = now;
      void this.#areThere().then((found) => {
        this.#areGone = !found;
      });
    }
  }

  #present(): SyncFile {
    if (!this.#files) {
      throw new ClosedError();
    }
    return this.#files[0];
  }

  #append(change: Change): void {
    const bytes = record(change);
    const file = this.#present();
    try {
      writeAll(file, bytes, this.#end);
    } catch (cause) {
      // What is there of the record is cut off, now or at the next opening.
      try {
        file.truncate(this.#end);
      } catch {
        // Its CRC gives it away.
      }
      throw this.#told(cause);
    }
    this.#end += bytes.length;
    if (this.#end > SHORTEST && this.#end > WASTE * this.#stateEnd + SHORTEST) {
      this.#rewrite();
    }
  }

  /** Begins a new log in the other file, and makes it the present one when it is whole. */
  #rewrite(): void {
    const [present, spare] = this.#files as [SyncFile, SyncFile];
    const state: State = {
      embedder: this.embedder,
      lastId: this.lastId,
      version: this.version,
      meta: [...this.meta],
      quotas: [...this.quotas],
      blobs: [...this.blobs],
    };
    try {
      spare.truncate(0);
      let at = HEADER_BYTES;
      // Entries come first, in records of a bearable size; the state that ends them makes it whole.
      const records: Change[] = [];
      const entries = [...this.entries.values()];
      for (let from = 0; from < entries.length; from += 500) {
        records.push(['entries', entries.slice(from, from + 500)]);
      }
      for (const change of [...records, ['state', state] as Change]) {
        const bytes = record(change);
        writeAll(spare, bytes, at);
        at += bytes.length;
      }
      spare.flush();
      writeAll(spare, header(this.#generation + 1), 0);
      spare.flush();
      this.#generation += 1;
      this.#files = [spare, present];
      this.#end = this.#stateEnd = at;
      present.truncate(0);
    } catch (cause) {
      // The present log goes on.
      if (this.#generation === 0) {
        throw this.#told(cause);
      }
    }
  }

  #reload(): void {
    const file = this.#present();
    const bytes = new Uint8Array(this.#end);
    file.read(bytes, { at: 0 });
    const { embedder } = this;
    this.#replay(bytes);
    this.embedder ??= embedder;
  }

  /** Makes memory what a log says. */
  #replay(bytes: Uint8Array): void {
    const wasOpen = this.isOpen;
    this.reset();
    this.isOpen = true;
    this.embedder = { fingerprint: '', dim: 0 };
    this.#end = this.#stateEnd = HEADER_BYTES;
    let inState = true;
    for (const { change, end } of changes(bytes)) {
      this.#apply(change);
      this.#end = end;
      if (inState) {
        this.#stateEnd = end;
      }
      inState &&= change[0] === 'entries';
    }
    this.isOpen = wasOpen;
  }

  #apply([operation, ...values]: Change): void {
    const value = <T>(at: number) => (values[at] ?? undefined) as T;
    const namespace = (at: number) => value<string | undefined>(at);
    switch (operation) {
      case 'entries':
        for (const entry of entriesOf(value(0))) {
          this.restore(entry);
        }
        break;
      case 'state': {
        const state = value<State>(0);
        this.embedder = state.embedder;
        this.lastId = state.lastId;
        this.version = state.version;
        this.meta = new Map(state.meta);
        this.quotas = new Map(state.quotas);
        this.blobs = new Map(state.blobs);
        break;
      }
      case 'embedder':
        this.embedder = value(0);
        break;
      case 'insert':
        super.insert(entriesOf(value(0)));
        break;
      case 'updateAccess':
        super.updateAccess(value(0));
        break;
      case 'deleteById':
        super.deleteById(value(0));
        break;
      case 'deleteUnchanged':
        super.deleteUnchanged(value(0));
        break;
      case 'deleteExpired':
        super.deleteExpired(value(0), namespace(1), value(2));
        break;
      case 'clearNamespace':
        super.clearNamespace(namespace(0));
        break;
      case 'setNamespaceQuota':
        super.setNamespaceQuota(value(0), value(1));
        break;
      case 'replaceMeta':
        super.replaceMeta(value(0), value(1), value(2));
        break;
      case 'writeBlob':
        super.writeBlob(value(0), value(1));
        break;
      case 'deleteBlobs':
        super.deleteBlobs(value(0));
        break;
      case 'import': {
        super.beginImport(value(0));
        const entries = entriesOf(value(1));
        for (let from = 0; from < entries.length; from += MAX_BATCH) {
          super.writeImport(entries.slice(from, from + MAX_BATCH));
        }
        super.commitImport(value(2), value(3));
        break;
      }
      default:
        throw new BackendError(
          `OPFS ${this.#name}: the log has the unknown change ${JSON.stringify(operation)}; a later release has written it`,
        );
    }
  }

  #told(cause: unknown): BackendError {
    const { name: kind, message } = cause as Error;
    const room =
      kind === 'QuotaExceededError'
        ? '; delete entries, set maxEntries, or ask for persistent storage'
        : '';
    return new BackendError(`OPFS ${this.#name}: ${kind}: ${message}${room}`, { cause });
  }
}

function writeAll(file: SyncFile, bytes: Uint8Array, at: number): void {
  const written = file.write(bytes, { at });
  if (written < bytes.length) {
    throw new DOMException(
      `only ${written} of ${bytes.length} bytes were written`,
      'QuotaExceededError',
    );
  }
}

/** Entries of a log: JSON has no undefined, and vectors are bytes. */
function entriesOf(raw: unknown): Entry[] {
  return (raw as (Omit<Entry, 'embedding'> & { embedding: Uint8Array })[]).map((entry) => ({
    ...entry,
    // The first edition had no contexts and no tags.
    context: entry.context ?? '',
    tags: entry.tags ?? [],
    ttl: entry.ttl ?? undefined,
    embedding: floats(entry.embedding),
  }));
}
