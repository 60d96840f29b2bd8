//! The search for vectors, by the extension pgvector.
//!
//! The table `entry_vectors` holds the vectors of the entries as pgvector has them, with an HNSW index.
//! Triggers on `entries` fill it in the transaction of each write, whoever writes: `mneme-cache` knows
//! nothing of it. A row whose embedding is all zeros, or is no unit vector of the right length, is left out.
//! The function `nearest_entries` searches. A scope or a tag with few entries is compared whole, so that the
//! index is not asked to find a needle by its filter.

use super::connection::{BEGIN, COMMIT, Connection, quoted, settings};
use super::error::{Fault, Outcome};
use super::layout;
use super::rows::{self, column, escaped};
use super::session::Session;
use super::values::Values;
use super::writes::transaction;
use mneme_store::checks::Embedder;
use mneme_store::{Neighbour, StoreError, VectorQuery};
use std::time::Duration;

/// What a value of a vector is, in the table of vectors and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// 4 bytes.
    Single,
    /// 2 bytes.
    Half,
}

impl Element {
    /// The name of the type of vectors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "vector",
            Self::Half => "halfvec",
        }
    }

    /// The most values of an indexed vector.
    fn max_dim(self) -> u32 {
        match self {
            Self::Single => 2_000,
            Self::Half => 4_000,
        }
    }

    /// The first release of pgvector that can index it.
    fn since(self) -> [u32; 2] {
        match self {
            Self::Single => [0, 5],
            Self::Half => [0, 7],
        }
    }
}

/// The first release of pgvector that goes on where a filter left too few.
const ITERATES_SINCE: [u32; 2] = [0, 8];

/// The table of vectors.
const TABLE: &str = "entry_vectors";
const INDEX: &str = "idx_entry_vectors_hnsw";

/// Begins the comment on the table. What follows says which functions belong to it.
const MARK: &str = "mneme vectors 1";

/// What is there. A release of pgvector may be newer than the functions that were made for another one.
const FOUND: &str = "
    SELECT n.nspname::text, e.extversion,
        (SELECT t.typname::text FROM pg_catalog.pg_attribute AS a
            JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
            WHERE a.attrelid = to_regclass($1) AND a.attname = 'embedding' AND NOT a.attisdropped),
        (SELECT a.atttypmod FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = to_regclass($1) AND a.attname = 'embedding' AND NOT a.attisdropped)::bigint,
        pg_catalog.obj_description(to_regclass($1), 'pg_class'),
        COALESCE((SELECT i.indisvalid FROM pg_catalog.pg_index AS i
            WHERE i.indexrelid = to_regclass($2) AND i.indrelid = to_regclass($1)), false),
        (SELECT count(*) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = to_regclass($3)
            AND t.tgname LIKE 'keep\\_entry\\_vector%' AND t.tgenabled IN ('O', 'A')),
        to_regclass($1) IS NOT NULL
    FROM (SELECT) AS one
    LEFT JOIN pg_catalog.pg_extension AS e ON e.extname = 'vector'
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace";
const TRIGGERS: i64 = 3;
const AVAILABLE: &str =
    "SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'vector'";
const ENTRIES: &str = "SELECT count(*) FROM {schema}.entries";

/// Entries that one call time-out is enough for, when the table is made.
const ENTRIES_PER_TIMEOUT: u64 = 1_000;

/// `{type}` is that of vectors with its schema, `{dim}` their length, `{path}` the schemas in which functions
/// look, `{iterate}` a setting of the search.
const CREATE: &str = "
CREATE TABLE IF NOT EXISTS {schema}.entry_vectors (
    id BIGINT PRIMARY KEY,
    namespace TEXT NOT NULL,
    context TEXT NOT NULL,
    embedding {type}({dim}) NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_entry_vectors_scope ON {schema}.entry_vectors (namespace, context);
CREATE OR REPLACE FUNCTION {schema}.entry_vector(bytes BYTEA) RETURNS {type}
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = {path} AS $$
    -- Four bytes of a float are sign, exponent e and mantissa m. No value of a unit vector reaches 2.
    SELECT CASE WHEN bool_and(e < 128) AND bool_or(e > 0) THEN
        array_agg((CASE WHEN e BETWEEN 1 AND 127 THEN sign * (1 + m / 8388608.0::float8) * power(2::float8, e - 127) ELSE 0 END)::real
            ORDER BY i)::{type} END
    FROM (SELECT i, 1 - 2 * (get_byte(bytes, 4 * i + 3) >> 7) AS sign,
            ((get_byte(bytes, 4 * i + 3) & 127) << 1) | (get_byte(bytes, 4 * i + 2) >> 7) AS e,
            ((get_byte(bytes, 4 * i + 2) & 127) << 16) | (get_byte(bytes, 4 * i + 1) << 8)
                | get_byte(bytes, 4 * i) AS m
        FROM generate_series(0, {dim} - 1) AS i) AS parts
    WHERE length(bytes) = 4 * {dim}
$$;
CREATE OR REPLACE FUNCTION {schema}.keep_entry_vector() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = {path} AS $$
DECLARE
    made {type};
BEGIN
    -- Who drops the table does not hold up writers.
    IF to_regclass('{table}') IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.id = NEW.id AND OLD.embedding = NEW.embedding
        AND OLD.namespace = NEW.namespace AND OLD.context = NEW.context THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.id <> NEW.id THEN
        DELETE FROM {schema}.entry_vectors WHERE id = OLD.id;
    END IF;
    made := {schema}.entry_vector(NEW.embedding);
    IF made IS NULL THEN
        DELETE FROM {schema}.entry_vectors WHERE id = NEW.id;
    ELSE
        INSERT INTO {schema}.entry_vectors AS v VALUES (NEW.id, NEW.namespace, NEW.context, made)
        ON CONFLICT (id) DO UPDATE SET namespace = excluded.namespace, context = excluded.context,
            embedding = excluded.embedding;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION {schema}.drop_entry_vectors() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = {path} AS $$
BEGIN
    IF to_regclass('{table}') IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM {schema}.entry_vectors;
    ELSE
        DELETE FROM {schema}.entry_vectors AS v USING gone WHERE v.id = gone.id;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION {schema}.nearest_entries(sought REAL[], of_namespace TEXT, of_context TEXT,
    with_tags TEXT[], fresh_at BIGINT, wanted BIGINT) RETURNS TABLE (id BIGINT, similarity REAL)
    LANGUAGE plpgsql STABLE ROWS 16 SET search_path = {path} SET enable_sort = off {iterate} AS $$
#variable_conflict use_column
DECLARE
    query {type} := sought::{type};
    -- So many are compared one by one, which is exact.
    few CONSTANT BIGINT := 10000;
    rare TEXT;
    n BIGINT;
BEGIN
    SELECT t.tag, c.n INTO rare, n FROM unnest(with_tags) AS t (tag) CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (SELECT FROM {schema}.entry_tags AS e WHERE e.tag = t.tag LIMIT few + 1) AS counted
    ) AS c ORDER BY c.n LIMIT 1;
    IF n IS NULL OR n > few THEN
        rare := NULL;
        SELECT count(*) INTO n FROM (SELECT FROM {schema}.entry_vectors AS v
            WHERE v.namespace = of_namespace AND v.context = of_context LIMIT few + 1) AS counted;
    END IF;
    IF rare IS NOT NULL THEN
        RETURN QUERY SELECT v.id, (- v.distance)::real FROM (
            SELECT v.id, v.distance FROM (
                SELECT v.id, v.embedding <#> query AS distance
                FROM {schema}.entry_tags AS t JOIN {schema}.entry_vectors AS v ON v.id = t.id
                WHERE t.tag = rare AND v.namespace = of_namespace AND v.context = of_context OFFSET 0
            ) AS v ORDER BY v.distance, v.id OFFSET 0
        ) AS v WHERE {accepted} LIMIT wanted;
    ELSIF n <= few THEN
        RETURN QUERY SELECT v.id, (- v.distance)::real FROM (
            SELECT v.id, v.distance FROM (
                SELECT v.id, v.embedding <#> query AS distance FROM {schema}.entry_vectors AS v
                WHERE v.namespace = of_namespace AND v.context = of_context OFFSET 0
            ) AS v ORDER BY v.distance, v.id OFFSET 0
        ) AS v WHERE {accepted} LIMIT wanted;
    ELSE
        PERFORM set_config('hnsw.ef_search', least(greatest(wanted, {ef}), 1000)::text, true);
        RETURN QUERY SELECT v.id, (- (v.embedding <#> query))::real FROM {schema}.entry_vectors AS v
            WHERE v.namespace = of_namespace AND v.context = of_context AND {accepted}
            ORDER BY v.embedding <#> query LIMIT wanted;
    END IF;
END $$;
DROP TRIGGER IF EXISTS keep_entry_vector ON {schema}.entries;
CREATE TRIGGER keep_entry_vector AFTER INSERT OR UPDATE OF id, namespace, context, embedding ON {schema}.entries
    FOR EACH ROW EXECUTE FUNCTION {schema}.keep_entry_vector();
DROP TRIGGER IF EXISTS keep_entry_vectors_deleted ON {schema}.entries;
CREATE TRIGGER keep_entry_vectors_deleted AFTER DELETE ON {schema}.entries
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.drop_entry_vectors();
DROP TRIGGER IF EXISTS keep_entry_vectors_truncated ON {schema}.entries;
CREATE TRIGGER keep_entry_vectors_truncated AFTER TRUNCATE ON {schema}.entries
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.drop_entry_vectors();
DELETE FROM {schema}.entry_vectors AS v WHERE NOT EXISTS (SELECT FROM {schema}.entries AS e
    WHERE e.id = v.id AND e.namespace = v.namespace AND e.context = v.context);
INSERT INTO {schema}.entry_vectors SELECT id, namespace, context, made FROM (
    SELECT id, namespace, context, {schema}.entry_vector(embedding) AS made FROM {schema}.entries AS e
    WHERE NOT EXISTS (SELECT FROM {schema}.entry_vectors AS v WHERE v.id = e.id) OFFSET 0
) AS missing WHERE made IS NOT NULL;
DROP INDEX IF EXISTS {schema}.idx_entry_vectors_hnsw;
CREATE INDEX idx_entry_vectors_hnsw ON {schema}.entry_vectors USING hnsw (embedding {ops})
    WITH (m = 24, ef_construction = 128);
COMMENT ON TABLE {schema}.entry_vectors IS '{mark}';
ANALYZE {schema}.entry_vectors;
";
/// SQL for whether an entry that was found may be shown. The fence keeps it from becoming a join, which would
/// not follow the order of the index.
const ACCEPTED: &str = "EXISTS (SELECT FROM {schema}.entries AS e WHERE e.id = v.id
            AND (fresh_at IS NULL OR e.ttl IS NULL OR greatest(e.created_at, 0) > fresh_at - greatest(e.ttl, 0))
            AND (with_tags = '{}' OR e.tags ?& with_tags) OFFSET 0)";
/// How many candidates a search of the graph keeps: of 396 nearest entries among a million it found 389, with
/// 100 it found 374.
const EF_SEARCH: u32 = 200;

const NEAREST: &str = "SELECT id, similarity
    FROM {schema}.nearest_entries($1::real[], $2, $3, $4::text[], $5, $6) ORDER BY similarity DESC, id";

/// A vector without its entry, or an entry without its vector.
pub(super) const WRONG: &str = "
    SELECT EXISTS (SELECT FROM {schema}.entry_vectors AS v WHERE NOT EXISTS (SELECT FROM {schema}.entries AS e
            WHERE e.id = v.id AND e.namespace = v.namespace AND e.context = v.context))
        OR EXISTS (SELECT FROM {schema}.entries AS e
            WHERE NOT EXISTS (SELECT FROM {schema}.entry_vectors AS v WHERE v.id = e.id)
                AND {schema}.entry_vector(e.embedding) IS NOT NULL)
        OR NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indexrelid = to_regclass($1) AND i.indisvalid)";

/// The index, as a name for [`WRONG`].
pub(super) fn index(conn: &Connection) -> String {
    conn.text(&format!("{{schema}}.{INDEX}"))
}

impl Session {
    pub fn nearest(&mut self, query: &VectorQuery, limit: u32) -> Outcome<Vec<Neighbour>> {
        if self.options.nearest.is_none() {
            return Err(Fault::Typed(StoreError::Unsupported(
                "the postgres store searches vectors only with the parameter nearest=vector or nearest=halfvec in its URL; give it, or use the cache's index".into(),
            )));
        }
        let (namespace, context) = (escaped(&query.namespace), escaped(&query.context));
        let tags: Vec<_> = query.tags.iter().map(|tag| escaped(tag)).collect();
        let fresh_at = query
            .fresh_at
            .map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        let limit = i64::from(limit);
        self.read(async |conn| {
            let values: Values<'_> = &[
                &query.vector,
                &namespace,
                &context,
                &tags,
                &fresh_at,
                &limit,
            ];
            let found = conn.query(NEAREST, values).await?;
            let neighbour = |row| {
                Ok(Neighbour {
                    id: rows::id(row, 0)?,
                    similarity: column(row, 1)?,
                })
            };
            found.iter().map(neighbour).collect()
        })
    }
}

/// What there is of the search.
struct Found {
    /// The schema and the release of the extension.
    extension: Option<(String, String)>,
    /// The type and length of the vectors in the table.
    of: Option<(String, i64)>,
    mark: Option<String>,
    is_index_valid: bool,
    triggers: i64,
    has_table: bool,
}

/// Whether all that the search needs is there.
pub(super) async fn is_there(
    conn: &Connection,
    element: Element,
    embedder: &Embedder,
) -> Outcome<bool> {
    let dim = embedder.dim;
    if dim > element.max_dim() {
        return Err(Fault::invalid(format!(
            "vectors of {dim} values cannot be indexed as {}, which has at most {}; {}",
            element.name(),
            element.max_dim(),
            match element {
                Element::Single if dim <= Element::Half.max_dim() => "give nearest=halfvec",
                _ => "leave the parameter nearest out, and use the cache's index",
            }
        )));
    }
    Ok(is_complete(&found(conn).await?, element, dim))
}

/// How long [`provide`] may take, if a call may take so long.
pub(super) async fn patience(conn: &Connection, call_timeout: Duration) -> Outcome<Duration> {
    let rows = conn.query(ENTRIES, &[]).await?;
    let entries: i64 = rows.first().map_or(Ok(0), |row| column(row, 0))?;
    let times = 1 + rows::whole(entries) / ENTRIES_PER_TIMEOUT;
    Ok(call_timeout.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)))
}

/// Creates what the search needs and lacks.
pub(super) async fn provide(
    conn: &Connection,
    schema: &str,
    element: Element,
    embedder: &Embedder,
    limit: Duration,
) -> Outcome<()> {
    let dim = embedder.dim;
    let outcome = transaction(conn, async || {
        conn.begin(BEGIN).await?;
        conn.plain(&settings(limit, limit)).await?;
        create(conn, schema, element, dim).await?;
        conn.end(COMMIT).await
    });
    match outcome.await {
        Err(fault) if matches!(fault.code(), "42501" | "25006") => {
            let (path, version) = match found(conn).await?.extension {
                Some(extension) => extension,
                None => ("public".to_owned(), available(conn).await?),
            };
            Err(Fault::System(format!(
                "the search for vectors needs a table, functions, triggers and an index that are not there, and this role may not create them ({}); let the owner of the table entries run: CREATE EXTENSION IF NOT EXISTS vector; {} GRANT SELECT ON {} TO PUBLIC",
                fault.said().map_or("", |said| said.message()),
                conn.text(&script(schema, &path, element, dim, &version)),
                conn.text(&format!("{{schema}}.{TABLE}")),
            )))
        }
        outcome => outcome,
    }
}

async fn found(conn: &Connection) -> Outcome<Found> {
    let name = |name: &str| conn.text(&format!("{{schema}}.{name}"));
    let names = [name(TABLE), name(INDEX), name("entries")];
    let rows = conn
        .query(FOUND, &[&names[0], &names[1], &names[2]])
        .await?;
    let Some(row) = rows.first() else {
        return Err(Fault::System("the catalog of the server is empty".into()));
    };
    let extension = column::<Option<String>>(row, 0)?.zip(column(row, 1)?);
    Ok(Found {
        extension,
        of: column::<Option<String>>(row, 2)?.zip(column(row, 3)?),
        mark: column(row, 4)?,
        is_index_valid: column(row, 5)?,
        triggers: column(row, 6)?,
        has_table: column(row, 7)?,
    })
}

fn is_complete(found: &Found, element: Element, dim: u32) -> bool {
    let mark = found.extension.as_ref().map(|(_, version)| mark(version));
    mark.is_some()
        && found.mark == mark
        && found.of == Some((element.name().to_owned(), dim.into()))
        && found.is_index_valid
        && found.triggers == TRIGGERS
}

async fn create(conn: &Connection, schema: &str, element: Element, dim: u32) -> Outcome<()> {
    conn.query(layout::CREATION_LOCK, &[&schema]).await?;
    // Another process may have been faster.
    let mut found = self::found(conn).await?;
    if found.extension.is_none() {
        available(conn).await?;
        conn.plain("CREATE EXTENSION vector").await?;
        found = self::found(conn).await?;
    }
    let Some((path, version)) = &found.extension else {
        return Err(Fault::System(
            "the extension vector was created, and is not there; check what else changes the database".into(),
        ));
    };
    check_release(element, version)?;
    if is_complete(&found, element, dim) {
        return Ok(());
    }
    let has = match &found.of {
        Some((kind, length)) if kind == element.name() && *length == i64::from(dim) => None,
        Some((kind, length)) => Some(format!("vectors of type {kind}({length})")),
        None if found.has_table => Some("no vectors".to_owned()),
        None => None,
    };
    if let Some(has) = has {
        return Err(Fault::Schema(format!(
            "table {TABLE} has {has}, and the cache needs {}({dim}); let its owner run: {} and open the cache again",
            element.name(),
            conn.text(&format!("DROP TABLE {{schema}}.{TABLE};")),
        )));
    }
    conn.plain(&conn.text(&script(schema, path, element, dim, version)))
        .await?;
    layout::grant(conn, &[TABLE], &["SELECT"]).await
}

/// The release of pgvector that the server can create.
async fn available(conn: &Connection) -> Outcome<String> {
    let rows = conn.query(AVAILABLE, &[]).await?;
    match rows.first() {
        Some(row) => column(row, 0),
        None => Err(Fault::System(
            "the server has no pgvector; install it (Debian: postgresql-16-pgvector for Postgres 16), or leave the parameter nearest out and use the cache's index".into(),
        )),
    }
}

fn check_release(element: Element, version: &str) -> Outcome<()> {
    let [major, minor] = element.since();
    match release(version) >= element.since() {
        true => Ok(()),
        false => Err(Fault::System(format!(
            "pgvector {version} cannot index the type {}, which needs {major}.{minor} or newer; install that, and run ALTER EXTENSION vector UPDATE",
            element.name()
        ))),
    }
}

/// The first two numbers of a version.
fn release(version: &str) -> [u32; 2] {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    [0; 2].map(|_| numbers.next().unwrap_or(0))
}

/// The comment on a table whose functions are those of this release.
fn mark(version: &str) -> String {
    match release(version) >= ITERATES_SINCE {
        true => format!("{MARK}, iterative"),
        false => MARK.to_owned(),
    }
}

/// SQL that creates all, with the schema still in its places. `path` is the schema of the extension.
fn script(schema: &str, path: &str, element: Element, dim: u32, version: &str) -> String {
    let path = quoted(path);
    // Inside of a text.
    let table = format!("{}.{TABLE}", quoted(schema)).replace('\'', "''");
    let iterate = match release(version) >= ITERATES_SINCE {
        true => "SET hnsw.iterative_scan = relaxed_order",
        false => "",
    };
    CREATE
        .replace("{accepted}", ACCEPTED)
        .replace("{type}", &format!("{path}.{}", element.name()))
        .replace("{ops}", &format!("{path}.{}_ip_ops", element.name()))
        .replace("{path}", &format!("pg_catalog, {path}, pg_temp"))
        .replace("{iterate}", iterate)
        .replace("{dim}", &dim.to_string())
        .replace("{ef}", &EF_SEARCH.to_string())
        .replace("{mark}", &mark(version))
        .replace("{table}", &table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(release("0.10.1"), [0, 10]);
        assert!(release("0.10.1") > release("0.8.5"));
        assert_eq!(release("1"), [1, 0]);
        assert!(check_release(Element::Single, "0.5.0").is_ok());
        assert!(check_release(Element::Single, "0.4.4").is_err());
        assert!(check_release(Element::Half, "0.6.2").is_err());
        assert_ne!(mark("0.7.4"), mark("0.8.0"));
    }

    #[test]
    fn no_place_is_left_open() {
        for version in ["0.7.4", "0.8.5"] {
            let script = script("it's", "my \"own\"", Element::Half, 384, version);
            let script = script.replace("{schema}", "").replace("'{}'", "");
            assert!(!script.contains('{') && !script.contains('}'), "{script}");
            assert!(script.contains("to_regclass('\"it''s\".entry_vectors')"));
            assert!(script.contains("\"my \"\"own\"\"\".halfvec(384)"));
        }
    }
}
