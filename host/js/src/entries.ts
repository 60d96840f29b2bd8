/** Listing and erasing entries by what is known of them. */

import type {
  EntryFilter,
  EntryPage,
  EraseFilter,
  EraseOptions,
  ListOptions,
  ListedEntry,
  Receipt,
} from './api.js';
import { count, flag, integer } from './checks.js';
import { fromValue, isMnemeError } from './errors.js';
import { known } from './known.js';
import { breathe } from './platform.js';
import { options as optionsOf, rawFilter, toListed, type RawErasure, type RawPage } from './raw.js';
import type { Runner } from './runner.js';
import { inSteps } from './steps.js';

/** The most entries of a page of a list, unless another number is given. */
const PAGE = 100;

/** See `SemanticCache.erase`. */
export async function erase(
  runner: Runner,
  filter: EraseFilter,
  options: EraseOptions | undefined,
): Promise<Receipt> {
  const { everything, ...conditions } = optionsOf.scope(filter);
  const given = known<EraseOptions>(options, { dryRun: true }, 'erase');
  const raw = rawFilter(conditions);
  const isAll = flag(everything, 'everything') ?? false;
  const isDry = flag(given.dryRun, 'dryRun') ?? false;
  const ids: number[] = [];
  let after = 0n;
  let versions: [bigint, bigint] | undefined;
  const receipt = (): Receipt => ({
    ids,
    versionBefore: Number(versions?.[0]),
    versionAfter: Number(versions?.[1]),
  });
  await inSteps(
    async () => {
      const step = await runner.call<RawErasure>('erase', [raw, isAll, isDry, after]);
      for (const id of step.ids) {
        ids.push(Number(id));
      }
      after = step.next ?? 0n;
      versions = [versions?.[0] ?? step.versionBefore, step.versionAfter];
      if (step.failed !== undefined) {
        throw fromValue(step.failed);
      }
      return step;
    },
    ({ next }) => next !== undefined,
  ).catch((error: unknown) => {
    if (isMnemeError(error) && ids.length > 0 && !isDry) {
      error.receipt = receipt();
    }
    throw error;
  });
  return receipt();
}

/** See `SemanticCache.entries`. */
export async function* entries(
  runner: Runner,
  filter: EntryFilter | undefined,
): AsyncGenerator<ListedEntry, void, undefined> {
  const raw = rawFilter(optionsOf.filter(filter, 'entries'));
  for (let after: number | undefined = 0; after !== undefined;) {
    const found: EntryPage = await page(runner, raw, BigInt(after), PAGE);
    yield* found.entries;
    after = found.next;
    await breathe();
  }
}

/** See `SemanticCache.listEntries`. */
export async function listEntries(
  runner: Runner,
  filter: EntryFilter | undefined,
  options: ListOptions | undefined,
): Promise<EntryPage> {
  const raw = rawFilter(optionsOf.filter(filter, 'listEntries'));
  const given = known<ListOptions>(options, { after: true, limit: true }, 'listEntries');
  const after = integer(given.after, 'after') ?? 0n;
  return page(runner, raw, after, count(given.limit, 'limit') ?? PAGE);
}

async function page(
  runner: Runner,
  filter: object,
  after: bigint,
  limit: number,
): Promise<EntryPage> {
  const { entries, next } = await runner.call<RawPage>('listEntries', [filter, after, limit]);
  return {
    entries: entries.map(toListed),
    next: next === undefined ? undefined : Number(next),
  };
}
