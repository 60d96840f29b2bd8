//! What holds for every store of this crate, and what holds for SQLite alone.

mod stores {
    #[cfg(feature = "sqlite")]
    pub mod blobs;
    pub mod entries;
    pub mod imports;
    #[cfg(feature = "sqlite")]
    pub mod place;
    #[cfg(feature = "sqlite")]
    pub mod sharing;
    #[cfg(feature = "sqlite")]
    pub mod snapshots;
    #[cfg(feature = "sqlite")]
    pub mod sqlite;
    pub mod support;
    pub mod upkeep;
}
