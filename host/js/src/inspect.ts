/** Looking into an archive without loading it. */

import type { Manifest } from './api.js';
import { Reader, guarded, type ArchiveSource } from './archive.js';
import { count } from './checks.js';
import { Instance, instantiatorFor, type Component } from './component.js';
import { known } from './known.js';
import type { Limits } from './options.js';
import { plain } from './plain.js';
import { limitsOf } from './raw-options.js';
import type { Store } from './store.js';
import { MemoryStore } from './stores/memory.js';

/** How to inspect. */
export interface InspectOptions {
  /**
   * A new store of the kind that made the archive. Native archives need it; portable ones do
   * not.
   */
  store?: Store | undefined;
  /** The most bytes that one byte may decompress to, past the first 64 MiB. Default 128. */
  maxExpansion?: number | undefined;
  /**
   * Limits of an entry in UTF-8 bytes. Defaults 32 KiB, 4 MiB and 64 KiB. A cache that was filled
   * with larger ones needs them here too.
   */
  maxBytes?: Limits | undefined;
}

/** What is in an archive. */
export interface Summary {
  manifest: Manifest;
  compression: 'gzip' | 'zstd';
  /** Whether the archive has checksums. If so, they were compared. */
  checksummed: boolean;
  entries: number;
  /** The namespaces with entries or a quota, sorted by name. */
  namespaces: { namespace: string; entries: number; quota: number | undefined }[];
  metaKeys: string[];
  bytes: number;
  compressedBytes: number;
}

type RawInspect = Record<
  'maxExpansion' | 'maxQueryBytes' | 'maxResponseBytes' | 'maxMetadataBytes',
  number
>;

/** The package exports it with the component filled in. */
export async function inspectWith(
  component: Component,
  source: ArchiveSource,
  given?: InspectOptions,
): Promise<Summary> {
  const options = known<InspectOptions>(
    given,
    { store: true, maxExpansion: true, maxBytes: true },
    'inspect',
  );
  const store = options.store ?? new MemoryStore();
  const instantiate = await instantiatorFor(component, store);
  const reader = await Reader.of(source, store.synchronous);
  const instance = new Instance(
    instantiate,
    store,
    {
      now: Date.now,
      confidence: () => 0,
      accept: () => true,
      onEvent: () => {},
      read: (max) => guarded('read', () => reader.read(max)),
      write: () => {},
      progress: () => {},
    },
    undefined,
  );
  try {
    const raw = await instance.call<RawInspect>('checkpoint', 'defaultInspectOptions');
    const { query, response, metadata } = limitsOf(options.maxBytes);
    const summary = await instance.call<Record<string, unknown>>('checkpoint', 'inspect', {
      maxExpansion: count(options.maxExpansion, 'maxExpansion') ?? raw.maxExpansion,
      maxQueryBytes: query ?? raw.maxQueryBytes,
      maxResponseBytes: response ?? raw.maxResponseBytes,
      maxMetadataBytes: metadata ?? raw.maxMetadataBytes,
    });
    return plain(summary) as unknown as Summary;
  } finally {
    await reader.end().catch(() => {});
  }
}
