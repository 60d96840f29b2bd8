//! Which ids are in use.

/// The ids in use within a range. Entries deleted since are among them; new ones have
/// greater ids.
#[derive(Debug)]
pub(super) struct Live {
    pub after: u64,
    pub last: u64,
    /// Ascending.
    pub ids: Vec<u64>,
}

impl Live {
    /// The first ids above `id`, at most `most`; none where that is beyond the range.
    pub fn beyond(&self, id: u64, most: usize) -> Option<&[u64]> {
        let within = self.after <= id && id < self.last;
        within.then(|| {
            let first = self.ids.partition_point(|&live| live <= id);
            let rest = &self.ids[first..];
            &rest[..rest.len().min(most)]
        })
    }
}
