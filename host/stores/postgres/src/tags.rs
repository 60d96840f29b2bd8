//! The table of tags: (tag, id), by which entries are found.
//!
//! The array of an entry is what counts. The table may have more rows, for `mneme-cache` deletes entries
//! and leaves them: ids are never given twice, and whoever finds an entry by the table asks the entry. Only
//! writes of entries that have or had tags touch the table.

/// SQL for the tags of an array as `one.tag`. What is no array has none.
macro_rules! each_tag {
    ($tags:literal) => {
        concat!(
            "LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(",
            $tags,
            ") = 'array' THEN ",
            $tags,
            " ELSE '[]' END) AS one (tag)"
        )
    };
}
pub(super) use each_tag;

/// Removes the rows of entries that are there still.
pub(super) const FORGET: &str = concat!(
    "DELETE FROM {schema}.entry_tags AS t USING {schema}.entries AS e, ",
    each_tag!("e.tags"),
    " WHERE e.id = ANY ($1) AND t.tag = one.tag AND t.id = e.id"
);
/// Has the tags of entries lead to them, by their namespaces and hashes.
pub(super) const ADD: &str = concat!(
    "INSERT INTO {schema}.entry_tags (tag, id) SELECT one.tag, e.id
    FROM unnest($1::text[], $2::text[]) AS k (namespace, query_hash)
    JOIN {schema}.entries AS e ON e.namespace = k.namespace AND e.query_hash = k.query_hash, ",
    each_tag!("e.tags"),
    " ON CONFLICT DO NOTHING"
);
/// Makes the rows of a table that was missing.
pub(super) const FILL: &str = concat!(
    "INSERT INTO {schema}.entry_tags (tag, id) SELECT one.tag, e.id FROM {schema}.entries AS e, ",
    each_tag!("e.tags"),
    " WHERE e.tags <> '[]' ON CONFLICT DO NOTHING"
);
/// A row whose tags are no array of 32 at most, or that one of its tags does not lead to.
pub(super) const WRONG: &str = concat!(
    "SELECT EXISTS (SELECT FROM {schema}.entries AS e, ",
    each_tag!("e.tags"),
    " WHERE e.tags <> '[]' AND NOT EXISTS
        (SELECT FROM {schema}.entry_tags AS t WHERE t.tag = one.tag AND t.id = e.id))
    OR EXISTS (SELECT FROM {schema}.entries WHERE CASE jsonb_typeof(tags)
        WHEN 'array' THEN jsonb_array_length(tags) > 32 ELSE true END)"
);
