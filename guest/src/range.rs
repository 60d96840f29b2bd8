//! The range of times, durations, ids, counts and quotas, at every door.

use crate::error::{Result, invalid};

/// The greatest value: 2^53 - 1, which every backend, JSON and JavaScript hold exactly.
pub const MAX: u64 = (1 << 53) - 1;

/// Refuses a value above [`MAX`]. `field` names it.
pub fn check(field: &str, value: u64) -> Result<()> {
    if value <= MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "{field} is {value}; the greatest allowed is {MAX} (2^53 - 1)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_ends_below_two_to_the_53rd() {
        assert!(check("x", MAX).is_ok());
        let error = check("the quota", 1 << 53).unwrap_err();
        assert!(format!("{error:?}").contains("the quota is 9007199254740992"));
    }
}
