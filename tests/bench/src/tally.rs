//! What was measured.

use std::collections::BTreeMap;

/// A kind of work, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    ExactHit,
    SemanticHit,
    SemanticMiss,
    Put,
    TenantHit,
    OpenExact,
    OpenPersisted,
    Open,
    Build,
    Dump(Archive),
    Load(Archive),
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Archive {
    /// gzip at a level.
    Gzip(u8),
    /// zstd.
    Zstd,
}

impl Archive {
    /// What is measured. The peer's archives are gzip at level 9.
    pub const ALL: [Archive; 4] = [
        Archive::Gzip(1),
        Archive::Gzip(6),
        Archive::Gzip(9),
        Archive::Zstd,
    ];

    fn name(self) -> String {
        match self {
            Archive::Gzip(level) => format!("gzip-{level}"),
            Archive::Zstd => "zstd".into(),
        }
    }
}

impl Work {
    /// Its name in JSON and tables.
    pub fn name(self) -> String {
        match self {
            Work::ExactHit => "exact-hit".into(),
            Work::SemanticHit => "semantic-hit".into(),
            Work::SemanticMiss => "semantic-miss".into(),
            Work::Put => "put".into(),
            Work::TenantHit => "tenant-hit".into(),
            Work::OpenExact => "open-exact".into(),
            Work::OpenPersisted => "open-persisted".into(),
            Work::Open => "open".into(),
            Work::Build => "build".into(),
            Work::Dump(archive) => format!("dump-{}", archive.name()),
            Work::Load(archive) => format!("load-{}", archive.name()),
        }
    }
}

/// Calls of one kind by one contender.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Nanoseconds of each.
    times: Vec<u64>,
    right: u64,
    judged: u64,
}

impl Tally {
    /// Adds calls, by their nanoseconds.
    pub fn extend(&mut self, times: impl IntoIterator<Item = u64>) {
        self.times.extend(times);
    }

    /// How many calls.
    pub fn calls(&self) -> usize {
        self.times.len()
    }

    /// The time that this share of the calls does not exceed, in microseconds.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let at = (share * sorted.len() as f64).ceil() as usize;
        let nanos = sorted.get(at.saturating_sub(1))?;
        Some(*nanos as f64 / 1000.0)
    }

    /// The share of answers that were the nearest entry; none where that was not judged.
    pub fn recall(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }
}

/// One contender on one corpus.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Ours: the kind of the index. A peer: its name.
    pub name: String,
    /// Candidates that an approximate index keeps while it searches.
    pub ef: Option<u32>,
    /// Bytes of memory: ours, of the index; a peer, what its process grew by.
    pub memory: Option<u64>,
    /// Its calls.
    pub work: BTreeMap<Work, Tally>,
}

impl Side {
    /// Without calls yet.
    pub fn new(name: impl Into<String>) -> Self {
        Side {
            name: name.into(),
            ..Side::default()
        }
    }

    /// Adds calls.
    pub fn add(&mut self, work: Work, times: impl IntoIterator<Item = u64>) {
        self.work.entry(work).or_default().extend(times);
    }

    /// Adds how many of the answers were right.
    pub fn judge(&mut self, work: Work, right: u64, judged: u64) {
        let tally = self.work.entry(work).or_default();
        tally.right += right;
        tally.judged += judged;
    }
}

/// What was measured on one corpus with one dtype.
#[derive(Debug, Clone)]
pub struct Cell {
    pub entries: usize,
    pub dim: usize,
    pub dtype: &'static str,
    /// Among how many namespaces the entries are divided; none: all in one.
    pub namespaces: Option<usize>,
    pub ours: Vec<Side>,
    pub peers: Vec<Side>,
}

/// One line of the result: ours, beside a peer if one takes part.
pub struct Row<'a> {
    pub cell: &'a Cell,
    pub work: Work,
    pub ours: (&'a Side, &'a Tally),
    pub peer: Option<(&'a Side, &'a Tally)>,
}

impl Row<'_> {
    /// How many times as long the peer takes.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.peer?.1.quantile(0.5)? / self.ours.1.quantile(0.5)?)
    }
}

impl Cell {
    /// The lines, by work.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        let mut works: Vec<Work> = self
            .ours
            .iter()
            .flat_map(|s| s.work.keys().copied())
            .collect();
        works.sort_unstable();
        works.dedup();
        for work in works {
            let did = |side| Side::tally(side, work);
            let peers: Vec<_> = self.peers.iter().filter_map(did).collect();
            for ours in self.ours.iter().filter_map(did) {
                let mut row = |peer| {
                    rows.push(Row {
                        cell: self,
                        work,
                        ours,
                        peer,
                    });
                };
                match peers.is_empty() {
                    true => row(None),
                    false => peers.iter().for_each(|&peer| row(Some(peer))),
                }
            }
        }
        rows
    }
}

impl Side {
    fn tally(&self, work: Work) -> Option<(&Side, &Tally)> {
        let tally = self.work.get(&work).filter(|tally| tally.calls() > 0)?;
        Some((self, tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_recall() {
        let mut side = Side::new("auto");
        side.add(Work::Put, (1..=100).map(|n| n * 1000));
        side.judge(Work::Put, 3, 4);
        let tally = &side.work[&Work::Put];
        assert_eq!(tally.quantile(0.5), Some(50.0));
        assert_eq!(tally.quantile(0.99), Some(99.0));
        assert_eq!(tally.recall(), Some(0.75));
        assert_eq!(Tally::default().quantile(0.5), None);
    }
}
