//! The range of numbers that every store, host and language holds exactly: 0 to 2^53 - 1.
//!
//! Times, lifetimes, ids, counts, caps and quotas lie in it, wherever they come from. So whatever
//! is stored can be dumped and loaded.

use crate::error::{Result, invalid};

/// The greatest number, 2^53 - 1.
pub const MAX: u64 = (1 << 53) - 1;

/// Refuses a number above [`MAX`]. `field` says what it is, as the subject of a sentence.
///
/// Errors: `invalid-argument`, with the field, the value and the range.
pub fn check(field: &str, value: u64) -> Result<()> {
    if value > MAX {
        return Err(invalid(format!(
            "{field} is {value}; it must be 0 to {MAX} (2^53 - 1)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Error;

    #[test]
    fn the_ends_are_inside() {
        assert_eq!(check("the ttl", 0), Ok(()));
        assert_eq!(check("the ttl", 9_007_199_254_740_991), Ok(()));
        for beyond in [9_007_199_254_740_992, u64::MAX] {
            match check("the ttl", beyond) {
                Err(Error::InvalidArgument(message)) => {
                    for part in ["the ttl", &beyond.to_string(), "9007199254740991"] {
                        assert!(message.contains(part), "{message}");
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
