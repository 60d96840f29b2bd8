/** Whole caches as archives: writing them, reading them back, loading them. */

import type { DumpOptions, DumpReport, LoadOptions, LoadReport } from './api.js';
import { Pipe, Reader, Writer, type ArchiveSource } from './archive.js';
import { count, oneOf } from './checks.js';
import type { Component } from './component.js';
import { CorruptError, InvalidArgumentError, describe, isMnemeError } from './errors.js';
import { inspectWith, type InspectOptions, type Summary } from './inspect.js';
import { known } from './known.js';
import { plain } from './plain.js';
import { rawLoad } from './raw.js';
import type { Runner } from './runner.js';
import type { Store } from './store.js';
import { MemoryStore } from './stores/memory.js';

/** See `SemanticCache.dump`. */
export async function dump(
  runner: Runner,
  component: Component,
  given: DumpOptions | undefined,
): Promise<DumpReport> {
  const options = known<DumpOptions>(
    given,
    { to: true, layout: true, compression: true, level: true, onProgress: true },
    'dump',
  );
  const { layout, level, onProgress } = options;
  const compression = oneOf(options.compression ?? 'gzip', ['gzip', 'zstd'], 'compression');
  const raw = {
    layout: layout === undefined ? undefined : oneOf(layout, ['native', 'portable'], 'layout'),
    compression,
    level: count(level, 'level') ?? (compression === 'gzip' ? 1 : undefined),
  };
  if (raw.level !== undefined && raw.level > 9) {
    throw new InvalidArgumentError(`level is ${raw.level}; give 0 to 9`);
  }
  const { store } = runner.options;
  const isPortable = layout === 'portable' || !store.capabilities().snapshot;
  const writer = new Writer(options.to, store.synchronous);
  // What is not held can only be read as it passes.
  const passing =
    !writer.isHeld && isPortable ? readingAlong(component, writer, limitsOf(runner)) : undefined;
  try {
    const archive = { writer, progress: onProgress };
    const report = plain(
      await runner.call('dump', [raw], undefined, archive, 'checkpoint'),
    ) as unknown as DumpReport;
    if (passing) {
      passing.end();
      compare(report, await passing.summary.catch(notReadable));
    } else if (writer.isHeld) {
      const read = (from: Store) =>
        inspectWith(component, writer.blob(''), { ...limitsOf(runner), store: from }).catch(
          notReadable,
        );
      compare(
        report,
        report.layout === 'native'
          ? await runner.between(() => read(receiving(store)))
          : await read(new MemoryStore()),
      );
    }
    await writer.finish();
    return options.to
      ? report
      : {
          ...report,
          archive: writer.blob(compression === 'gzip' ? 'application/gzip' : 'application/zstd'),
        };
  } catch (error) {
    passing?.end();
    await writer.fail(error);
    throw error;
  }
}

/** The limits of the cache on entries, which those of an archive that it loads must be within. */
function limitsOf({ raw }: Runner): InspectOptions {
  const { maxQueryBytes, maxResponseBytes, maxMetadataBytes } = raw as Record<string, number>;
  return {
    maxBytes: { query: maxQueryBytes, response: maxResponseBytes, metadata: maxMetadataBytes },
  };
}

/** Reads what a writer passes on. */
function readingAlong(component: Component, writer: Writer, limits: InspectOptions) {
  const pipe = new Pipe();
  writer.also = (bytes) => pipe.write(bytes);
  // A store that waits, so that its instance can wait for the pipe.
  const store = Object.assign(new MemoryStore(), { synchronous: false });
  const summary = inspectWith(component, pipe, { ...limits, store }).finally(() => pipe.return());
  // Whoever dumps may fail first.
  summary.catch(() => {});
  return { summary, end: () => pipe.end() };
}

/**
 * The part of an open store that receives a snapshot. Its data stays as it is, for nothing is
 * committed.
 */
function receiving(store: Store): Store {
  const call =
    <A extends unknown[], R>(method: ((...args: A) => R) | undefined) =>
    (...args: A): R =>
      (method as (...args: A) => R).apply(store, args);
  return Object.assign(Object.create(store) as Store, {
    open: () => {},
    close: () => {},
    capabilities: call(store.capabilities),
    beginRestore: call(store.beginRestore),
    writeRestore: call(store.writeRestore),
    checkRestore: call(store.checkRestore),
    readRestore: call(store.readRestore),
    endRestore: call(store.endRestore),
  });
}

/** What is wrong with an archive that was just written is wrong with its store. */
function notReadable(cause: unknown): never {
  if (!isMnemeError(cause) || !['checkpoint', 'corrupt', 'schema'].includes(cause.code)) {
    throw cause;
  }
  throw notLoadable(describe(cause), { cause });
}

function compare({ entries }: DumpReport, found: Summary): void {
  // A native archive is written without looking at its entries.
  if (entries !== undefined && found.entries !== entries) {
    throw notLoadable(
      `it was written with ${entries} entries, and read back with ${found.entries}`,
    );
  }
}

function notLoadable(reason: string, options?: ErrorOptions): CorruptError {
  return new CorruptError(
    `what was dumped could not be loaded, so it is no backup: ${reason}; if that does not say what to change, check the store with health and deep`,
    options,
  );
}

/** See `SemanticCache.load`. */
export async function load(
  runner: Runner,
  source: ArchiveSource,
  options: LoadOptions | undefined,
): Promise<LoadReport> {
  const raw = rawLoad(options);
  const reader = await Reader.of(source, runner.options.store.synchronous);
  try {
    const report = await runner.call<LoadReport>(
      'load',
      [raw],
      undefined,
      { reader, progress: options?.onProgress },
      'checkpoint',
    );
    if (raw.maxEntries !== undefined) {
      runner.change({ maxEntries: raw.maxEntries });
    }
    if (raw.vectorDtype !== undefined) {
      runner.change({ vectorDtype: raw.vectorDtype });
    }
    return plain(report as unknown as Record<string, unknown>) as unknown as LoadReport;
  } finally {
    await reader.end().catch(() => {});
  }
}
