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
    /// No run has yet been allowed to fill the target.
    trying: bool,
}

impl Content {
    /// What a mark says, if a run was allowed to fill the target and has not ended.
    fn begun(mark: Option<&str>) -> Option<Self> {
        let content: Content = serde_json::from_str(mark?).ok()?;
        (!content.trying).then_some(content)
    }

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
        let begun = Content::begun(before.as_deref());
        let of_source = source.read_meta(META_KEY)?;
        // At every moment the mark says what an earlier run has begun, for this one may end here.
        let mut content = Content {
            from: match &begun {
                Some(begun) => begun.from.clone(),
                None => source_name.to_owned(),
            },
            run: nonce(),
            trying: begun.is_none(),
        };
        let trial = content.text();
        replace(target, before.as_deref(), Some(&trial))?;
        let begun = begun.as_ref();
        match check(source, target, &trial, begun, of_source, source_name, merge) {
            Ok(resumed) => {
                content.from = source_name.to_owned();
                content.trying = false;
                let text = content.text();
                if text != trial {
                    replace(target, Some(&trial), Some(&text))?;
                }
                Ok(Mark { text, resumed })
            }
            Err(error) => {
                // The error is what matters; a trial that stays means nothing to the next run.
                let before = before.as_deref().filter(|_| begun.is_some());
                let _ = replace(target, Some(&trial), before);
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

fn replace(target: &mut dyn Store, expected: Option<&str>, text: Option<&str>) -> Result<()> {
    match target.replace_meta(META_KEY, expected, text)? {
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
    begun: Option<&Content>,
    of_source: Option<String>,
    source_name: &str,
    merge: bool,
) -> Result<bool> {
    let refuse = |why: String| Err(Error::InvalidArgument(why));
    // Whatever the addresses look like, what is written to one is read from the other.
    if source.read_meta(META_KEY)?.as_deref() == Some(trial) {
        return refuse("source and target are the same store; give another target".into());
    }
    if Content::begun(of_source.as_deref()).is_some() {
        return refuse(
            "the source is itself the target of a migration that has not ended; end that first"
                .into(),
        );
    }
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
