//! Vetoes: reasons why the answer to one question cannot be the answer to another, however near
//! their vectors are.
//!
//! Encoders put `turn on` beside `turn off`. A veto is found in the words: the two texts have a pair of
//! opposites, different numbers, dates or codes, one more negation, or words that changed places. It
//! carries its evidence from both. The rules are pure: the same texts get the same vetoes on every
//! host. They know English; a text in another language or script gets no veto.
//!
//! ```
//! use mneme_guest::judge::{Kinds, vetoes};
//! use mneme_guest::types::VetoKind;
//!
//! let found = vetoes("How do I turn the lights off?", "How do I turn on the lights?", Kinds::DEFAULT);
//! assert_eq!(found.len(), 1);
//! assert_eq!(found[0].kind, VetoKind::Opposites);
//! assert_eq!(found[0].query, "turn the lights off");
//! assert_eq!(found[0].entry, "turn on");
//! assert!(vetoes("switch off wifi", "turn off wifi", Kinds::DEFAULT).is_empty());
//! ```

mod bytes;
mod class;
mod dates;
mod digits;
mod fold;
mod identifiers;
mod language;
mod matching;
mod names;
mod negation;
mod numbers;
mod opposites;
mod pack;
mod roles;
mod scanner;
mod stem;
mod text;
mod tokens;

#[cfg(test)]
mod tests;

use crate::types::{Judgement, Veto, VetoKind as Kind};
use opposites::Contraries;
use text::{Left, Text};

impl Kind {
    /// All kinds, in the order in which their vetoes are listed.
    pub const ALL: [Self; 8] = [
        Self::Opposites,
        Self::Negation,
        Self::Numbers,
        Self::Dates,
        Self::Identifiers,
        Self::Roles,
        Self::Names,
        Self::QuestionWord,
    ];

    /// Its name in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opposites => "opposites",
            Self::Negation => "negation",
            Self::Numbers => "numbers",
            Self::Dates => "dates",
            Self::Identifiers => "identifiers",
            Self::Roles => "roles",
            Self::Names => "names",
            Self::QuestionWord => "question-word",
        }
    }
}

/// A set of kinds of vetoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// No veto is looked for.
    pub const NONE: Self = Self(0);
    /// Those that are seldom wrong: all but names and question words.
    pub const DEFAULT: Self = Self(0b0011_1111);
    /// All.
    pub const STRICT: Self = Self(0b1111_1111);

    /// The kind is in the set.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// The set with a kind.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The set without a kind.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// The kinds of the set, in their order.
    pub fn list(self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| self.has(*kind)).collect()
    }
}

/// A query that was read once, to be compared with several entries.
pub struct Judge<'a> {
    query: Text<'a>,
}

impl<'a> Judge<'a> {
    /// Reads a query: of a text over 8 KiB the first and the last 4 KiB, and of these up to 1,024 words.
    pub fn new(query: &'a str) -> Self {
        Self {
            query: Text::new(query),
        }
    }

    /// The reasons why the answer to an entry's query is not one to this query, at most one a kind,
    /// in the order of the kinds.
    pub fn vetoes(&self, entry: &str, kinds: Kinds) -> Judgement {
        let entry = Text::new(entry);
        let partial = self.query.is_cut || entry.is_cut;
        let mut vetoes = Vec::new();
        if self.query.is_known && entry.is_known {
            let pair = Pair {
                query: &self.query,
                entry: &entry,
                left: Left::new(&self.query, &entry),
                contraries: Contraries::new(&self.query, &entry),
            };
            for kind in Kind::ALL {
                if kinds.has(kind)
                    && let Some(evidence) = pair.find(kind)
                {
                    vetoes.push(Veto {
                        kind,
                        query: self.query.evidence(evidence.query),
                        entry: entry.evidence(evidence.entry),
                    });
                }
            }
        }
        Judgement { vetoes, partial }
    }
}

/// The reasons why the answer to `entry` is not one to `query`, at most one a kind, in the order of the
/// kinds. See [`Judge`] for several entries.
pub fn vetoes(query: &str, entry: &str, kinds: Kinds) -> Vec<Veto> {
    Judge::new(query).vetoes(entry, kinds).vetoes
}

/// Two texts, and what only one of them has.
struct Pair<'a> {
    query: &'a Text<'a>,
    entry: &'a Text<'a>,
    left: Left,
    contraries: Contraries,
}

/// The first and the last token of what a veto shows.
type Span = (usize, usize);

/// What a veto shows of both texts.
struct Evidence {
    query: Span,
    entry: Span,
}

impl Evidence {
    /// A token of each text.
    fn of(query: usize, entry: usize) -> Self {
        Self {
            query: (query, query),
            entry: (entry, entry),
        }
    }
}

impl Pair<'_> {
    fn find(&self, kind: Kind) -> Option<Evidence> {
        match kind {
            Kind::Opposites => opposites::find(self),
            Kind::Negation => negation::find(self),
            Kind::Numbers => numbers::differ(self.query, self.entry),
            Kind::Dates => dates::differ(self.query, self.entry).or_else(|| opposites::times(self)),
            Kind::Identifiers => identifiers::find(self),
            Kind::Roles => roles::find(self),
            Kind::Names => names::name(self),
            Kind::QuestionWord => names::question(self),
        }
    }
}
