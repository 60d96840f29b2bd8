//! An open store.

use std::time::Duration;

use super::connection;
use super::error::Outcome;
use super::layout::{self, DECIDED};
use super::live::Live;
use super::opening;
use super::options::Options;
use super::requests::Table;
use super::staging::Import;
use mneme_store::checks::Embedder;

/// Entries of each abandoned import that opening removes.
const REMOVED_AT_OPEN: u64 = 10_000;

/// An open store.
#[derive(Debug)]
pub(super) struct Session {
    pub table: Table,
    pub embedder: Embedder,
    /// No id from here on was in use when item 0 was last read.
    pub next_id: u64,
    /// The ids in use, once a walk has met many that are not.
    pub live: Option<Live>,
    /// The import that is being received.
    pub import: Option<Import>,
    /// How many decided imports were completed or seen to be.
    pub imports_completed: u64,
}

impl Session {
    /// The embedder of the cache in the table, if there is one. Writes nothing.
    pub async fn recorded_embedder(options: &Options) -> Outcome<Option<Embedder>> {
        opening::recorded_embedder(&connection::connect(options).await?).await
    }

    /// The time that a response tells, whatever is there. Writes nothing.
    pub async fn server_time(options: &Options) -> Outcome<Option<Duration>> {
        let table = connection::connect(options).await?;
        opening::recorded_embedder(&table).await?;
        Ok(table.clock.now())
    }

    pub async fn open(options: &Options, embedder: Embedder) -> Outcome<Self> {
        let mut table = connection::connect(options).await?;
        let head = opening::open(&table, options.create, &embedder).await?;
        table.incarnation = opening::incarnation(&table, &head).await?;
        let mut session = Self {
            table,
            embedder,
            next_id: layout::counter(&head, "next_id")?,
            live: None,
            import: None,
            imports_completed: 0,
        };
        if head.contains_key(DECIDED) {
            session.complete_import().await?;
        }
        // Nobody sees them, and another open may have more luck.
        let removed = session.table.unstage_abandoned(&head, REMOVED_AT_OPEN);
        removed.await.ok();
        Ok(session)
    }
}
