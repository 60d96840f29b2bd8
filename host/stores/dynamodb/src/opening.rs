//! Opening: what the table must be like to be ours, its creation, and that of item 0.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ReturnValue, ScalarAttributeType, TableDescription,
    TableStatus,
};

use super::error::{Fault, Outcome, Refusal};
use super::layout::{INCARNATION, counter, headless};
use super::requests::Table;
use super::rows::{Item, number, text};
use super::waiting::{Attempts, random};
use mneme_store::checks::Embedder;

/// The schema version that this release reads and writes. The layout records none as long
/// as it is 1.
const SCHEMA_VERSION: u64 = 1;

/// How long a table may take to be created.
const CREATION: Duration = Duration::from_secs(120);

/// Attributes of the table's keys and their types.
const ATTRIBUTES: [(&str, ScalarAttributeType); 4] = [
    ("id", ScalarAttributeType::N),
    ("namespace", ScalarAttributeType::S),
    ("query_hash", ScalarAttributeType::S),
    ("last_accessed_at", ScalarAttributeType::N),
];

/// The indexes: name, partition key, sort key.
const INDEXES: [(&str, &str, &str); 2] = [
    ("gsi_hash", "namespace", "query_hash"),
    ("gsi_lru", "namespace", "last_accessed_at"),
];

/// Makes the table ready: creates it where it is missing and may be, checks its shape, and
/// records the embedder in a new one or compares it. Returns item 0.
pub(super) async fn open(table: &Table, create: bool, embedder: &Embedder) -> Outcome<Item> {
    let mut attempts = Attempts::new(CREATION);
    loop {
        match describe(table).await? {
            None if create => create_table(table).await?,
            None => return Err(Fault::Request(Refusal::no_table())),
            Some(description) => {
                check_shape(&description)?;
                match readiness(&description) {
                    Readiness::Ready => break,
                    Readiness::Soon => {}
                    Readiness::Never(status) => {
                        return Err(Fault::system(format!(
                            "the table is {status}; wait until it is gone, or give another name"
                        )));
                    }
                }
            }
        }
        attempts.again("the table is still being created").await?;
    }
    let head = match table.head(&[]).await? {
        Some(head) => head,
        None => provision(table, embedder).await?,
    };
    check_version(&head)?;
    stored_embedder(&head)?.accept(embedder)?;
    complete(table, &head).await?;
    counter(&head, "version_counter")?;
    Ok(head)
}

/// The embedder of the cache in the table, if there is one. Writes nothing.
pub(super) async fn recorded_embedder(table: &Table) -> Outcome<Option<Embedder>> {
    let Some(description) = describe(table).await? else {
        return Ok(None);
    };
    check_shape(&description)?;
    let Some(head) = table.head(&[]).await? else {
        return Ok(None);
    };
    check_version(&head)?;
    stored_embedder(&head).map(Some)
}

/// Whether table and item 0 are as they must be. Returns the next id.
pub(super) async fn check(table: &Table, embedder: &Embedder) -> Outcome<u64> {
    let description = describe(table)
        .await?
        .ok_or_else(|| Fault::Request(Refusal::no_table()))?;
    check_shape(&description)?;
    let head = table.head(&[]).await?.ok_or_else(headless)?;
    check_version(&head)?;
    counter(&head, "version_counter")?;
    match stored_embedder(&head)? == *embedder {
        true => counter(&head, "next_id"),
        false => Err(Fault::Corrupt(
            "item 0 names another embedder than at open; restore a checkpoint into a new table"
                .into(),
        )),
    }
}

async fn describe(table: &Table) -> Outcome<Option<TableDescription>> {
    let request = table.client.describe_table().table_name(&*table.name);
    match request.send().await {
        Ok(output) => Ok(output.table),
        Err(error) => match error.as_service_error() {
            Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(None),
            _ => Err(Fault::request("DescribeTable")(error)),
        },
    }
}

enum Readiness {
    Ready,
    Soon,
    Never(TableStatus),
}

fn readiness(table: &TableDescription) -> Readiness {
    let indexes = table.global_secondary_indexes().iter();
    let creating = |status: &str| status == "CREATING";
    let indexing = indexes
        .filter(|index| wanted(index.index_name()).is_some())
        .any(|index| {
            index
                .index_status()
                .is_some_and(|status| creating(status.as_str()))
        });
    match table.table_status() {
        Some(TableStatus::Creating) => Readiness::Soon,
        Some(status @ (TableStatus::Deleting | TableStatus::Archiving | TableStatus::Archived)) => {
            Readiness::Never(status.clone())
        }
        _ if indexing => Readiness::Soon,
        _ => Readiness::Ready,
    }
}

async fn create_table(table: &Table) -> Outcome<()> {
    let mut request = table
        .client
        .create_table()
        .table_name(&*table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("id", KeyType::Hash)?);
    for (name, kind) in ATTRIBUTES {
        request = request.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(kind)
                .build()?,
        );
    }
    for (name, partition, sort) in INDEXES {
        let all = Projection::builder()
            .projection_type(ProjectionType::All)
            .build();
        request = request.global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key(partition, KeyType::Hash)?)
                .key_schema(key(sort, KeyType::Range)?)
                .projection(all)
                .build()?,
        );
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let refusal = Refusal::new("CreateTable", &error);
            // Another process was faster.
            match refusal.has_code(&["ResourceInUseException"]) {
                true => Ok(()),
                false => Err(Fault::Request(refusal)),
            }
        }
    }
}

fn key(name: &str, kind: KeyType) -> Outcome<KeySchemaElement> {
    Ok(KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()?)
}

fn wanted(index: Option<&str>) -> Option<&'static (&'static str, &'static str, &'static str)> {
    INDEXES.iter().find(|(name, ..)| Some(*name) == index)
}

/// What the table lacks to be ours.
fn check_shape(table: &TableDescription) -> Outcome<()> {
    let mut lacks = Vec::new();
    let typed = |name: &str| {
        let wanted = ATTRIBUTES.iter().find(|(known, _)| *known == name);
        let defined = table.attribute_definitions().iter();
        defined
            .filter(|defined| defined.attribute_name() == name)
            .any(|defined| wanted.is_some_and(|(_, kind)| defined.attribute_type() == kind))
    };
    if !is_keyed(table.key_schema(), &["id"]) || !typed("id") {
        lacks.push("the partition key id of type N and no sort key".to_owned());
    }
    for (name, partition, sort) in INDEXES {
        let present = table
            .global_secondary_indexes()
            .iter()
            .find(|index| index.index_name() == Some(name));
        let fits = present.is_some_and(|index| {
            let kind = index.projection().and_then(|all| all.projection_type());
            is_keyed(index.key_schema(), &[partition, sort])
                && typed(partition)
                && typed(sort)
                && kind == Some(&ProjectionType::All)
        });
        if !fits {
            lacks.push(format!(
                "the index {name} on {partition} and {sort} with all attributes"
            ));
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(Fault::Schema(format!(
        "this table does not belong to a cache, as it lacks {}; give another name",
        lacks.join(", and ")
    )))
}

fn is_keyed(schema: &[KeySchemaElement], wanted: &[&str]) -> bool {
    let kinds = [KeyType::Hash, KeyType::Range];
    schema.len() == wanted.len()
        && wanted.iter().zip(kinds).all(|(name, kind)| {
            schema
                .iter()
                .any(|key| key.attribute_name() == *name && *key.key_type() == kind)
        })
}

/// Writes item 0 of an empty table, if no other process is faster, and returns it.
async fn provision(table: &Table, embedder: &Embedder) -> Outcome<Item> {
    let present = table
        .client
        .scan()
        .table_name(&*table.name)
        .consistent_read(true)
        .limit(1)
        .send()
        .await
        .map_err(Fault::request("Scan"))?;
    let empty = || AttributeValue::M(Item::new());
    if present.count == 0 {
        let request = table
            .client
            .put_item()
            .table_name(&*table.name)
            .item("id", number(0))
            .item("next_id", number(1))
            .item("version_counter", number(0))
            .item(
                INCARNATION,
                text(format!("{:016x}{:016x}", random(), random())),
            )
            .item("embedder_fingerprint", text(&embedder.fingerprint))
            .item("embedder_dim", number(u64::from(embedder.dim)))
            .item("meta", empty())
            .item("quotas", empty())
            .condition_expression("attribute_not_exists(id)");
        if let Err(error) = request.send().await {
            let refusal = Refusal::new("PutItem", &error);
            if !refusal.has_code(&["ConditionalCheckFailedException"]) {
                return Err(Fault::Request(refusal));
            }
        }
    }
    match table.head(&[]).await? {
        Some(head) => Ok(head),
        None => Err(Fault::Corrupt(
            "the table holds items, but item 0 with the counters and the embedder is missing; restore a checkpoint into a new table, or give another name".into(),
        )),
    }
}

fn check_version(head: &Item) -> Outcome<()> {
    let meta = head.get("meta").and_then(|meta| meta.as_m().ok());
    let recorded = [Some(head), meta];
    for value in recorded
        .into_iter()
        .flatten()
        .filter_map(|map| map.get("schema_version"))
    {
        let version = match value {
            AttributeValue::N(digits) | AttributeValue::S(digits) => digits.parse::<u64>().ok(),
            _ => None,
        };
        match version {
            Some(SCHEMA_VERSION) => {}
            Some(newer) if newer > SCHEMA_VERSION => {
                return Err(Fault::Schema(format!(
                    "schema_version is {newer}, and this release knows {SCHEMA_VERSION}; use the release that wrote the table, or a later one"
                )));
            }
            _ => {
                return Err(Fault::Schema(
                    "item 0, attribute schema_version is not a version of a cache; restore a checkpoint into a new table, or give another name".into(),
                ));
            }
        }
    }
    Ok(())
}

fn stored_embedder(head: &Item) -> Outcome<Embedder> {
    let damaged = |name: &str| {
        Fault::Corrupt(format!(
            "item 0, attribute {name} is missing or of the wrong type; restore a checkpoint into a new table"
        ))
    };
    let fingerprint = head
        .get("embedder_fingerprint")
        .and_then(|value| value.as_s().ok())
        .ok_or_else(|| damaged("embedder_fingerprint"))?;
    let dim = head
        .get("embedder_dim")
        .and_then(|value| value.as_n().ok()?.parse().ok())
        .ok_or_else(|| damaged("embedder_dim"))?;
    Ok(Embedder {
        fingerprint: fingerprint.clone(),
        dim,
    })
}

/// The incarnation of the cache. `None` if it has none yet and the credentials do not allow
/// recording one.
pub(super) async fn incarnation(table: &Table, head: &Item) -> Outcome<Option<Arc<str>>> {
    if let Some(found) = head.get(INCARNATION) {
        let found = found.as_s().map_err(|_| {
            Fault::Corrupt(
                "item 0, attribute incarnation is not a text; remove that attribute".into(),
            )
        })?;
        return Ok(Some(found.as_str().into()));
    }
    let recorded = table
        .client
        .update_item()
        .table_name(&*table.name)
        .key("id", number(0))
        .update_expression("SET incarnation = if_not_exists(incarnation, :fresh)")
        .expression_attribute_values(
            ":fresh",
            text(format!("{:016x}{:016x}", random(), random())),
        )
        .return_values(ReturnValue::AllNew)
        .send()
        .await;
    match recorded {
        Ok(output) => {
            let item = output.attributes.unwrap_or_default();
            let found = item.get(INCARNATION).and_then(|found| found.as_s().ok());
            Ok(found.map(|found| found.as_str().into()))
        }
        Err(error) => {
            let refusal = Refusal::new("UpdateItem", &error);
            match refusal.has_code(&["AccessDeniedException"]) {
                true => Ok(None),
                false => Err(Fault::Request(refusal).repeatable()),
            }
        }
    }
}

/// Adds the maps of item 0 where they are missing; nothing can be set in a map that is
/// not there.
async fn complete(table: &Table, head: &Item) -> Outcome<()> {
    let has = |name: &str| head.get(name).is_some_and(AttributeValue::is_m);
    if has("meta") && has("quotas") {
        return Ok(());
    }
    table
        .client
        .update_item()
        .table_name(&*table.name)
        .key("id", number(0))
        .update_expression(
            "SET meta = if_not_exists(meta, :empty), quotas = if_not_exists(quotas, :empty)",
        )
        .expression_attribute_values(":empty", AttributeValue::M(Item::new()))
        .send()
        .await
        .map_err(Fault::request("UpdateItem"))?;
    Ok(())
}
