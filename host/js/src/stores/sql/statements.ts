/** The statements of the store. */

import { entryColumns, since, type TextColumn } from './rows.js';

const MAX = Number.MAX_SAFE_INTEGER;
/** As it is read: without a fraction. */
export const CREATED_AT = 'CAST(created_at AS INTEGER)';
/** As the index of expiry has it. A row whose numbers are damage never expires. */
const EXPIRED = `ttl BETWEEN 0 AND ${MAX} AND +created_at BETWEEN 0 AND ${MAX}
  AND created_at + ttl < ?`;
export const SOME_IDS = 'SELECT id FROM entries LIMIT ?';
export const SOME_IDS_IN = 'SELECT id FROM entries WHERE namespace = ?2 LIMIT ?1';
export const TAGGED_UP_TO =
  'SELECT count(*) AS n FROM (SELECT 1 FROM entry_tags WHERE tag = ? LIMIT ?)';
export const TAGGED_IN = "SELECT id, tags FROM entries WHERE namespace = ? AND tags <> '[]'";
export const USER_META =
  "schema_meta.key NOT IN ('schema_version', 'embedder_fingerprint', 'embedder_dim')";

/** The statements that read text. */
export function statements(text: TextColumn) {
  const references = `id, ${text('namespace')}, created_at`;
  const labelled = `${['namespace', 'context', 'tags'].map(text).join(', ')}, created_at`;
  const entries = (vectors: boolean) => {
    const columns = entryColumns(text, vectors);
    return {
      // The row itself tells its namespace and hash: an index may lead to another one.
      byHash: `SELECT ${columns} FROM entries
        WHERE id = (SELECT id FROM entries WHERE namespace = ? AND query_hash = ?)`,
      byId: `SELECT ${columns} FROM entries WHERE id = ?`,
    };
  };
  return {
    whole: entries(true),
    withoutVector: entries(false),
    since: since(text),
    vectors: `SELECT ${references}, ${text('context')}, embedding FROM entries WHERE id > ? ORDER BY id LIMIT ?`,
    labels: `SELECT id, id AS entry, ${labelled} FROM entries WHERE id > ? ORDER BY id LIMIT ?`,
    /** mneme-cache leaves entries that it has deleted in the index of tags. */
    tagged: `SELECT tagged.id AS id, entries.id AS entry, ${labelled} FROM (
        SELECT id FROM entry_tags WHERE tag = ?3 AND id > ?1 ORDER BY id LIMIT ?2
      ) AS tagged LEFT JOIN entries ON entries.id = tagged.id ORDER BY tagged.id`,
    /** From each namespace to the next one: as many steps as the page has namespaces. */
    namespaces: `
      WITH RECURSIVE step (namespace) AS (
        SELECT min(namespace) FROM entries WHERE namespace >= ?1
        UNION ALL
        SELECT (SELECT min(namespace) FROM entries WHERE namespace > step.namespace)
        FROM step WHERE step.namespace IS NOT NULL
      )
      SELECT ${text('namespace')} FROM step WHERE namespace IS NOT NULL LIMIT ?2`,
    /** One walk over an index, which has the order and ends with the page. */
    counts: `SELECT ${text('namespace')}, count(*) AS n FROM entries WHERE entries.namespace >= ?1
      GROUP BY entries.namespace ORDER BY entries.namespace LIMIT ?2`,
    oldest: `SELECT ${references} FROM entries ORDER BY last_accessed_at, id LIMIT ?`,
    oldestIn: `SELECT ${references} FROM entries
      WHERE namespace = ?2 ORDER BY last_accessed_at, id LIMIT ?1`,
    expired: `SELECT ${references} FROM entries
      WHERE ${EXPIRED}`,
  };
}

/** See {@link statements}. */
export type Statements = ReturnType<typeof statements>;

export const STAMPS = 'SELECT id, created_at FROM entries WHERE id > ? ORDER BY id LIMIT ?';
/** Numbers beyond 2^53 - 1 could not be read again. */
export const TOUCH = `UPDATE entries SET last_accessed_at = max(last_accessed_at, ?2),
    access_count = min(max(access_count, 0) + ?3, ${MAX})
  WHERE id = ?1`;
export const BUMP = `INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '1')
  ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
  RETURNING value`;
export const SET_QUOTA = `INSERT INTO namespace_quotas (namespace, max_entries) VALUES (?, ?)
  ON CONFLICT (namespace) DO UPDATE SET max_entries = excluded.max_entries`;
export const SET_META = `INSERT INTO schema_meta (key, value) VALUES (?, ?)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value`;
/** Not every driver tells no bytes from none. */
export const WRITE_BLOB = `INSERT INTO derived_blobs (name, bytes) VALUES (?, coalesce(?, zeroblob(0)))
  ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes`;

function outOfRange(column: string): string {
  return `(typeof(${column}) NOT IN ('integer', 'real') OR ${column} < 0 OR ${column} >= ${MAX} + 1)`;
}

/** Rows that no page would show, or no index could take. */
export const WRONG_ROW = `SELECT 1 FROM entries
  WHERE id NOT BETWEEN 1 AND ${MAX} OR typeof(embedding) <> 'blob' OR length(embedding) <> ?
    OR ${['created_at', 'last_accessed_at', 'access_count'].map(outOfRange).join(' OR ')}
    OR (ttl IS NOT NULL AND ${outOfRange('ttl')})
    OR CASE WHEN tags = '[]' THEN 0 WHEN NOT json_valid(tags) THEN 1 ELSE json_type(tags) <> 'array'
      OR EXISTS (SELECT 1 FROM json_each(entries.tags) WHERE type <> 'text') END
  LIMIT 1`;
