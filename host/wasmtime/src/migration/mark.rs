//! The mark in a target that is being filled.

use crate::error::{Error, Result};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// The meta key that marks a target until its migration has ended.
pub const META_KEY: &str = "migration";

/// What a target says of its migration.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The name of the source.
    from: String,
    /// What no other run has.
    run: String,
    /// It is not decided yet whether the target may be filled.
    trying: bool,
}

impl Content {
    fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// A target that may be filled.
pub(super) struct Mark {
    text: String,
    /// An earlier run has begun to.
    pub resumed: bool,
}

impl Mark {
    /// Marks the target as being filled from this source, if it may be.
    pub fn set(
        source: &mut dyn Store,
        target: &mut dyn Store,
        source_name: &str,
        merge: bool,
    ) -> Result<Self> {
        let before = target.read_meta(META_KEY)?;
        let of_source = source.read_meta(META_KEY)?;
        let mut content = Content {
            from: source_name.to_owned(),
            run: nonce(),
            trying: true,
        };
        let trial = content.text();
        replace(target, before.as_deref(), &trial)?;
        match check(
            source,
            target,
            &trial,
            before.as_deref(),
            of_source,
            source_name,
            merge,
        ) {
            Ok(resumed) => {
                content.trying = false;
                let text = content.text();
                replace(target, Some(&trial), &text)?;
                Ok(Mark { text, resumed })
            }
            Err(error) => {
                // The error is what matters; a trial that stays means nothing to the next run.
                let _ = target.replace_meta(META_KEY, Some(&trial), before.as_deref());
                Err(error)
            }
        }
    }

    /// Removes the mark: the target is complete.
    pub fn remove(self, target: &mut dyn Store) -> Result<()> {
        target.replace_meta(META_KEY, Some(&self.text), None)?;
        Ok(())
    }
}

fn replace(target: &mut dyn Store, expected: Option<&str>, text: &str) -> Result<()> {
    match target.replace_meta(META_KEY, expected, Some(text))? {
        true => Ok(()),
        false => Err(Error::Backend {
            message: "another migration into the target has just begun; let it end".into(),
            retryable: true,
        }),
    }
}

/// Whether an earlier run has begun to fill the target, which it may.
fn check(
    source: &mut dyn Store,
    target: &mut dyn Store,
    trial: &str,
    before: Option<&str>,
    of_source: Option<String>,
    source_name: &str,
    merge: bool,
) -> Result<bool> {
    let refuse = |why: String| Err(Error::InvalidArgument(why));
    // Whatever the addresses look like, what is written to one is read from the other.
    if source.read_meta(META_KEY)?.as_deref() == Some(trial) {
        return refuse("source and target are the same store; give another target".into());
    }
    if of_source.is_some() {
        return refuse(
            "the source is itself the target of a migration that has not ended; end that first"
                .into(),
        );
    }
    let begun = before.and_then(|text| serde_json::from_str::<Content>(text).ok());
    let begun = begun.filter(|content| !content.trying);
    let entries = target.count(None)?;
    match begun {
        _ if entries == 0 || merge => {}
        None => {
            return refuse(format!(
                "the target has {entries} entries; merge into it, or give an empty one"
            ));
        }
        Some(content) if content.from != source_name => {
            return refuse(format!(
                "the target is half filled from another source ({:?}, not {source_name:?}); end that migration first, or merge",
                content.from
            ));
        }
        Some(_) => return Ok(true),
    }
    Ok(begun.is_some() && entries > 0)
}

/// A text that no other run has.
fn nonce() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let random = RandomState::new().hash_one((std::process::id(), now.unwrap_or_default()));
    format!("{random:016x}")
}
