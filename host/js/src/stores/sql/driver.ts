/** What the SQL stores need of a SQLite, whoever runs it. */

import type { Stage } from '../stage.js';

/** A value as SQLite has it; integers beyond 2^53 - 1 do not occur. */
export type SqlValue = null | number | string | Uint8Array;

/** A row, by column. */
export type SqlRow = Record<string, SqlValue>;

/** A synchronous SQLite database. */
export interface SqlDriver {
  /** Whether `write` always fails. */
  readonly isReadOnly: boolean;
  /** What the names of tables begin with that the platform keeps in every database. */
  readonly reserved?: string;
  /** SQL that reads a column of text as a string, or as its UTF-8 bytes, under its own name. */
  text(column: string): string;
  /** The first row of a statement. */
  one(sql: string, ...values: SqlValue[]): SqlRow | undefined;
  /** The rows of a statement. */
  all(sql: string, ...values: SqlValue[]): SqlRow[];
  /** Runs one statement that returns nothing, and returns how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): number;
  /**
   * Runs `work` as one transaction that writes, or none of it where it throws. Bookkeeping waits
   * `briefly` for another's lock, unless its caller has asked for it: it can be done later, and the
   * wait blocks everything else.
   */
  write<T>(work: () => T, wait?: 'briefly'): T;
  /** Runs `work` on the data of one instant. */
  read<T>(work: () => T): T;
  /** From here to `endView` reads see one instant; false where that cannot be. */
  beginView(): boolean;
  endView(): void;
  /** A private place for entries, with vectors of `dim` values, that are yet to be committed. */
  stage(dim: number): Stage;
  close(): void;
}

/** Whether a table was removed under the open store. */
export function isTableMissing(message: string): boolean {
  return /no such table: (main\.)?(entries|entry_tags|changes|schema_meta|multi_process_state|namespace_quotas|cache_counters|derived_blobs)\b/.test(
    message,
  );
}
