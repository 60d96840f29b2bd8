/** Finding entries by what is known of them. */

import type { EntryRef, Filter, Selection } from '../../store.js';
import { LOOKED_AT, RARE, meets } from '../checks.js';
import type { SqlDriver, SqlRow } from './driver.js';
import * as layout from './layout.js';
import { idOf, reference, tagsOf, text } from './rows.js';
import { TAGGED_UP_TO, type Statements } from './statements.js';

/** See `Store.select`. */
export function select(
  driver: SqlDriver,
  sql: Statements,
  filter: Filter,
  lastId: number,
  limit: number,
): Selection {
  const entries: EntryRef[] = [];
  const isTagged = filter.tags.length > 0;
  if (limit === 0 || (isTagged && driver.isReadOnly && !layout.hasTags(driver))) {
    return { entries, next: undefined };
  }
  const tag = rarest(driver, filter.tags);
  let next = lastId;
  for (let lookedAt = 0, some; lookedAt < LOOKED_AT; lookedAt += some) {
    some = Math.min(Math.max(limit, 64), LOOKED_AT - lookedAt);
    const rows =
      tag === undefined
        ? driver.all(sql.labels, next, some)
        : driver.all(sql.tagged, next, some, tag);
    for (const row of rows) {
      next = idOf(row);
      if (row['entry'] !== null && isMeant(row, filter)) {
        entries.push(reference(row));
      }
      if (entries.length >= limit) {
        return { entries, next };
      }
    }
    if (rows.length < some) {
      return { entries, next: undefined };
    }
  }
  return { entries, next };
}

/** That one of these tags which the fewest entries carry. */
function rarest(driver: SqlDriver, tags: string[]): string | undefined {
  const [first, ...others] = tags;
  if (first === undefined || others.length === 0) {
    return first;
  }
  let best = first;
  let fewest = RARE;
  for (const tag of tags) {
    const n = Number(driver.one(TAGGED_UP_TO, tag, fewest)?.['n']);
    if (n < fewest) {
      [best, fewest] = [tag, n];
    }
  }
  return best;
}

/** Tags that are damaged matter to nobody who does not ask for them. */
function isMeant(row: SqlRow, filter: Filter): boolean {
  const tags = filter.tags.length > 0 ? tagsOf(row) : [];
  return meets({ ...reference(row), context: text(row, 'context'), tags }, filter);
}
