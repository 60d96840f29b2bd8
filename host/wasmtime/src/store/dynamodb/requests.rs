//! A table, and the requests to it: reading items, walking over all of them, and
//! writing several in one atomic step.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, KeysAndAttributes, Put, Select, TransactWriteItem,
    Update,
};
use tokio::task::JoinSet;

use super::error::{Fault, Outcome, Refusal};
use super::layout::{self, HEAD};
use super::rows::{Item, number};

/// Requests on the way at the same time.
const PARALLEL: usize = 16;

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
    /// How long to go on trying.
    pub patience: Duration,
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
    /// Attributes; all if there are none named.
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

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// All of it is stored.
    Stored,
    /// A condition did not hold. Nothing is stored.
    Refused,
    /// Somebody else was writing one of the items. Nothing is stored.
    Contended,
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

    /// A value of one of the maps of item 0, by its escaped key.
    pub async fn head_value(&self, map: &str, map_key: &str) -> Outcome<Option<AttributeValue>> {
        let expression = format!("#id, #{map}.#key");
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

    /// Writes items in one atomic step. A request whose answer was lost is sent again under
    /// the same token, by which DynamoDB knows it, so that it takes effect once.
    pub async fn commit(&self, items: Vec<TransactWriteItem>) -> Outcome<Commit> {
        let request = self
            .once
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(format!("{:016x}{:016x}", random(), random()));
        let mut attempts = Attempts::new(self.patience);
        let mut unknown = false;
        loop {
            let error = match request.clone().send().await {
                Ok(_) => return Ok(Commit::Stored),
                Err(error) => error,
            };
            if let Some(reasons) = cancellation(&error) {
                return cancelled(reasons);
            }
            let mut refusal = Refusal::new("TransactWriteItems", &error);
            if refusal.has_code(&["TransactionConflictException"]) {
                return Ok(Commit::Contended);
            }
            unknown |= refusal.unknown;
            refusal.unknown = unknown;
            if !refusal.retryable || !attempts.wait().await {
                return Err(Fault::Request(refusal));
            }
        }
    }

    /// A new item in a transaction, or a replacement.
    pub fn put(
        &self,
        item: Item,
        condition: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Outcome<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(names(&[condition]))
            .set_expression_attribute_values(named(values))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A change of an item in a transaction. Where the expressions speak of `#key`, it is
    /// the attribute of that name.
    pub fn update(
        &self,
        id: &str,
        change: &str,
        condition: Option<&str>,
        values: Vec<(&str, AttributeValue)>,
        key_name: Option<&str>,
    ) -> Outcome<TransactWriteItem> {
        let mut names = names(&[change, condition.unwrap_or_default()]).unwrap_or_default();
        if let Some(name) = key_name {
            names.insert("#key".to_owned(), name.to_owned());
        }
        let update = Update::builder()
            .table_name(&*self.name)
            .set_key(Some(key(id)))
            .update_expression(change)
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(named(values))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// A removal in a transaction.
    pub fn delete(
        &self,
        id: &str,
        condition: Option<&str>,
        values: Vec<(&str, AttributeValue)>,
    ) -> Outcome<TransactWriteItem> {
        let delete = Delete::builder()
            .table_name(&*self.name)
            .set_key(Some(key(id)))
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_names(names(&[condition.unwrap_or_default()]))
            .set_expression_attribute_values(named(values))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// The time left to try again, and ever longer waits between the attempts.
pub(super) struct Attempts {
    deadline: Option<Instant>,
    patience: Duration,
    tries: u32,
}

impl Attempts {
    pub fn new(patience: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(patience),
            patience,
            tries: 0,
        }
    }

    /// Waits before the next attempt, or fails where there is no time left for one.
    pub async fn again(&mut self, why: &str) -> Outcome<()> {
        match self.wait().await {
            true => Ok(()),
            false => Err(Fault::System {
                message: format!(
                    "{why}, {} times within {:?}; call again later",
                    self.tries + 1,
                    self.patience
                ),
                retryable: true,
            }),
        }
    }

    /// Waits before the next attempt; false where there is no time left for one.
    pub async fn wait(&mut self) -> bool {
        // At random, so that those who met once do not meet again.
        let longest = (8 << self.tries.min(5)) * 1000;
        let pause = Duration::from_micros(1000 + random() % longest);
        let in_time = |deadline| Instant::now() + pause < deadline;
        if !self.deadline.is_none_or(in_time) {
            return false;
        }
        self.tries += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// Runs several requests at the same time, and returns the results in their order.
pub(super) async fn together<T, F>(futures: impl IntoIterator<Item = F>) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut waiting = futures.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < PARALLEL
            && let Some((place, future)) = waiting.next()
        {
            results.push(None);
            running.spawn(async move { (place, future.await) });
        }
        match running.join_next().await {
            None => return Ok(results.into_iter().flatten().collect()),
            Some(Ok((place, result))) => results[place] = Some(result?),
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => return Err(Fault::system(format!("a request ended: {error}"))),
            },
        }
    }
}

/// A number that has not been before.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The key of an item.
pub(super) fn key(id: &str) -> Item {
    [("id".to_owned(), AttributeValue::N(id.to_owned()))].into()
}

fn cancellation(error: &SdkError<TransactWriteItemsError>) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(error) => {
            Some(error.cancellation_reasons())
        }
        _ => None,
    }
}

/// Why a transaction was cancelled, which is told item by item.
fn cancelled(reasons: &[CancellationReason]) -> Outcome<Commit> {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    let has = |wanted: &str| reasons.iter().any(|reason| code(reason) == wanted);
    if has("ConditionalCheckFailed") {
        return Ok(Commit::Refused);
    }
    let refusal = reasons
        .iter()
        .filter(|reason| code(reason) != "None" && code(reason) != "TransactionConflict")
        .map(|reason| Refusal {
            request: "TransactWriteItems",
            code: reason.code().map(str::to_owned),
            text: reason.message().unwrap_or_default().to_owned(),
            retryable: false,
            unknown: false,
        })
        .next();
    match refusal {
        Some(refusal) if !refusal.is_throttled() => Err(Fault::Request(refusal)),
        _ => Ok(Commit::Contended),
    }
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
fn names(expressions: &[&str]) -> Option<HashMap<String, String>> {
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

fn named(values: Vec<(&str, AttributeValue)>) -> Option<Item> {
    let values: Item = values
        .into_iter()
        .map(|(name, value)| (format!(":{name}"), value))
        .collect();
    (!values.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str) -> CancellationReason {
        CancellationReason::builder()
            .code(code)
            .message("m")
            .build()
    }

    #[test]
    fn a_cancelled_transaction_is_read_item_by_item() {
        let read =
            |codes: &[&str]| cancelled(&codes.iter().map(|code| reason(code)).collect::<Vec<_>>());
        let refused = ["None", "ConditionalCheckFailed", "TransactionConflict"];
        assert_eq!(read(&refused).unwrap(), Commit::Refused);
        for contended in [
            "TransactionConflict",
            "ThrottlingError",
            "ProvisionedThroughputExceeded",
        ] {
            assert_eq!(read(&["None", contended]).unwrap(), Commit::Contended);
        }
        assert!(matches!(
            read(&["TransactionConflict", "ValidationError"]),
            Err(Fault::Request(refusal)) if !refusal.retryable
        ));
    }

    #[test]
    fn names_are_found_in_expressions() {
        let found = names(&["SET #a_b = :x, #c=:y", "attribute_not_exists(#meta.#key)"]).unwrap();
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort();
        let pair = |name: &str| (format!("#{name}"), name.to_owned());
        assert_eq!(found, ["a_b", "c", "key", "meta"].map(pair));
        assert_eq!(names(&["", "a = b"]), None);
    }

    #[test]
    fn waits_grow_and_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut none = Attempts::new(Duration::ZERO);
            let Err(Fault::System { message, retryable }) = none.again("busy").await else {
                panic!("there was no time left");
            };
            assert!(retryable && message.contains("busy, 1 times"), "{message}");
            assert!(Attempts::new(Duration::MAX).wait().await);
        });
    }

    #[test]
    fn results_come_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let numbers = (0..100u64).map(|n| async move {
            for _ in 0..(100 - n) {
                tokio::task::yield_now().await;
            }
            Ok(n)
        });
        let results = runtime.block_on(together(numbers)).unwrap();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
        let failing = (0..50).map(|n| async move {
            match n {
                40 => Err(Fault::system("no")),
                _ => Ok(()),
            }
        });
        assert!(runtime.block_on(together(failing)).is_err());
    }
}
