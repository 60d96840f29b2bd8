//! What DynamoDB takes at once.

/// Entries of one `insert` or `write_import`. Nine of the largest items, and item 0 at its
/// largest, stay below the 4 MB that one transaction may have.
pub(super) const MAX_BATCH: u32 = 9;

/// Bytes of a blob. It is one item, also for servers that count the base64 of its bytes.
pub(super) const MAX_BLOB: u32 = 300_000;

/// Items that one transaction may have.
pub(super) const MAX_ITEMS: usize = 100;

/// The largest item, names of attributes included.
pub(super) const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Entries that one transaction deletes: each takes two of the hundred items that it may
/// have, and item 0 takes one.
pub(super) const MAX_DELETE: u32 = 49;

/// Entries that one transaction touches.
pub(super) const MAX_TOUCH: usize = 50;
