/**
 * The statements of the tables: which ones a database may have, and no others.
 *
 * SQLite obeys what a file says of its tables: a collation makes two tenants one, a generated
 * column runs for minutes. So a database is only used where each of its statements is one that a
 * store of ours or `mneme-cache` writes. They are compared without their white space, and otherwise
 * letter by letter. The twin of host/stores/sqlite/src/schema.rs.
 */

import { SchemaError } from '../../errors.js';
import type { SqlDriver } from './driver.js';

/** The table of blobs, which a cache may lack. */
export const BLOBS = 'derived_blobs';

/** The columns of entries that mneme-cache does not make. They stand where adding them puts them. */
const LABELS = ["context TEXT NOT NULL DEFAULT ''", "tags TEXT NOT NULL DEFAULT '[]'"];

/** Adds them, after which the statement of the table is that of a new one. */
export const ADD_LABELS = LABELS.map((column) => `ALTER TABLE entries ADD COLUMN ${column}`);

/**
 * Gives the table the columns in a database that can only be read. Once another process has added
 * them, the names are those of its columns.
 */
export const SHOW_LABELS =
  "CREATE TEMP VIEW entries AS SELECT *, '' AS context, '[]' AS tags FROM main.entries";

/** The index of tags, which a cache that can only be read may lack. */
export const TAGS = 'entry_tags';

/** The tags of entries, as `one.value` beside `e.id`. What is no JSON has none. */
const ALL_TAGS = `FROM entries AS e,
    json_each(CASE WHEN json_valid(e.tags) THEN e.tags ELSE '[]' END) AS one
  WHERE e.tags <> '[]' AND one.type = 'text'`;

/** The log of changes, which a cache that can only be read may lack. */
export const CHANGES = 'changes';

/** Fills the index of tags. */
export const FILL_TAGS = `INSERT INTO entry_tags (tag, id) SELECT one.value, e.id ${ALL_TAGS}
  ON CONFLICT DO NOTHING`;

/** An entry that one of its tags does not lead to. */
export const MISSING_TAG = `SELECT 1 ${ALL_TAGS}
    AND NOT EXISTS (SELECT 1 FROM entry_tags WHERE tag = one.value AND id = e.id)
  LIMIT 1`;

/** The tables, then the indexes. The index of tags, the log of changes and the last two are ours alone. */
export const OBJECTS: Record<string, string> = {
  schema_meta: 'CREATE TABLE schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
  entries: `CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL DEFAULT 'default',
    query_hash TEXT NOT NULL,
    query TEXT NOT NULL,
    response TEXT NOT NULL,
    embedding BLOB NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_accessed_at INTEGER NOT NULL,
    ttl INTEGER,
    access_count INTEGER NOT NULL DEFAULT 0,
    context TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]',
    UNIQUE(namespace, query_hash)
)`,
  [TAGS]: `CREATE TABLE entry_tags (
    tag TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (tag, id)
) WITHOUT ROWID`,
  cache_counters: `CREATE TABLE cache_counters (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
)`,
  namespace_quotas: `CREATE TABLE namespace_quotas (
    namespace TEXT PRIMARY KEY,
    max_entries INTEGER NOT NULL
)`,
  multi_process_state:
    'CREATE TABLE multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)',
  [CHANGES]: `CREATE TABLE changes (
    version INTEGER NOT NULL,
    id INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (version, id)
) WITHOUT ROWID`,
  idx_entries_ns_hash: 'CREATE INDEX idx_entries_ns_hash ON entries(namespace, query_hash)',
  idx_entries_ns_lru: 'CREATE INDEX idx_entries_ns_lru ON entries(namespace, last_accessed_at)',
  idx_entries_created_at: 'CREATE INDEX idx_entries_created_at ON entries(created_at)',
  idx_entries_id: 'CREATE INDEX idx_entries_id ON entries(id)',
  idx_entries_lru: 'CREATE INDEX idx_entries_lru ON entries(last_accessed_at)',
  idx_entries_expiry: `CREATE INDEX idx_entries_expiry ON entries(created_at + ttl, namespace)
    WHERE ttl BETWEEN 0 AND 9007199254740991 AND +created_at BETWEEN 0 AND 9007199254740991`,
};

/** Made by the first blob. */
export const CREATE_BLOBS =
  'CREATE TABLE derived_blobs (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)';

/** What may be there beside them: blobs, and what SQLite makes itself. */
const OPTIONAL: Record<string, string> = {
  [BLOBS]: CREATE_BLOBS,
  sqlite_sequence: 'CREATE TABLE sqlite_sequence(name,seq)',
  sqlite_stat1: 'CREATE TABLE sqlite_stat1(tbl,idx,stat)',
  sqlite_stat4: 'CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)',
};

const KNOWN = new Map(
  Object.entries({ ...OBJECTS, ...OPTIONAL }).map(([name, sql]) => [name, flat(sql)]),
);
/** As mneme-cache makes it. */
const UNLABELLED = LABELS.reduce(
  (sql, column) => sql.replace(flat(`${column},`), ''),
  flat(OBJECTS.entries ?? ''),
);

/** The most of a name or a statement that a message repeats. */
const SHOWN = 80;

/** What a database has. */
export class Schema {
  readonly names: string[];
  /** Whether there is a table of entries, without contexts and tags. */
  readonly lacksLabels: boolean;
  readonly #foreign: { type: string; name: string; sql: string } | undefined;

  /** Reads the statements of a database, and runs nothing of them. */
  constructor(driver: SqlDriver) {
    const { reserved } = driver;
    const rows = driver
      .all('SELECT type, name, tbl_name, sql FROM sqlite_schema')
      .filter(({ tbl_name: of }) => !reserved || !String(of).startsWith(reserved))
      .map(({ type, name, sql }) => ({
        type: String(type),
        name: String(name),
        sql: sql === null ? '' : String(sql),
      }));
    this.names = rows.map(({ name }) => name);
    this.lacksLabels = rows.some(({ name, sql }) => name === 'entries' && isUnlabelled(sql));
    this.#foreign = rows.find((row) => !isKnown(row));
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** Whether it has something of this name, and as a cache has it. */
  knows(name: string): boolean {
    return this.has(name) && this.#foreign?.name !== name;
  }

  /** What only another program makes. */
  get others(): string[] {
    return this.names.filter((name) => !KNOWN.has(name) && !name.startsWith('sqlite_'));
  }

  /** Refuses a database with anything that no cache has. */
  accept(): void {
    if (!this.#foreign) {
      return;
    }
    const { type, name, sql } = this.#foreign;
    throw new SchemaError(
      KNOWN.has(name)
        ? `the ${type} ${excerpt(name)} is not as a cache has it, for its statement is ${excerpt(flat(sql))}; restore a checkpoint, or give another database`
        : `it has the ${type} ${excerpt(name)}, which no cache has; drop it, or give another database`,
    );
  }
}

function isKnown({ type, name, sql }: { type: string; name: string; sql: string }): boolean {
  const known = KNOWN.get(name);
  if (known === undefined) {
    // SQLite's own indexes come from the statements of their tables.
    return sql === '' && type === 'index' && name.startsWith('sqlite_autoindex_');
  }
  const expected = known.startsWith('CREATE TABLE') ? 'table' : 'index';
  return type === expected && (flat(sql) === known || (name === 'entries' && isUnlabelled(sql)));
}

function isUnlabelled(sql: string): boolean {
  return flat(sql) === UNLABELLED;
}

/**
 * A statement with single spaces, and without any beside brackets and commas. White space is what
 * SQLite takes for it: `\s` and `trim` also match U+00A0 and U+FEFF, which are letters to SQLite.
 */
function flat(sql: string): string {
  return sql
    .replace(/[ \t\n\f\r]+/g, ' ')
    .replace(/^ | $/g, '')
    .replace(/ ?([(),]) ?/g, '$1');
}

function excerpt(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
}
