//! The stores that ship with the library, judged by the conformance battery; and the battery,
//! judged by stores that are broken on purpose.

mod broken_stores;

use mneme::conformance::{Harness, Writer};
use mneme::{DynamoDbStore, MemoryStore, PostgresStore, RedisStore, SqliteStore};
use mneme_tests::dynamodb::run_with_credentials;
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::servers::pgbouncer::PgBouncer;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use mneme_tests::servers::redis::cluster::Cluster;
use mneme_tests::suite::{Suite, every_test_is_required};
use std::process::ExitCode;
use tempfile::TempDir;

fn main() -> ExitCode {
    if broken_stores::is_writer() {
        return broken_stores::write();
    }
    if let Some(end) = run_with_credentials() {
        return end;
    }
    // A process that the harness has started writes until it is killed, or ends.
    if Writer::is_this_process() {
        return judge_shipped_stores();
    }
    let ends = [
        judge_shipped_stores(),
        Suite::new().tests(broken_stores::tests()).run(),
    ];
    let failed = ends.into_iter().find(|end| *end != ExitCode::SUCCESS);
    failed.unwrap_or(ExitCode::SUCCESS)
}

fn judge_shipped_stores() -> ExitCode {
    Harness::new()
        .require_all(every_test_is_required())
        .store("memory", || Ok(MemoryStore::new()))
        .store_at("sqlite", file, |path| Ok(SqliteStore::new(path)))
        .store_at("redis", redis, RedisStore::from_url)
        .store_at("redis-cluster", cluster, RedisStore::from_url)
        .store_at("postgres", postgres, PostgresStore::from_url)
        .store_at("postgres-by-pgbouncer", pgbouncer, PostgresStore::from_url)
        .store_at("postgres-with-pgvector", pgvector, PostgresStore::from_url)
        .store_at("dynamodb", dynamodb, DynamoDbStore::from_url)
        .run()
}

/// The path of a file in a new folder.
fn file() -> Result<(String, TempDir), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("judged.db");
    Ok((path.display().to_string(), folder))
}

fn redis() -> Result<(String, Redis), String> {
    let server = Redis::start()?;
    Ok((server.url(), server))
}

fn cluster() -> Result<(String, Cluster), String> {
    let cluster = Cluster::start()?;
    Ok((cluster.url(&[0, 1, 2]), cluster))
}

fn postgres() -> Result<(String, Postgres), String> {
    let server = Postgres::start()?;
    Ok((server.url(), server))
}

fn pgbouncer() -> Result<(String, (PgBouncer, Postgres)), String> {
    let server = Postgres::start()?;
    let pooler = PgBouncer::before(&server, &[])?;
    Ok((pooler.url(), (pooler, server)))
}

fn pgvector() -> Result<(String, Postgres), String> {
    let server = Postgres::with_pgvector()?;
    Ok((format!("{}?nearest=vector", server.url()), server))
}

fn dynamodb() -> Result<(String, DynamoDb), String> {
    let server = DynamoDb::start()?;
    // It copies all tables for each transaction.
    let url = format!("{}&call_timeout_ms=60000", server.url("judged"));
    Ok((url, server))
}
