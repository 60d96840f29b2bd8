//! An open store.

use super::connection;
use super::error::Outcome;
use super::layout;
use super::options::Options;
use super::pages::Live;
use super::requests::Table;
use crate::store::checks::Embedder;

/// An open store.
#[derive(Debug)]
pub(super) struct Session {
    pub table: Table,
    pub embedder: Embedder,
    /// No id from here on was in use when item 0 was last read.
    pub next_id: u64,
    /// The ids in use, once a walk has met many that are not.
    pub live: Option<Live>,
}

impl Session {
    pub async fn open(options: &Options, embedder: Embedder) -> Outcome<Self> {
        let table = connection::connect(options).await?;
        let next_id = layout::open(&table, options.create, &embedder).await?;
        Ok(Self {
            table,
            embedder,
            next_id,
            live: None,
        })
    }
}
