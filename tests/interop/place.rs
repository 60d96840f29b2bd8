//! Where both libraries keep their data: a file, a prefix, a schema or a table.

use mneme::store::Store;
use mneme::{
    Builder, DynamoDbStore, GetRequest, Hit, PostgresStore, PutRequest, RedisStore, SemanticCache,
    SqliteStore,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::servers::dynamodb::DynamoDb;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use mneme_tests::suite::{Provided, Test};
use mneme_tests::unless_it_hangs;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Namespaces whose names are hard on keys that are made by joining.
pub const ODD: [&str; 5] = ["a:b|c", "é\u{1f600}", "x|7", "{tag}", "'\"\\ *?"];

/// The kinds of stores that both libraries have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Sqlite,
    Redis,
    Postgres,
    DynamoDb,
}

/// A test that holds at a place of any kind, by its name.
pub type Named = (&'static str, fn(Place));

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Sqlite, Kind::Redis, Kind::Postgres, Kind::DynamoDb];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "sqlite",
            Kind::Redis => "redis",
            Kind::Postgres => "postgres",
            Kind::DynamoDb => "dynamodb",
        }
    }

    /// Tests that hold at a place of any kind, as tests of this kind.
    pub fn tests(self, tests: &'static [Named]) -> Vec<Test> {
        let test = |&(name, test): &Named| {
            Test::named(format!("{}::{name}", self.name()), move || {
                let place = Place::new(self, name)?;
                unless_it_hangs(move || test(place));
                Ok(())
            })
        };
        tests.iter().map(test).collect()
    }
}

enum Backend {
    File(TempDir),
    Redis(Redis),
    Postgres(Arc<Postgres>),
    DynamoDb(Arc<DynamoDb>),
}

/// A place for the data of a test, with nothing there yet.
#[derive(Clone)]
pub struct Place {
    pub kind: Kind,
    pub python: Python,
    backend: Arc<Backend>,
    name: String,
}

impl Place {
    fn new(kind: Kind, name: &str) -> Result<Self, String> {
        let module = "interop::place";
        Ok(Place {
            kind,
            python: Python::provide(module)?,
            backend: Arc::new(match kind {
                Kind::Sqlite => {
                    Backend::File(tempfile::tempdir().map_err(|error| error.to_string())?)
                }
                Kind::Redis => Backend::Redis(Redis::provide(module)?),
                Kind::Postgres => Backend::Postgres(Provided::provide(module)?),
                Kind::DynamoDb => Backend::DynamoDb(Provided::provide(module)?),
            }),
            name: name.to_owned(),
        })
    }

    /// Another place beside it.
    pub fn beside(&self, name: &str) -> Self {
        Place {
            name: format!("{}_{name}", self.name),
            ..self.clone()
        }
    }

    /// Our store, closed.
    pub fn store(&self) -> Box<dyn Store> {
        let name = &self.name;
        match &*self.backend {
            Backend::File(folder) => Box::new(SqliteStore::new(folder.path().join(name))),
            Backend::Redis(server) => Box::new(
                RedisStore::from_url(&server.url())
                    .unwrap()
                    .prefix(name.as_str()),
            ),
            Backend::Postgres(server) => Box::new(
                PostgresStore::from_url(&server.url())
                    .unwrap()
                    .schema(name.as_str()),
            ),
            Backend::DynamoDb(server) => {
                let url = format!("{}&call_timeout_ms=60000", server.url(name));
                Box::new(DynamoDbStore::from_url(&url).unwrap())
            }
        }
    }

    /// Our store, open.
    pub fn opened(&self) -> Box<dyn Store> {
        let mut store = self.store();
        store.open(FINGERPRINT, DIM).unwrap();
        store
    }

    /// Our cache, which writes access data at once.
    pub fn ours(&self) -> Builder {
        let builder = mneme_tests::builder().boxed_store(self.store());
        builder.embedder(Words).touches(1, 0)
    }

    /// What names the place to the Python library.
    pub fn json(&self) -> Value {
        let name = &self.name;
        match &*self.backend {
            Backend::File(folder) => json!(["sqlite", {"path": folder.path().join(name)}]),
            Backend::Redis(server) => {
                json!(["redis", {"url": server.url(), "key_prefix": name}])
            }
            Backend::Postgres(server) => json!(["postgres", {"dsn": server.url(), "schema": name}]),
            Backend::DynamoDb(server) => table(server.port(), name),
        }
    }

    /// The Python library, with a cache open here.
    pub fn theirs(&self, more: Value) -> Peer {
        Peer::open(self.python, &self.json(), more)
    }
}

/// What names a table, behind a port, to the Python library.
pub fn table(port: u16, name: &str) -> Value {
    let endpoint = format!("http://127.0.0.1:{port}");
    json!(["dynamodb", {
        "table_name": name, "region_name": "eu-north-1", "endpoint_url": endpoint,
        "create_table": true,
    }])
}

pub fn ask(cache: &SemanticCache, namespace: &str, query: &str) -> Option<Hit> {
    let request = GetRequest::new(query).namespace(namespace);
    cache.get(request).unwrap().hit()
}

pub fn put(cache: &SemanticCache, namespace: &str, query: &str, response: &str) {
    let request = PutRequest::new(query, response).namespace(namespace);
    cache.put(request).unwrap();
}

pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}
