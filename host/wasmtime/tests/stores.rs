//! What holds for every store of this crate, and what holds for SQLite alone.

mod stores {
    pub mod behaviour;
    #[cfg(feature = "sqlite")]
    pub mod sqlite;
    pub mod support;
}
