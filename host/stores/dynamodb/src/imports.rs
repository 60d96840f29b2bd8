//! Imports: entries that are staged, and then become part of the data by one decision.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::decided::Decided;
use super::error::{Fault, Outcome};
use super::layout::{self, DECIDED, HEAD, TOKENS};
use super::limits;
use super::requests::Visit;
use super::rows::{self, Item, Key, number};
use super::session::Session;
use super::staging::{Import, Token};
use super::transactions::{CONTENDED, Commit};
use super::waiting::Attempts;
use super::writes::check_size;
use super::{pointers, settings};
use mneme_store::{Entry, ImportMode, MetaChange, StoreError, checks};

impl Session {
    pub async fn begin_import(&mut self, mode: ImportMode) -> Outcome<()> {
        self.end_import().await?;
        self.complete_import().await?;
        let head = self.table.head(&["id", "version_counter", TOKENS]).await?;
        let head = head.ok_or_else(layout::headless)?;
        self.table.unstage_abandoned(&head, u64::MAX).await?;
        let empty_at = match mode {
            ImportMode::Empty => {
                self.refuse_entries().await?;
                Some(layout::counter(&head, "version_counter")?)
            }
            ImportMode::Merge | ImportMode::Replace => None,
        };
        self.import = Some(Import {
            token: self.table.stage().await?,
            mode,
            staged: 0,
            keys: HashSet::new(),
            empty_at,
        });
        Ok(())
    }

    pub async fn write_import(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        let mut import = self.import.take().ok_or_else(checks::import_not_begun)?;
        match self.stage(&mut import, &entries).await {
            Ok(()) => {
                self.import = Some(import);
                Ok(())
            }
            Err(fault) => Err(self.over(import, fault).await),
        }
    }

    pub async fn commit_import(
        &mut self,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        let mut import = self.import.take().ok_or_else(checks::import_not_begun)?;
        match self.decide(&mut import, quotas, meta).await {
            Ok(true) => {
                self.complete_import().await.map_err(Fault::once_decided)?;
                Ok(true)
            }
            Ok(false) => {
                self.import = Some(import);
                Ok(false)
            }
            Err(fault) => Err(self.over(import, fault).await),
        }
    }

    /// Forgets the import. What cannot be removed now is found later as what a killed
    /// process left.
    pub async fn end_import(&mut self) -> Outcome<()> {
        if let Some(import) = self.import.take() {
            self.table.unstage(import.token, false, u64::MAX).await.ok();
        }
        Ok(())
    }

    /// Ends an import after an error. Where the server does not answer, nothing more is asked
    /// of it.
    async fn over(&self, import: Import, fault: Fault) -> Fault {
        if matches!(fault, Fault::Typed(_)) {
            self.table.unstage(import.token, false, u64::MAX).await.ok();
        }
        fault
    }

    async fn stage(&self, import: &mut Import, entries: &[Entry]) -> Outcome<()> {
        let mut staged = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            check_size(number, &key, entry)?;
            if !import.keys.insert(pointers::digest(&key)) {
                return Err(refused(format!(
                    "entry {number} of the list: the import already has query hash {} of namespace {:?}; leave one of them out",
                    entry.query_hash, entry.namespace
                )));
            }
            staged.push((key, entry));
        }
        if staged.is_empty() {
            return Ok(());
        }
        let (token, before) = (import.token, import.staged);
        match self.table.stage_entries(token, before, &staged).await? {
            true => import.staged += staged.len() as u64,
            false => return Err(gone()),
        }
        Ok(())
    }

    /// Decides an import. False where a meta value is not as expected.
    async fn decide(
        &mut self,
        import: &mut Import,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        settings::check(quotas, meta)?;
        let mut attempts = Attempts::new(self.table.patience);
        loop {
            if self.complete_import().await? {
                attempts = Attempts::new(self.table.patience);
            }
            let (head, header) = self.heads(import.token).await?;
            if header.is_none_or(|header| header.contains_key("removed")) {
                return Err(gone());
            }
            if import.empty_at.is_some() {
                let version = layout::counter(&head, "version_counter")?;
                if import.empty_at != Some(version) {
                    self.refuse_entries().await?;
                    import.empty_at = Some(version);
                }
            }
            let Some(changes) = self.decision(import, &head, quotas, meta)? else {
                return Ok(false);
            };
            if import.staged > 0
                && let Some(fault) = self.obstacle().await?
            {
                return Err(fault);
            }
            if self.table.commit(changes).await? == Commit::Stored {
                return Ok(true);
            }
            attempts.again(CONTENDED).await?;
        }
    }

    /// The writes that decide an import if item 0 is still as it was seen, or none where a
    /// meta value is not as expected.
    fn decision(
        &self,
        import: &Import,
        head: &Item,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<Option<Vec<TransactWriteItem>>> {
        let replace = import.mode == ImportMode::Replace;
        let Some(meta) = self.changed_meta(head, meta, replace) else {
            return Ok(None);
        };
        let first = layout::counter(head, "next_id")?;
        let decided = Decided {
            token: import.token,
            base: first.saturating_sub(1),
            count: import.staged,
            stored: 0,
            clearing: replace,
            deleted: 0,
        };
        let next = first.checked_add(import.staged).ok_or_else(|| {
            Fault::Corrupt(format!(
                "item 0, attribute next_id is {first}, and no ids are left; restore a checkpoint into a new table"
            ))
        })?;
        let mut values = vec![
            ("meta", AttributeValue::M(meta)),
            (
                "quotas",
                AttributeValue::M(settings::changed_quotas(head, quotas, replace)),
            ),
            (DECIDED, decided.value()),
        ];
        let mut after = head.clone();
        after.extend(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        let size = rows::size(&after);
        if size > limits::MAX_ITEM_BYTES {
            return Err(Fault::invalid(format!(
                "together with those of the import, all quotas and meta values take {size} bytes, and DynamoDB has room for {}; import fewer or shorter ones",
                limits::MAX_ITEM_BYTES
            )));
        }
        values.extend([("first", number(first)), ("next", number(next))]);
        let mut condition = "attribute_not_exists(#import) AND #next_id = :first".to_owned();
        if let Some(version) = import.empty_at {
            condition.push_str(" AND #version_counter = :version");
            values.push(("version", number(version)));
        }
        if !replace {
            condition.push_str(" AND #meta = :seen_meta AND #quotas = :seen_quotas");
            for (seen, name) in [("seen_meta", "meta"), ("seen_quotas", "quotas")] {
                values.push((seen, AttributeValue::M(settings::map(head, name))));
            }
        }
        let change = "SET #meta = :meta, #quotas = :quotas, #next_id = :next, #import = :import";
        Ok(Some(vec![
            self.table
                .update(HEAD, change, Some(&condition), values, None)?,
            self.table.check(
                &import.token.id(0),
                "attribute_not_exists(#removed) AND #staged = :staged",
                vec![("staged", number(import.staged))],
            )?,
        ]))
    }

    /// Item 0, and the header of an import.
    async fn heads(&self, token: Token) -> Outcome<(Item, Option<Item>)> {
        let header = token.id(0);
        let items = self
            .table
            .batch_get(vec![HEAD.to_owned(), header.clone()], &[]);
        let (mut head, mut found) = (None, None);
        for item in items.await? {
            match item.get("id") == Some(&AttributeValue::N(header.clone())) {
                true => found = Some(item),
                false => head = Some(item),
            }
        }
        self.table.check_head(head.as_ref())?;
        Ok((head.ok_or_else(layout::headless)?, found))
    }

    /// Refuses an import for empty tables where there is an entry.
    async fn refuse_entries(&self) -> Outcome<()> {
        let visit = Visit {
            attributes: &["id"],
            ..Visit::default()
        };
        let refuse = |_| {
            Err(refused(
                "the table has entries, and this import needs an empty one; choose another mode, or clear it".to_owned(),
            ))
        };
        self.table.scan::<()>(visit, refuse).await?;
        Ok(())
    }
}

fn refused(message: String) -> Fault {
    Fault::Typed(StoreError::Checkpoint(message))
}

fn gone() -> Fault {
    refused(
        "nothing was written to the import for an hour, and another process has removed it; begin it again".to_owned(),
    )
}
