//! A store by its URL.

use super::{MemoryStore, Result, Store, StoreError};

/// Makes the store that a URL names, closed.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | [`MemoryStore`] |
/// | `sqlite:PATH`, `sqlite://PATH` | `SqliteStore` on that file, relative or absolute |
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB][?prefix=…]`, `rediss://…` | `RedisStore`, the second through TLS |
/// | `postgres://USER:PASSWORD@HOST[:PORT]/DB[?schema=…]`, `postgresql://…` | `PostgresStore` |
/// | `dynamodb://TABLE[?region=…&endpoint=…&create=true]` | `DynamoDbStore` |
///
/// Further parameters are those of each store's own `from_url`.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`] for an invalid URL, and [`StoreError::Unsupported`] for a
/// store that this build lacks. The message contains no part of the URL that may be secret.
///
/// ```
/// use mneme::store;
///
/// let store = store::from_url("memory:").unwrap();
/// assert_eq!(store.capabilities().name, "memory");
/// assert!(store::from_url("mysql://user:secret@host/db").is_err());
/// ```
pub fn from_url(url: &str) -> Result<Box<dyn Store>> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return invalid(format!(
            "the store {url:?} has no scheme; for a file write sqlite:{url}; known are {KNOWN}"
        ));
    };
    match scheme {
        "memory" if rest.is_empty() || rest == "//" => Ok(Box::new(MemoryStore::new())),
        "memory" => invalid(format!(
            "the store {url:?}: memory: takes no path; write memory: or sqlite:{rest}"
        )),
        "sqlite" => sqlite(rest.strip_prefix("//").unwrap_or(rest)),
        "redis" | "rediss" => redis(url),
        "postgres" | "postgresql" => postgres(url),
        "dynamodb" => dynamodb(url),
        // What follows the scheme may hold a password.
        _ => invalid(format!(
            "a store of the scheme {scheme:?} is not known; known are {KNOWN}"
        )),
    }
}

const KNOWN: &str = "memory:, sqlite:PATH, redis://HOST, postgres://HOST/DB, dynamodb://TABLE";

fn invalid<T>(message: String) -> Result<T> {
    Err(StoreError::InvalidArgument(message))
}

fn sqlite(path: &str) -> Result<Box<dyn Store>> {
    if path.is_empty() {
        return invalid(
            "the store \"sqlite:\" names no file; write sqlite:PATH, such as sqlite:mneme.db"
                .into(),
        );
    }
    #[cfg(feature = "sqlite")]
    return Ok(Box::new(super::SqliteStore::new(path)));
    #[cfg(not(feature = "sqlite"))]
    missing("sqlite")
}

/// Passes a URL on to a store, or says that this build lacks it.
macro_rules! by_feature {
    ($($name:ident, $feature:literal, $store:ident;)*) => {
        $(fn $name(url: &str) -> Result<Box<dyn Store>> {
            #[cfg(feature = $feature)]
            return Ok(Box::new(super::$store::from_url(url)?));
            #[cfg(not(feature = $feature))]
            {
                let _ = url;
                missing($feature)
            }
        })*
    };
}

by_feature! {
    redis, "redis", RedisStore;
    postgres, "postgres", PostgresStore;
    dynamodb, "dynamodb", DynamoDbStore;
}

#[cfg(not(all(
    feature = "sqlite",
    feature = "redis",
    feature = "postgres",
    feature = "dynamodb"
)))]
fn missing(feature: &str) -> Result<Box<dyn Store>> {
    Err(StoreError::Unsupported(format!(
        "this build has no {feature} store; build it with the feature {feature}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let good = [
            ("memory:", "memory"),
            ("memory://", "memory"),
            #[cfg(feature = "sqlite")]
            ("sqlite:a.db", "sqlite"),
            #[cfg(feature = "sqlite")]
            ("sqlite:///tmp/a b.db", "sqlite"),
            #[cfg(feature = "redis")]
            ("redis://user:secret@localhost:1/2?prefix=p", "redis"),
            #[cfg(feature = "redis")]
            ("rediss://localhost", "redis"),
            #[cfg(feature = "postgres")]
            ("postgres://user:secret@localhost/db?schema=s", "postgres"),
            #[cfg(feature = "postgres")]
            ("postgresql://user@localhost/db", "postgres"),
            #[cfg(feature = "dynamodb")]
            ("dynamodb://table?region=eu-north-1", "dynamodb"),
        ];
        for (url, name) in good {
            let store = from_url(url).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            assert_eq!(store.capabilities().name, name, "{url}");
        }
        let bad = [
            ("mneme.db", "write sqlite:mneme.db"),
            ("sqlite:", "names no file"),
            ("memory:x", "takes no path"),
            ("mysql://u:secret@h/db", "known are memory:, sqlite:PATH"),
            ("", "no scheme"),
        ];
        for (url, expected) in bad {
            let Err(StoreError::InvalidArgument(message)) = from_url(url) else {
                panic!("{url} names a store");
            };
            assert!(
                message.contains(expected) && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
