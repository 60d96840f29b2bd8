//! The parameters of a store's URL: what stands after its question mark.

use std::time::Duration;

use super::{Result, StoreError};

/// The parameters of a URL, each given once and known to the store. No error repeats more of the
/// URL than what looks like the name of a parameter, as a password may be in the wrong place.
///
/// ```
/// use std::time::Duration;
/// use mneme_store::parameters::Parameters;
///
/// let known = ["prefix", "call_timeout_ms"];
/// let given = [("prefix", "answers")];
/// let mut parameters = Parameters::read("a Redis store", given, &known, true)?;
/// let timeout = parameters.milliseconds("call_timeout_ms", Duration::from_secs(10))?;
/// assert_eq!(timeout, Duration::from_secs(10));
/// assert_eq!(parameters.take("prefix").as_deref(), Some("answers"));
/// # Ok::<(), mneme_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Parameters {
    store: &'static str,
    given: Vec<(String, String)>,
}

impl Parameters {
    /// The parameters of the URL of a store, whose name has an article, from their decoded names
    /// and values. With `names_shown`, an error repeats an unknown name that looks like one.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for one that is not known or given twice.
    pub fn read<T: Into<String>>(
        store: &'static str,
        pairs: impl IntoIterator<Item = (T, T)>,
        known: &[&str],
        names_shown: bool,
    ) -> Result<Self> {
        let mut given: Vec<(String, String)> = Vec::new();
        for (number, (name, value)) in (1..).zip(pairs) {
            let (name, value) = (name.into(), value.into());
            if !known.contains(&&*name) {
                let which = match names_shown && is_name(&name) {
                    true => format!("the parameter {name}, which is not known"),
                    false => format!(
                        "a parameter that is not known, as number {number} after the question mark"
                    ),
                };
                return Err(StoreError::InvalidArgument(format!(
                    "the URL of {store} has {which}; known are {}",
                    known.join(", ")
                )));
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(StoreError::InvalidArgument(format!(
                    "the URL of {store} says {name} twice; leave one of them out"
                )));
            }
            given.push((name, value));
        }
        Ok(Self { store, given })
    }

    /// The value of a parameter, once.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let index = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.remove(index).1)
    }

    /// A time in milliseconds, or `default`.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for anything but a whole number from 1 to 2^32 - 1.
    pub fn milliseconds(&mut self, name: &str, default: Duration) -> Result<Duration> {
        let Some(text) = self.take(name) else {
            return Ok(default);
        };
        match text.parse::<u32>() {
            Ok(count) if count > 0 => Ok(Duration::from_millis(count.into())),
            _ => Err(StoreError::InvalidArgument(format!(
                "the parameter {name} in the URL of {} is not a whole number of milliseconds from 1 to {}",
                self.store,
                u32::MAX
            ))),
        }
    }

    /// The names and values that were not taken.
    pub fn rest(self) -> Vec<(String, String)> {
        self.given
    }
}

/// Whether a text looks like a misspelt name, and not like a part of a password.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 30
        && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters> {
        let pairs = pairs.iter().map(|&(name, value)| (name, value));
        Parameters::read("a store", pairs, &["a", "ms"], true)
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(StoreError::InvalidArgument(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_known_is_taken_once() {
        let mut parameters = read(&[("ms", "7"), ("a", "x y")]).unwrap();
        let default = Duration::from_secs(1);
        let ms = parameters.milliseconds("ms", default).unwrap();
        assert_eq!(ms, Duration::from_millis(7));
        assert_eq!(parameters.milliseconds("ms", default), Ok(default));
        assert_eq!(parameters.rest(), [("a".to_owned(), "x y".to_owned())]);
    }

    #[test]
    fn no_error_repeats_a_value_or_what_may_be_one() {
        let mut no_number = Vec::new();
        for text in ["", "0", "-1", "1s", "secret", "4294967296"] {
            let mut parameters = read(&[("ms", text)]).unwrap();
            no_number.push(message(parameters.milliseconds("ms", Duration::ZERO)));
        }
        assert!(no_number.iter().all(|said| said.contains("from 1")));
        let misspelt = message(read(&[("sm", "secret")]));
        assert!(misspelt.contains("the parameter sm,"), "{misspelt}");
        let unknown = message(read(&[("a", "b"), ("secret@h", "secret")]));
        assert!(unknown.contains("number 2"), "{unknown}");
        assert!(unknown.contains("known are a, ms"), "{unknown}");
        let twice = message(read(&[("a", "secret"), ("a", "secret")]));
        assert!(twice.contains("says a twice"), "{twice}");
        for said in no_number.iter().chain([&misspelt, &unknown, &twice]) {
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
