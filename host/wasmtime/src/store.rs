//! The [`Store`] trait, which a backend implements, and the stores that ship
//! with this crate.
//!
//! | store | feature | survives the process | shared between processes | native snapshots |
//! |---|---|---|---|---|
//! | [`MemoryStore`] | always there | no | no | no |
//! | `SqliteStore` | `sqlite` (default) | yes | yes, on one machine | yes |
//! | `RedisStore` | `redis` | depends on the server's configuration | yes | no; `BGSAVE` |
//! | `PostgresStore` | `postgres` | yes | yes | no; `pg_dump` |
//! | `DynamoDbStore` | `dynamodb` | yes | yes | no; AWS backups |
//!
//! [`from_url`] makes any of them. To write your own, read the [`guide`].

mod deferred;
mod existing;
mod url;

#[cfg(feature = "dynamodb")]
pub use mneme_dynamodb::{self as dynamodb, DynamoDbStore};
#[cfg(feature = "postgres")]
pub use mneme_postgres::{self as postgres, PostgresStore};
#[cfg(feature = "redis")]
pub use mneme_redis::{self as redis, RedisStore};
#[cfg(feature = "sqlite")]
pub use mneme_sqlite::{self as sqlite, SqliteStore};
pub use mneme_store::{
    BackendError, CapabilitySet, Change, ChangePage, DimensionMismatch, Entry, EntryKey, EntryRef,
    Filter, FingerprintMismatch, ImportMode, Inserted, MemoryStore, MetaChange, Neighbour,
    Restored, Result, Selection, StampPage, Store, StoreError, Touch, VectorPage, VectorQuery,
    cancel, changes, checks, count_all_namespaces, guide, memory, staged,
};
pub use url::{Access, built_in, from_url, from_url_built_with, from_url_for, scheme_of};
