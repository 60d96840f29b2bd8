//! A table, and the requests that read it: items by their ids, rows of its indexes, and walks
//! over all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Select};

use super::clock::ServerClock;
use super::error::{Fault, Outcome};
use super::layout::{self, HEAD, INCARNATION};
use super::rows::{self, Item, number};
use super::waiting::{Attempts, PARALLEL, together};
use mneme_store::checks;

/// Keys that one BatchGetItem takes.
pub(super) const KEYS_PER_REQUEST: usize = 100;

/// Keys that one wave of parallel requests reads.
pub(super) const KEYS_PER_WAVE: usize = PARALLEL * KEYS_PER_REQUEST;

/// The parts that a scan reads in parallel.
const SEGMENTS: i32 = 4;

/// A table and how to reach it.
#[derive(Clone)]
pub(super) struct Table {
    pub name: Arc<str>,
    /// Repeats failed requests.
    pub client: Client,
    /// Sends every request once.
    pub once: Client,
    /// What both clients learn of the server's time.
    pub clock: ServerClock,
    /// How long to go on trying.
    pub patience: Duration,
    /// Which cache it is, among all that were ever begun in a table of this name. What reads or
    /// changes item 0 compares it, if it is known.
    pub incarnation: Option<Arc<str>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clients hold credentials.
        f.debug_struct("Table")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Which items a scan visits, and what it reads of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    /// Attributes; all if none are named.
    pub attributes: &'static [&'static str],
    /// Only entries with ids above this one.
    pub after: u64,
    /// Only entries of this namespace, which is escaped.
    pub namespace: Option<String>,
    /// Only entries with a lifetime.
    pub with_ttl: bool,
    /// Give up after this many pages of each part.
    pub pages: Option<usize>,
}

impl Table {
    /// Reads one item.
    pub async fn get(&self, id: &str, attributes: &[&str]) -> Outcome<Option<Item>> {
        let (projection, names) = projection(attributes);
        let output = self
            .client
            .get_item()
            .table_name(&*self.name)
            .set_key(Some(key(id)))
            .consistent_read(true)
            .set_projection_expression(projection)
            .set_expression_attribute_names(names)
            .send()
            .await
            .map_err(Fault::request("GetItem"))?;
        Ok(output.item)
    }

    /// Reads items by their ids, each named once. Those that do not exist are left out; the
    /// order is any.
    pub async fn batch_get(
        &self,
        ids: Vec<String>,
        attributes: &'static [&'static str],
    ) -> Outcome<Vec<Item>> {
        let mut parts = Vec::new();
        for part in ids.chunks(KEYS_PER_REQUEST) {
            let keys = part.iter().map(|id| key(id)).collect();
            parts.push(self.clone().batch_get_part(keys, attributes));
        }
        Ok(together(parts).await?.into_iter().flatten().collect())
    }

    /// Reads entries by their ids; see [`batch_get`](Self::batch_get).
    pub async fn entries(
        &self,
        ids: impl IntoIterator<Item = u64>,
        attributes: &'static [&'static str],
    ) -> Outcome<BTreeMap<u64, Item>> {
        let ids: BTreeSet<u64> = ids.into_iter().filter(|id| *id > 0).collect();
        let ids = ids.iter().map(u64::to_string).collect();
        let mut items = BTreeMap::new();
        for item in self.batch_get(ids, attributes).await? {
            items.insert(rows::id(&item)?, item);
        }
        Ok(items)
    }

    async fn batch_get_part(
        self,
        mut keys: Vec<Item>,
        attributes: &'static [&'static str],
    ) -> Outcome<Vec<Item>> {
        let (projection, names) = projection(attributes);
        let mut items = Vec::new();
        let mut attempts = Attempts::new(self.patience);
        while !keys.is_empty() {
            let asked = keys.len();
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .set_projection_expression(projection.clone())
                .set_expression_attribute_names(names.clone())
                .build()?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&*self.name, request)
                .send()
                .await
                .map_err(Fault::request("BatchGetItem"))?;
            let found = output.responses.and_then(|mut all| all.remove(&*self.name));
            items.extend(found.unwrap_or_default());
            // What does not fit into one response, or was throttled.
            keys = output
                .unprocessed_keys
                .and_then(|mut all| all.remove(&*self.name))
                .map(|left| left.keys)
                .unwrap_or_default();
            if keys.len() == asked {
                attempts.again("BatchGetItem is throttled").await?;
            }
        }
        Ok(items)
    }

    /// The rows of index `gsi_hash` under a key, which are not always the latest.
    pub async fn indexed(
        self,
        namespace: String,
        query_hash: String,
        attributes: &'static [&'static str],
    ) -> Outcome<Vec<Item>> {
        const MATCH: &str = "#namespace = :namespace AND #query_hash = :query_hash";
        let (projection, projected) = projection(attributes);
        let mut names = names(&[MATCH]).unwrap_or_default();
        names.extend(projected.unwrap_or_default());
        let query = self
            .client
            .query()
            .table_name(&*self.name)
            .index_name("gsi_hash")
            .key_condition_expression(MATCH)
            .expression_attribute_values(":namespace", AttributeValue::S(namespace))
            .expression_attribute_values(":query_hash", AttributeValue::S(query_hash))
            .set_projection_expression(projection)
            .set_expression_attribute_names(Some(names));
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let output = query
                .clone()
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(Fault::request("Query"))?;
            rows.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Rows of index `gsi_lru` in a namespace, the longest unused first, and where to go on.
    /// They are not always the latest.
    pub async fn aged(
        &self,
        namespace: &str,
        limit: usize,
        start: Option<Item>,
    ) -> Outcome<(Vec<Item>, Option<Item>)> {
        const MATCH: &str = "#namespace = :namespace";
        let (projection, projected) = projection(&["id", "last_accessed_at"]);
        let mut names = names(&[MATCH]).unwrap_or_default();
        names.extend(projected.unwrap_or_default());
        let output = self
            .client
            .query()
            .table_name(&*self.name)
            .index_name("gsi_lru")
            .key_condition_expression(MATCH)
            .expression_attribute_values(":namespace", AttributeValue::S(namespace.to_owned()))
            .set_projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(Fault::request("Query"))?;
        let next = output.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((output.items.unwrap_or_default(), next))
    }

    /// Attributes of item 0; all if there are none named.
    pub async fn head(&self, attributes: &[&str]) -> Outcome<Option<Item>> {
        let mut attributes = attributes.to_vec();
        if !attributes.is_empty() {
            attributes.push(INCARNATION);
        }
        let head = self.get(HEAD, &attributes).await?;
        self.check_head(head.as_ref())?;
        Ok(head)
    }

    /// Fails where item 0, as it was read with its incarnation, is not that of the cache that was
    /// opened.
    pub fn check_head(&self, head: Option<&Item>) -> Outcome<()> {
        let Some(ours) = &self.incarnation else {
            return Ok(());
        };
        let head = head.ok_or_else(layout::headless)?;
        let found = head.get(INCARNATION).and_then(|found| found.as_s().ok());
        match found.is_some_and(|found| **found == **ours) {
            true => Ok(()),
            false => Err(Fault::Corrupt(checks::vanished())),
        }
    }

    /// The id that the next new entry gets.
    pub async fn next_id(&self) -> Outcome<u64> {
        let head = self.head(&["next_id"]).await?;
        layout::counter(&head.ok_or_else(layout::headless)?, "next_id")
    }

    /// A value of one of the maps of item 0, by its escaped key.
    pub async fn head_value(&self, map: &str, map_key: &str) -> Outcome<Option<AttributeValue>> {
        let expression = format!("#id, #{INCARNATION}, #{map}.#key");
        let mut names = names(&[&expression]).unwrap_or_default();
        names.insert("#key".to_owned(), map_key.to_owned());
        let output = self
            .client
            .get_item()
            .table_name(&*self.name)
            .set_key(Some(key(HEAD)))
            .consistent_read(true)
            .projection_expression(expression)
            .set_expression_attribute_names(Some(names))
            .send()
            .await
            .map_err(Fault::request("GetItem"))?;
        self.check_head(output.item.as_ref())?;
        let mut head = output.item.ok_or_else(layout::headless)?;
        Ok(match head.remove(map) {
            Some(AttributeValue::M(mut values)) => values.remove(map_key),
            _ => None,
        })
    }

    /// Visits entries in any order, and collects what `each` makes of them.
    pub async fn scan<T: Send + 'static>(
        &self,
        visit: Visit,
        each: impl Fn(Item) -> Outcome<T> + Clone + Send + Sync + 'static,
    ) -> Outcome<Vec<T>> {
        let parts = (0..SEGMENTS).map(|segment| {
            let (table, visit, each) = (self.clone(), visit.clone(), each.clone());
            async move {
                let mut all = Vec::new();
                table
                    .scan_segment(segment, &visit, None, |items, _| {
                        for item in items {
                            all.push(each(item)?);
                        }
                        Ok(())
                    })
                    .await?;
                Ok(all)
            }
        });
        Ok(together(parts).await?.into_iter().flatten().collect())
    }

    /// Counts entries.
    pub async fn count(&self, visit: Visit) -> Outcome<u64> {
        let parts = (0..SEGMENTS).map(|segment| {
            let (table, visit) = (self.clone(), visit.clone());
            async move {
                let mut sum = 0;
                table
                    .scan_segment(segment, &visit, Some(Select::Count), |_, count| {
                        sum += count;
                        Ok(())
                    })
                    .await?;
                Ok(sum)
            }
        });
        Ok(together(parts).await?.into_iter().sum())
    }

    async fn scan_segment(
        &self,
        segment: i32,
        visit: &Visit,
        select: Option<Select>,
        mut page: impl FnMut(Vec<Item>, u64) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut filter = "#id > :after".to_owned();
        let mut values: Item = [(":after".to_owned(), number(visit.after))].into();
        if let Some(namespace) = &visit.namespace {
            filter.push_str(" AND #namespace = :namespace");
            let value = AttributeValue::S(namespace.clone());
            values.insert(":namespace".to_owned(), value);
        }
        if visit.with_ttl {
            filter.push_str(" AND attribute_exists(#ttl)");
        }
        let (projection, projected) = projection(visit.attributes);
        let mut names = names(&[&filter]).unwrap_or_default();
        names.extend(projected.unwrap_or_default());
        let scan = self
            .client
            .scan()
            .table_name(&*self.name)
            .consistent_read(true)
            .segment(segment)
            .total_segments(SEGMENTS)
            .filter_expression(filter)
            .set_select(select)
            .set_projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values));
        let mut start = None;
        for _ in 0..visit.pages.unwrap_or(usize::MAX) {
            let output = scan
                .clone()
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(Fault::request("Scan"))?;
            let count = u64::try_from(output.count).unwrap_or(0);
            page(output.items.unwrap_or_default(), count)?;
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// The key of an item.
pub(super) fn key(id: &str) -> Item {
    [("id".to_owned(), AttributeValue::N(id.to_owned()))].into()
}

/// An expression that reads the attributes, and the names in it; none for all attributes.
fn projection(attributes: &[&str]) -> (Option<String>, Option<HashMap<String, String>>) {
    if attributes.is_empty() {
        return (None, None);
    }
    let expression = format!("#{}", attributes.join(", #"));
    let names = names(&[&expression]);
    (Some(expression), names)
}

/// The attributes that expressions speak of as `#name`. Said plainly, some would be
/// reserved words.
pub(super) fn names(expressions: &[&str]) -> Option<HashMap<String, String>> {
    let mut names = HashMap::new();
    for expression in expressions {
        for part in expression.split('#').skip(1) {
            let end = part
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(part.len());
            names.insert(format!("#{}", &part[..end]), part[..end].to_owned());
        }
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_expressions() {
        let found = names(&["SET #a_b = :x, #c=:y", "attribute_not_exists(#meta.#key)"]).unwrap();
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort();
        let pair = |name: &str| (format!("#{name}"), name.to_owned());
        assert_eq!(found, ["a_b", "c", "key", "meta"].map(pair));
        assert_eq!(names(&["", "a = b"]), None);
    }
}
