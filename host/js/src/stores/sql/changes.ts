/**
 * The log of changes. The twin of host/stores/sqlite/src/changes.rs.
 *
 * The table has each version from its first to its last. Whoever finds that somebody else has moved the
 * counter, as mneme-cache does, empties it first.
 */

import { CorruptError } from '../../errors.js';
import type { Change, ChangePage } from '../../store.js';
import { LONG_WRITE, MAX_CHANGES, wholeVersions } from '../changes.js';
import type { SqlDriver, SqlRow } from './driver.js';
import * as layout from './layout.js';

const LAST = 'SELECT max(version) AS version FROM changes';
const FIRST = 'SELECT min(version) AS version FROM changes';
const APPEND = 'INSERT INTO changes (version, id, deleted) VALUES (?, ?, ?) ON CONFLICT DO NOTHING';
const EMPTY = 'DELETE FROM changes';
/** Whole versions, so that the last {@link MAX_CHANGES} stay. */
const TRIM = `DELETE FROM changes
  WHERE version < (SELECT version FROM changes ORDER BY version DESC, id DESC LIMIT 1 OFFSET ?)`;
const SINCE = `SELECT version, id, deleted FROM changes
  WHERE version > ? ORDER BY version, id LIMIT ?`;
const OF_ONE = 'SELECT version, id, deleted FROM changes WHERE version = ? ORDER BY id';
/** So many changes are appended before the oldest are looked for. */
const TRIM_EVERY = 8192;

/** The log of an open database. */
export class SqlChanges {
  readonly #driver: SqlDriver;
  /** How many were appended since the oldest were dropped. */
  #appended = TRIM_EVERY;

  constructor(driver: SqlDriver) {
    this.#driver = driver;
  }

  /** Appends what the write did that moved the counter to `version`. An id may come twice. */
  append(version: number, ids: number[], deleted: boolean): void {
    const driver = this.#driver;
    const last = driver.one(LAST)?.['version'] ?? null;
    const isLong = ids.length > LONG_WRITE;
    if (isLong || (last !== null && last !== version - 1)) {
      driver.run(EMPTY);
    }
    if (isLong) {
      return;
    }
    for (const id of ids) {
      driver.run(APPEND, version, id, Number(deleted));
    }
    this.#appended += ids.length;
    if (this.#appended >= TRIM_EVERY) {
      driver.run(TRIM, MAX_CHANGES - 1);
      this.#appended = 0;
    }
  }

  /** Empties it: what led to the present version is not known. */
  cut(): void {
    this.#driver.run(EMPTY);
  }

  /** See `Store.changesSince`; `now` is the version counter of the same instant. */
  since(version: number, now: number, limit: number): ChangePage | undefined {
    const driver = this.#driver;
    if (version === now) {
      return { changes: [], version };
    }
    if (version > now || (driver.isReadOnly && !layout.hasChanges(driver))) {
      return undefined;
    }
    const first = driver.one(FIRST)?.['version'] ?? null;
    if (first === null || Number(first) > version + 1 || driver.one(LAST)?.['version'] !== now) {
      return undefined;
    }
    const found = driver.all(SINCE, version, limit + 1).map(change);
    return wholeVersions(found, limit, (one) => driver.all(OF_ONE, one).map(change));
  }
}

function change(row: SqlRow): Change {
  const { version, id, deleted } = row;
  if (![version, id].every(Number.isSafeInteger) || (deleted !== 0 && deleted !== 1)) {
    throw new CorruptError(
      `table changes has a row with the version ${version}, the id ${id} and deleted ${deleted}, which is no change; delete all of its rows`,
    );
  }
  return { version: version as number, id: id as number, deleted: deleted === 1 };
}
