//! How questions are compared, in every command that opens a cache.

use clap::ValueEnum;
use mneme::calibration::Comparison;
use mneme::{Builder, IndexKind, VetoKind};

const HEADING: &str = "Comparing questions";

/// What decides whether two questions are the same.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Comparing {
    /// Compare case and white space too, as code needs it: `US` is not `us`. Entries that were
    /// stored without it are not found by their words
    #[arg(long, global = true, help_heading = HEADING)]
    pub keep_case: bool,

    /// Compare texts by meaning although the embedder cannot read them to the end, or does
    /// not know their script. Different ones may then seem to be the same
    #[arg(long, global = true, help_heading = HEADING)]
    pub allow_unreadable: bool,

    /// Trust an answer less as it ages: its confidence, the similarity at first, halves in so many
    /// seconds, and below the cut-off, 0 to 1, it does not answer. Default: age does not count
    #[arg(long, global = true, value_name = "SECONDS,CUT_OFF", value_parser = decay, help_heading = HEADING)]
    pub decay: Option<(u64, f32)>,

    /// Which reasons in the words keep a similar question from answering (`turn on`, `turn off`): default,
    /// none, strict (adds names and question-word), or a list of opposites, negation, numbers, dates,
    /// identifiers, roles, names, question-word
    #[arg(long, global = true, value_name = "KINDS", default_value = "default", value_parser = vetoes, help_heading = HEADING)]
    pub vetoes: Vetoes,

    /// Where vectors are searched: in an index in memory, or by the store itself, which holds more than
    /// fits into memory (Postgres with pgvector: `postgres://...?nearest=vector`)
    #[arg(long, global = true, value_enum, default_value = "memory", help_heading = HEADING)]
    pub index: Place,
}

/// Where vectors are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Place {
    #[default]
    Memory,
    Store,
}

/// Which vetoes are looked for.
#[derive(Debug, Clone, Default)]
pub struct Vetoes(Option<Vec<VetoKind>>);

impl Comparing {
    /// How pairs of questions are compared.
    pub fn comparison(&self) -> Comparison {
        Comparison {
            normalize: !self.keep_case,
            allow_unreadable: self.allow_unreadable,
            vetoes: self.vetoes.0.clone(),
        }
    }

    /// Sets these options.
    pub fn apply(&self, builder: Builder) -> Builder {
        let builder = match self.vetoes.0.clone() {
            Some(kinds) => builder.vetoes(kinds),
            None => builder,
        };
        let builder = builder
            .normalize(!self.keep_case)
            .allow_unreadable(self.allow_unreadable)
            .index(match self.index {
                Place::Memory => IndexKind::Auto,
                Place::Store => IndexKind::Store,
            });
        match self.decay {
            Some((half_life, cut_off)) => builder.confidence_decay(half_life, cut_off),
            None => builder,
        }
    }
}

/// Parses the kinds of vetoes.
pub fn vetoes(text: &str) -> Result<Vetoes, String> {
    let one = |name: &str| VetoKind::named(name.trim());
    match text.trim() {
        "default" => Ok(Vetoes(None)),
        "none" => Ok(Vetoes(Some(Vec::new()))),
        "strict" => Ok(Vetoes(Some(VetoKind::ALL.into()))),
        list => match list.split(',').map(one).collect() {
            Some(kinds) => Ok(Vetoes(Some(kinds))),
            None => Err(format!(
                "default, none, strict, or a list of {} is needed, with commas",
                VetoKind::ALL
                    .map(VetoKind::name)
                    .join(", ")
                    .replace('_', "-")
            )),
        },
    }
}

fn decay(text: &str) -> Result<(u64, f32), String> {
    let parse = || {
        let (half_life, cut_off) = text.split_once(',')?;
        Some((half_life.trim().parse().ok()?, cut_off.trim().parse().ok()?))
    };
    match parse() {
        Some((half_life, cut_off)) if half_life > 0 && (0.0..=1.0).contains(&cut_off) => {
            Ok((half_life, cut_off))
        }
        _ => Err("a half-life in seconds, at least 1, a comma, and a cut-off from 0 to 1 are needed, such as 86400,0.7".into()),
    }
}
