//! Writing several items in one atomic step.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};

use super::error::{Fault, Outcome, Refusal};
use super::layout::{HEAD, INCARNATION};
use super::requests::{Table, key, names};
use super::rows::{Item, text};
use super::waiting::{Attempts, random};

/// The condition that item 0 is that of the cache that was opened.
const SAME: &str = "#incarnation = :incarnation";

pub(super) const CONTENDED: &str = "others were writing the same items";

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
    /// Writes items in one atomic step. A request whose answer was lost is sent again under
    /// the same token, by which DynamoDB knows it, so that it takes effect once.
    pub async fn commit(&self, items: Vec<TransactWriteItem>) -> Outcome<Commit> {
        let request = self
            .once
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(format!("{:016x}{:016x}", random(), random()));
        let mut attempts = Attempts::of_sending(self.patience);
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

    /// Writes items in one atomic step, as soon as nobody else writes them. False where a
    /// condition does not hold.
    pub async fn commit_in_turn(&self, items: Vec<TransactWriteItem>) -> Outcome<bool> {
        let mut attempts = Attempts::new(self.patience);
        loop {
            match self.commit(items.clone()).await? {
                Commit::Stored => return Ok(true),
                Commit::Refused => return Ok(false),
                Commit::Contended => attempts.again(CONTENDED).await?,
            }
        }
    }

    /// A new item in a transaction, or a replacement.
    pub fn put(
        &self,
        item: Item,
        condition: Option<&str>,
        values: Vec<(&str, AttributeValue)>,
    ) -> Outcome<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(item))
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_names(names(&[condition.unwrap_or_default()]))
            .set_expression_attribute_values(named(values))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A change of an item in a transaction. One of item 0 is refused where that is not of the cache
    /// that was opened. Where the expressions speak of `#key`, it is
    /// the attribute of that name.
    pub fn update(
        &self,
        id: &str,
        change: &str,
        condition: Option<&str>,
        mut values: Vec<(&str, AttributeValue)>,
        key_name: Option<&str>,
    ) -> Outcome<TransactWriteItem> {
        let mut condition = condition.map(str::to_owned);
        if let (HEAD, Some(ours)) = (id, &self.incarnation) {
            condition = Some(match condition {
                Some(condition) => format!("({condition}) AND {SAME}"),
                None => SAME.to_owned(),
            });
            values.push((INCARNATION, text(&**ours)));
        }
        let condition = condition.as_deref();
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

    /// The condition that item 0 is that of the cache that was opened, for transactions that do not
    /// change it.
    pub fn ours(&self) -> Outcome<TransactWriteItem> {
        match &self.incarnation {
            Some(ours) => self.check(HEAD, SAME, vec![(INCARNATION, text(&**ours))]),
            None => self.check(HEAD, "attribute_exists(#id)", vec![]),
        }
    }

    /// A condition in a transaction on an item that it does not change.
    pub fn check(
        &self,
        id: &str,
        condition: &str,
        values: Vec<(&str, AttributeValue)>,
    ) -> Outcome<TransactWriteItem> {
        let check = ConditionCheck::builder()
            .table_name(&*self.name)
            .set_key(Some(key(id)))
            .condition_expression(condition)
            .set_expression_attribute_names(names(&[condition]))
            .set_expression_attribute_values(named(values))
            .build()?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
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
            silent: false,
        })
        .next();
    match refusal {
        Some(refusal) if !refusal.is_throttled() => Err(Fault::Request(refusal)),
        _ => Ok(Commit::Contended),
    }
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
}
