//! A store by its URL.

use super::deferred::Deferred;
use super::existing::Existing;
use super::{MemoryStore, Result, Store, StoreError};

/// What opening a store of [`from_url_for`] may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Create the cache if there is none. The default.
    #[default]
    Create,
    /// Create the cache if there is none, when entries, a quota or an archive are first stored. Until
    /// then it answers as an empty one, and leaves nothing behind.
    CreateOnWrite,
    /// Open what holds a cache already. Where there is none, opening fails with
    /// [`StoreError::Backend`], says where it looked, and leaves nothing behind. `memory:` never
    /// holds one before, and is opened all the same.
    Existing,
}

/// Makes the store that a URL names, closed.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | [`MemoryStore`] |
/// | `sqlite:PATH[?mode=…]`, `sqlite://PATH` | `SqliteStore` on that file, relative or absolute |
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB][?prefix=…]`, `rediss://…` | `RedisStore`, the second through TLS |
/// | `redis+cluster://HOST[:PORT],HOST[:PORT]…` | `RedisStore` in a Redis Cluster, by some of its nodes |
/// | `redis+sentinel://HOST[:PORT],HOST[:PORT]…?master=NAME` | `RedisStore` on the master that sentinels name |
/// | `postgres://USER:PASSWORD@HOST[:PORT][,…]/DB[?schema=…]`, `postgresql://…` | `PostgresStore` |
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
    from_url_for(url, Access::Create)
}

/// As [`from_url`], and says what opening the store may do.
///
/// # Errors
///
/// As [`from_url`].
///
/// ```
/// use mneme::store::{self, Access, Store};
///
/// # #[cfg(feature = "sqlite")] {
/// let mut store = store::from_url_for("sqlite:mistyped.db", Access::Existing).unwrap();
/// let error = store.open("my-embedder@1", 384).unwrap_err();
/// assert!(format!("{error:?}").contains("there is no cache"));
/// assert!(!std::path::Path::new("mistyped.db").exists());
/// # }
/// ```
pub fn from_url_for(url: &str, access: Access) -> Result<Box<dyn Store>> {
    from_url_built_with(url, access, |feature| format!("the feature {feature}"))
}

/// As [`from_url_for`], for a program that brings stores by features other than those of this
/// crate: `how` says what to build it with for this crate's feature. The messages quote it.
///
/// # Errors
///
/// As [`from_url`].
pub fn from_url_built_with(
    url: &str,
    access: Access,
    how: impl Fn(&str) -> String,
) -> Result<Box<dyn Store>> {
    // Nothing is repeated but what can be no secret: a scheme, and a path that looks like one.
    let Some((scheme, rest)) = scheme(url) else {
        let file = match is_path(url) {
            true => format!("; for the file {url} write sqlite:{url}"),
            false => String::new(),
        };
        return invalid(format!(
            "the store has no scheme, such as sqlite: or postgres://{file}; known are {}",
            known(how)
        ));
    };
    let (feature, store) = match scheme {
        "memory" if rest.is_empty() || rest == "//" => return Ok(Box::new(MemoryStore::new())),
        "memory" => {
            return invalid(
                "the store memory: takes no path; write memory:, or sqlite:PATH for a file".into(),
            );
        }
        "sqlite" => ("sqlite", sqlite(url, access)?),
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+sentinel"
        | "rediss+sentinel" => ("redis", redis(url)?),
        "postgres" | "postgresql" => ("postgres", postgres(url)?),
        "dynamodb" => ("dynamodb", dynamodb(url)?),
        // What follows the scheme may hold a password.
        _ => {
            return invalid(format!(
                "a store of the scheme {scheme:?} is not known; known are {}",
                known(how)
            ));
        }
    };
    let store = store.ok_or_else(|| {
        StoreError::Unsupported(format!(
            "this build has no {feature} store; build it with {}",
            how(feature)
        ))
    })?;
    Ok(match access {
        Access::Existing if feature != "sqlite" => Box::new(Existing(store)),
        Access::CreateOnWrite => Box::new(Deferred::new(store)),
        _ => store,
    })
}

/// The scheme of a store's URL, if it has one. All else of it may be secret.
pub fn scheme_of(url: &str) -> Option<&str> {
    scheme(url).map(|(scheme, _)| scheme)
}

/// The scheme of a URL, and what follows.
fn scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(letters)
        // Longer ones are more likely a key, or a user's name.
        && scheme.len() <= 16;
    is_scheme.then_some((scheme, rest))
}

/// Whether a text looks like the path of a file, and like nothing that holds a password.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/\\._-".contains(c);
    text.chars().all(plain) && text.ends_with(".db")
}

/// The stores that this build has, by the names of their capabilities.
pub fn built_in() -> Vec<&'static str> {
    let kinds = KINDS.iter().filter(|kind| kind.is_built_in);
    kinds.map(|kind| kind.name).collect()
}

/// A kind of store.
struct Kind {
    /// Also that of its feature.
    name: &'static str,
    url: &'static str,
    is_built_in: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "memory",
        url: "memory:",
        is_built_in: true,
    },
    Kind {
        name: "sqlite",
        url: "sqlite:PATH",
        is_built_in: cfg!(feature = "sqlite"),
    },
    Kind {
        name: "redis",
        url: "redis://HOST",
        is_built_in: cfg!(feature = "redis"),
    },
    Kind {
        name: "postgres",
        url: "postgres://HOST/DB",
        is_built_in: cfg!(feature = "postgres"),
    },
    Kind {
        name: "dynamodb",
        url: "dynamodb://TABLE",
        is_built_in: cfg!(feature = "dynamodb"),
    },
];

/// The URLs that are known, with what brings those that this build lacks.
fn known(how: impl Fn(&str) -> String) -> String {
    let urls = KINDS.iter().map(|kind| match kind.is_built_in {
        true => kind.url.to_owned(),
        false => format!("{} (build it with {})", kind.url, how(kind.name)),
    });
    urls.collect::<Vec<_>>().join(", ")
}

fn invalid<T>(message: String) -> Result<T> {
    Err(StoreError::InvalidArgument(message))
}

/// A store, or none where this build lacks it.
type Built = Result<Option<Box<dyn Store>>>;

/// It looks for the file itself, and names it.
fn sqlite(url: &str, access: Access) -> Built {
    #[cfg(feature = "sqlite")]
    {
        let store = super::SqliteStore::from_url(url)?;
        Ok(Some(Box::new(match access {
            Access::Create | Access::CreateOnWrite => store,
            Access::Existing => store.existing(),
        })))
    }
    #[cfg(not(feature = "sqlite"))]
    {
        let _ = (url, access);
        Ok(None)
    }
}

/// Passes a URL on to a store.
macro_rules! by_feature {
    ($($name:ident, $feature:literal, $store:ident;)*) => {
        $(fn $name(url: &str) -> Built {
            #[cfg(feature = $feature)]
            return Ok(Some(Box::new(super::$store::from_url(url)?)));
            #[cfg(not(feature = $feature))]
            {
                let _ = url;
                Ok(None)
            }
        })*
    };
}

by_feature! {
    redis, "redis", RedisStore;
    postgres, "postgres", PostgresStore;
    dynamodb, "dynamodb", DynamoDbStore;
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
            #[cfg(feature = "sqlite")]
            ("sqlite:a.db?mode=ro", "sqlite"),
            #[cfg(feature = "redis")]
            ("redis://user:secret@localhost:1/2?prefix=p", "redis"),
            #[cfg(feature = "redis")]
            ("rediss://localhost", "redis"),
            #[cfg(feature = "redis")]
            ("redis+cluster://u:secret@a:1,b:2?prefix=p", "redis"),
            #[cfg(feature = "redis")]
            ("rediss+cluster://a", "redis"),
            #[cfg(feature = "redis")]
            ("rediss+sentinel://a,b?master=m", "redis"),
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
            #[cfg(feature = "sqlite")]
            ("sqlite:", "names no file"),
            #[cfg(feature = "sqlite")]
            ("sqlite:?mode=ro", "names no file"),
            #[cfg(feature = "sqlite")]
            ("sqlite:file:t.db", "write sqlite:t.db"),
            #[cfg(feature = "sqlite")]
            ("sqlite:file:///t.db", "write sqlite:/t.db"),
            #[cfg(feature = "sqlite")]
            ("sqlite:a.db?mode=secret", "is not rwc, rw or ro"),
            #[cfg(feature = "sqlite")]
            ("sqlite:a.db?immutable=1", "known are mode"),
            ("memory:x", "takes no path"),
            ("mysql://u:secret@h/db", "known are memory:, sqlite:PATH"),
            ("", "no scheme"),
            ("user=u password=secret host=h", "no scheme"),
            ("host=h:5432 password=secret", "no scheme"),
            ("postgres=u:secret@h", "no scheme"),
            ("u:secret@h/db", "of the scheme \"u\""),
            ("secret", "no scheme"),
            ("memory:secret", "takes no path"),
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

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_cache_is_created_when_something_is_first_stored() {
        use mneme_store::{Entry, ImportMode, MetaChange};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("late.db");
        let url = format!("sqlite:{}", path.display());
        let late = || from_url_for(&url, Access::CreateOnWrite).unwrap();
        let entry = Entry {
            context: String::new(),
            tags: Vec::new(),
            id: 0,
            namespace: "n".into(),
            query_hash: "h".into(),
            query: "q".into(),
            response: "r".into(),
            embedding: vec![1.0],
            metadata: "{}".into(),
            created_at: 1,
            last_accessed_at: 1,
            ttl: None,
            access_count: 0,
        };
        let mut store = late();
        assert_eq!(store.count(None), Err(StoreError::Closed));
        store.open("v", 1).unwrap();
        assert_eq!(store.count(None), Ok(0));
        assert_eq!(store.get_by_ids(&[1], true), Ok(vec![]));
        assert_eq!(store.delete_expired(9, None, 9), Ok(vec![]));
        assert_eq!(store.replace_meta("counters", None, Some("1")), Ok(true));
        store.close().unwrap();
        assert!(!path.exists());
        // Through a cache, which asks more of its store.
        let cache = crate::SemanticCache::builder()
            .boxed_store(late())
            .embedder(crate::embedder::Precomputed::new("v", 1))
            .open()
            .unwrap();
        assert_eq!(cache.vacuum(None, false).unwrap(), 0);
        assert_eq!(cache.clear().unwrap(), 0);
        assert!(cache.health(true).unwrap().healthy);
        assert!(!cache.get("q").unwrap().is_hit());
        cache.close().unwrap();
        assert!(!path.exists());
        type Create = fn(&mut dyn Store, Entry);
        let creates: [Create; 3] = [
            |store, entry| drop(store.insert(vec![entry]).unwrap()),
            |store, _| store.set_namespace_quota("n", Some(1)).unwrap(),
            |store, entry| {
                store.begin_import(ImportMode::Empty).unwrap();
                store.write_import(vec![entry]).unwrap();
                let meta: [MetaChange; 0] = [];
                assert!(store.commit_import(&[], &meta).unwrap());
            },
        ];
        for create in creates {
            let mut store = late();
            store.open("v", 1).unwrap();
            create(&mut *store, entry.clone());
            let count = store.count(None);
            store.close().unwrap();
            assert!(path.exists());
            // What is there is opened, and its embedder counts.
            assert!(late().open("other", 1).is_err());
            let mut store = late();
            store.open("v", 1).unwrap();
            assert_eq!(store.count(None), count);
            store.close().unwrap();
            for name in ["late.db", "late.db-wal", "late.db-shm"] {
                let _ = std::fs::remove_file(folder.path().join(name));
            }
        }
    }

    #[test]
    fn what_this_build_lacks_is_said_with_what_brings_it() {
        for kind in &KINDS {
            assert_eq!(built_in().contains(&kind.name), kind.is_built_in);
            if kind.is_built_in {
                continue;
            }
            let expected = format!(
                "this build has no {0} store; build it with the feature {0}",
                kind.name
            );
            let outcome = from_url(kind.url).err();
            assert_eq!(outcome, Some(StoreError::Unsupported(expected)));
            let brought = format!("{} (build it with --features x)", kind.url);
            let outcome =
                from_url_built_with("mysql:", Access::Create, |_| "--features x".into()).err();
            let Some(StoreError::InvalidArgument(message)) = outcome else {
                panic!("{outcome:?}");
            };
            assert!(message.contains(&brought), "{message}");
        }
    }
}
