//! The entries of one insert, as columns.

use std::borrow::Cow;
use std::collections::HashMap;

use tokio_postgres::Row;

use super::error::{Fault, Outcome};
use super::rows::{self, embedding_bytes, escaped, for_jsonb, stored, tags_json};
use super::values::Value;
use mneme_store::{Entry, Inserted};

/// The entries as a table `n`, and their metadata as `j.json`. Where a JSONB does not hold
/// the metadata that were given, `for_jsonb` has those that it holds.
macro_rules! given {
    ($keys:literal as $names:literal) => {
        concat!(
            "unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::bigint[], \
             $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], ",
            $keys,
            ") WITH ORDINALITY AS n (query, response, embedding, metadata, for_jsonb, \
             created_at, last_accessed_at, ttl, access_count, context, tags, ",
            $names,
            ", place) \
             CROSS JOIN LATERAL (SELECT coalesce(n.for_jsonb, n.metadata)::jsonb AS json) AS j"
        )
    };
}

/// The columns that an entry is given: all but its id.
macro_rules! columns {
    () => {
        "namespace, query_hash, query, response, embedding, metadata, metadata_text, \
         metadata_text_of, created_at, last_accessed_at, ttl, access_count, context, tags"
    };
}
pub(super) use columns;

/// SQL for what is kept of the text of metadata: nothing where the JSONB gives the same.
macro_rules! metadata_text {
    () => {
        "nullif(n.metadata, j.json::text)"
    };
}

/// SQL for the mark by which a read knows that the JSONB still is the one that was stored
/// with the text.
macro_rules! metadata_text_of {
    () => {
        "CASE WHEN n.metadata <> j.json::text THEN sha256(convert_to(j.json::text, 'UTF8')) END"
    };
}

/// SQL for the [`columns`] of entries that come with their keys, and for more.
macro_rules! given_columns {
    ($more:literal) => {
        concat!(
            "SELECT n.namespace, n.query_hash, n.query, n.response, n.embedding, j.json, ",
            metadata_text!(),
            ", ",
            metadata_text_of!(),
            ", n.created_at, n.last_accessed_at, n.ttl, n.access_count, n.context, \
             n.tags::jsonb",
            $more,
            " FROM ",
            given!("$12::text[], $13::text[]" as "namespace, query_hash"),
            " ORDER BY n.place"
        )
    };
}

pub(super) const INSERT: &str = concat!(
    "INSERT INTO {schema}.entries (",
    columns!(),
    ") ",
    given_columns!(""),
    " RETURNING id, namespace, query_hash"
);
/// Adds the entries to an import that has `$14` already, and returns the places of those
/// whose keys it did not have.
pub(super) const STAGE: &str = concat!(
    "INSERT INTO pg_temp.mneme_import (",
    columns!(),
    ", place) ",
    given_columns!(", n.place + $14::bigint"),
    " ON CONFLICT (namespace, query_hash) DO NOTHING RETURNING place"
);
pub(super) const REPLACE: &str = concat!(
    "UPDATE {schema}.entries AS e SET query = n.query, response = n.response,
        embedding = n.embedding, metadata = j.json, metadata_text = ",
    metadata_text!(),
    ", metadata_text_of = ",
    metadata_text_of!(),
    ", created_at = n.created_at, last_accessed_at = n.last_accessed_at, ttl = n.ttl,
        access_count = n.access_count, context = n.context, tags = n.tags::jsonb FROM ",
    given!("$12::bigint[]" as "id"),
    " WHERE e.id = n.id"
);

/// Postgres holds no value and no message of more than 1 GB.
const MAX_BYTES: usize = 500_000_000;

/// The entries of one insert.
pub(super) struct Batch<'e> {
    /// One for each pair of namespace and hash: the last that was given.
    items: Vec<Item<'e>>,
    /// For each entry its item, and whether the list had the pair before.
    places: Vec<(usize, bool)>,
}

struct Item<'e> {
    namespace: Cow<'e, str>,
    query_hash: Cow<'e, str>,
    query: Cow<'e, str>,
    response: Cow<'e, str>,
    embedding: Vec<u8>,
    metadata: &'e str,
    for_jsonb: Option<String>,
    created_at: i64,
    last_accessed_at: i64,
    ttl: Option<i64>,
    access_count: i64,
    context: Cow<'e, str>,
    tags: Cow<'e, str>,
}

impl<'e> Item<'e> {
    fn new(entry: &'e Entry) -> Outcome<Self> {
        Ok(Self {
            namespace: escaped(&entry.namespace),
            query_hash: escaped(&entry.query_hash),
            query: escaped(&entry.query),
            response: escaped(&entry.response),
            embedding: embedding_bytes(&entry.embedding),
            metadata: &entry.metadata,
            for_jsonb: for_jsonb(&entry.metadata),
            created_at: stored(entry.created_at),
            last_accessed_at: stored(entry.last_accessed_at),
            ttl: entry.ttl.map(stored),
            access_count: stored(entry.access_count),
            context: escaped(&entry.context),
            tags: tags_json(&entry.tags)?,
        })
    }

    fn has_tags(&self) -> bool {
        self.tags.len() > 2
    }

    fn bytes(&self) -> usize {
        let texts = [
            &*self.namespace,
            &*self.query_hash,
            &*self.query,
            &*self.response,
            self.metadata,
            self.for_jsonb.as_deref().unwrap_or_default(),
            &self.context,
            &self.tags,
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.embedding.len()
    }
}

impl<'e> Batch<'e> {
    pub fn new(entries: &'e [Entry]) -> Outcome<Self> {
        let mut items: Vec<Item<'e>> = Vec::with_capacity(entries.len());
        let mut places = Vec::with_capacity(entries.len());
        let mut known = HashMap::new();
        for entry in entries {
            let item = Item::new(entry)?;
            let next = items.len();
            let place = *known
                .entry((&*entry.namespace, &*entry.query_hash))
                .or_insert(next);
            places.push((place, place < next));
            match items.get_mut(place) {
                Some(present) => *present = item,
                None => items.push(item),
            }
        }
        let bytes: usize = items.iter().map(Item::bytes).sum();
        if bytes > MAX_BYTES {
            return Err(Fault::invalid(format!(
                "insert was given {bytes} bytes, and Postgres takes {MAX_BYTES} at once; split the list, or give shorter texts"
            )));
        }
        Ok(Self { items, places })
    }

    /// The first of the entries given whose pair the list had before.
    pub fn repeated(&self) -> Option<usize> {
        self.places.iter().position(|(_, repeated)| *repeated)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn namespaces(&self) -> Vec<&str> {
        self.items.iter().map(|item| &*item.namespace).collect()
    }

    pub fn hashes(&self) -> Vec<&str> {
        self.items.iter().map(|item| &*item.query_hash).collect()
    }

    /// The namespaces and hashes of the items that have tags.
    pub fn tagged(&self) -> (Vec<&str>, Vec<&str>) {
        let tagged = self.items.iter().filter(|item| item.has_tags());
        tagged
            .map(|item| (&*item.namespace, &*item.query_hash))
            .unzip()
    }

    /// The columns of the items that have an id, and the ids.
    pub fn kept(&self, ids: &[Option<i64>]) -> (Columns<'_>, Vec<i64>) {
        let known = || self.items.iter().zip(ids);
        (
            Columns::of(known().filter(|(_, id)| id.is_some()).map(|(item, _)| item)),
            known().filter_map(|(_, id)| *id).collect(),
        )
    }

    /// The columns of the items that have no id yet, and their namespaces and hashes.
    pub fn fresh(&self, ids: &[Option<i64>]) -> (Columns<'_>, Vec<&str>, Vec<&str>) {
        let new = || {
            let pairs = self.items.iter().zip(ids);
            pairs.filter(|(_, id)| id.is_none()).map(|(item, _)| item)
        };
        (
            Columns::of(new()),
            new().map(|item| &*item.namespace).collect(),
            new().map(|item| &*item.query_hash).collect(),
        )
    }

    /// What became of each entry. `found` are the ids that items had before, `made` the
    /// rows of [`INSERT`].
    pub fn results(&self, found: &[Option<i64>], made: &[Row]) -> Outcome<Vec<Inserted>> {
        let mut new = HashMap::with_capacity(made.len());
        for row in made {
            let key: (&str, &str) = (rows::column(row, 1)?, rows::column(row, 2)?);
            new.insert(key, rows::id(row, 0)?);
        }
        let one = |(place, repeated): &(usize, bool)| {
            let item = &self.items[*place];
            let old = found[*place].map(rows::whole);
            let id = old.or_else(|| new.get(&(&*item.namespace, &*item.query_hash)).copied());
            Some(Inserted {
                id: id?,
                replaced: *repeated || old.is_some(),
            })
        };
        let results: Option<Vec<Inserted>> = self.places.iter().map(one).collect();
        results.ok_or_else(|| {
            Fault::System(
                "the server stored fewer rows than it was given; remove the rule or trigger on table entries that holds them back".into(),
            )
        })
    }
}

/// The parameters `$1` to `$11` of [`INSERT`], [`STAGE`] and [`REPLACE`].
#[derive(Default)]
pub(super) struct Columns<'b> {
    query: Vec<&'b str>,
    response: Vec<&'b str>,
    embedding: Vec<&'b [u8]>,
    metadata: Vec<&'b str>,
    for_jsonb: Vec<Option<&'b str>>,
    created_at: Vec<i64>,
    last_accessed_at: Vec<i64>,
    ttl: Vec<Option<i64>>,
    access_count: Vec<i64>,
    context: Vec<&'b str>,
    tags: Vec<&'b str>,
}

impl<'b> Columns<'b> {
    fn of(items: impl Iterator<Item = &'b Item<'b>>) -> Self {
        let mut to = Self::default();
        for item in items {
            to.query.push(&item.query);
            to.response.push(&item.response);
            to.embedding.push(&item.embedding);
            to.metadata.push(item.metadata);
            to.for_jsonb.push(item.for_jsonb.as_deref());
            to.created_at.push(item.created_at);
            to.last_accessed_at.push(item.last_accessed_at);
            to.ttl.push(item.ttl);
            to.access_count.push(item.access_count);
            to.context.push(&item.context);
            to.tags.push(&item.tags);
        }
        to
    }

    pub fn is_empty(&self) -> bool {
        self.query.is_empty()
    }

    /// The values, followed by those of the keys.
    pub fn values<'v>(&'v self, keys: &[&'v dyn Value]) -> Vec<&'v dyn Value> {
        let own: [&'v dyn Value; 11] = [
            &self.query,
            &self.response,
            &self.embedding,
            &self.metadata,
            &self.for_jsonb,
            &self.created_at,
            &self.last_accessed_at,
            &self.ttl,
            &self.access_count,
            &self.context,
            &self.tags,
        ];
        own.into_iter().chain(keys.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(namespace: &str, hash: &str, response: &str) -> Entry {
        Entry {
            context: String::new(),
            tags: Vec::new(),
            id: 9,
            namespace: namespace.to_owned(),
            query_hash: hash.to_owned(),
            query: "q".to_owned(),
            response: response.to_owned(),
            embedding: vec![1.0],
            metadata: "{}".to_owned(),
            created_at: 1,
            last_accessed_at: 2,
            ttl: None,
            access_count: 0,
        }
    }

    #[test]
    fn a_pair_is_stored_once_as_it_came_last() {
        let entries = [
            entry("a", "1", "first"),
            entry("b", "1", "other"),
            entry("a", "1", "last"),
        ];
        let batch = Batch::new(&entries).unwrap();
        assert_eq!(batch.namespaces(), ["a", "b"]);
        assert_eq!(batch.places, [(0, false), (1, false), (0, true)]);
        assert_eq!(batch.repeated(), Some(2));
        let (kept, ids) = batch.kept(&[Some(5), None]);
        assert_eq!((kept.response, ids), (vec!["last"], vec![5]));
        let (fresh, namespaces, hashes) = batch.fresh(&[Some(5), None]);
        assert_eq!(fresh.response, ["other"]);
        assert_eq!((namespaces, hashes), (vec!["b"], vec!["1"]));
        let results = batch.results(&[Some(5), Some(6)], &[]).unwrap();
        let results: Vec<_> = results.iter().map(|one| (one.id, one.replaced)).collect();
        assert_eq!(results, [(5, true), (6, true), (5, true)]);
        // A row that the server did not make is not passed over.
        assert!(batch.results(&[Some(5), None], &[]).is_err());
    }

    #[test]
    fn what_postgres_cannot_take_is_refused() {
        let mut large = entry("a", "1", "r");
        large.response = "\0".repeat(MAX_BYTES / 5);
        assert!(Batch::new(std::slice::from_ref(&large)).is_err());
    }
}
