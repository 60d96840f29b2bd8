//! Exit codes that several commands share.

/// An error, or a program's code that has no place in a byte.
pub const ERROR: u8 = 2;
