//! The state as text, for the store: a line of ASCII without quotes, of about 600 bytes where all
//! bins have counts.
//!
//! Words are separated by spaces: the version, the requests seen and those without a candidate, then
//! `bin=requests,same,different,unknown` and `kind=same,different,unknown` where these are not all 0,
//! then a checksum. Numbers but those of bins are hexadecimal.

use super::state::{BINS, Bin, Labels, State};
use crate::range;
use crate::types::VetoKind as Kind;
use std::fmt::Write;

/// Another meaning of the numbers, the bins included, takes another version.
const VERSION: &str = "bound1";

impl State {
    /// As text: the same for equal states.
    pub fn to_text(&self) -> String {
        let mut text = format!("{VERSION} {:x} {:x}", self.seen, self.others);
        for (at, bin) in self.bins.iter().enumerate() {
            if *bin != Bin::default() {
                let Labels {
                    same,
                    different,
                    unknown,
                } = bin.labels;
                let requests = bin.requests;
                write!(
                    text,
                    " {at}={requests:x},{same:x},{different:x},{unknown:x}"
                )
                .expect("a string takes all that is written");
            }
        }
        for (kind, labels) in Kind::ALL.into_iter().zip(&self.vetoes) {
            if *labels != Labels::default() {
                let Labels {
                    same,
                    different,
                    unknown,
                } = *labels;
                let name = kind.name();
                write!(text, " {name}={same:x},{different:x},{unknown:x}")
                    .expect("a string takes all that is written");
            }
        }
        let sum = crc32fast::hash(text.as_bytes());
        write!(text, " {sum:08x}").expect("a string takes all that is written");
        text
    }

    /// From text; none for every text that [`State::to_text`] does not give. Whoever gets none
    /// starts over with `State::default()`: nothing is lost but labels.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut state = Self::default();
        let mut words = text.split(' ').skip(1);
        state.seen = number(words.next()?)?;
        state.others = number(words.next()?)?;
        for word in words {
            let Some((name, counts)) = word.split_once('=') else {
                // The checksum, which is compared below.
                break;
            };
            let mut counts = counts.split(',').map(number);
            let mut next = || counts.next().flatten();
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            let labels = match kind {
                Some(kind) => &mut state.vetoes[kind as usize],
                None => {
                    let at: usize = name.parse().ok().filter(|at| *at < BINS)?;
                    state.bins[at].requests = next()?;
                    &mut state.bins[at].labels
                }
            };
            *labels = Labels {
                same: next()?,
                different: next()?,
                unknown: next()?,
            };
        }
        // Whatever was overlooked above, the checksum and the order of words among it, is seen here.
        (state.to_text() == text).then_some(state)
    }
}

/// A hexadecimal number in the range of all counts.
fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|number| *number <= range::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Label;
    use super::*;
    use proptest::prelude::*;

    /// What happens to a state.
    fn step() -> impl Strategy<Value = (u8, f32)> {
        (0_u8..14, 0.4_f32..1.1)
    }

    fn state(steps: &[(u8, f32)], times: usize) -> State {
        let mut state = State::default();
        for (what, score) in steps.iter().cycle().take(steps.len() * times) {
            match what {
                0 => state.observe(None),
                1 | 2 => state.observe(Some(*score)),
                3 => state.label(*score, Label::Same),
                4 => state.label(*score, Label::Different),
                5 => state.label(*score, Label::Unknown),
                kind => state.label_veto(Kind::ALL[usize::from(kind - 6)], Label::Different),
            }
        }
        state
    }

    #[test]
    fn it_is_a_few_hundred_bytes() {
        let mut state = State::default();
        for n in 0..6_000_u16 {
            let score = f32::from(n % 100) / 100.0;
            state.observe(Some(score));
            state.label(
                score,
                [Label::Same, Label::Different][usize::from(n / 100 % 2)],
            );
        }
        let text = state.to_text();
        assert!((300..700).contains(&text.len()), "{} {text}", text.len());
        assert_eq!(State::from_text(&text), Some(state));
    }

    #[test]
    fn text_of_another_version_or_damaged_starts_over() {
        let mut state = State::default();
        state.observe(Some(0.9));
        state.label(0.9, Label::Same);
        state.label_veto(Kind::Dates, Label::Different);
        let text = state.to_text();
        assert_eq!(State::from_text(&text), Some(state));
        // With a checksum that is right.
        let resummed = |body: &str| format!("{body} {:08x}", crc32fast::hash(body.as_bytes()));
        let body = &text[..text.len() - 9];
        assert_eq!(resummed(body), text);
        assert_eq!(body, "bound1 1 0 20=100,100,0,0 dates=0,100,0");
        for (from, to) in [
            ("bound1", "bound2"),
            (" 1 0", " -1 0"),
            (" 1 0", " NaN 0"),
            (" 1 0", " 1"),
            (" 1 0", " 01 0"),
            (" 1 0", " +1 0"),
            (" 1 0", " 20000000000000 0"),
            (" 1 0", "  1 0"),
            ("20=", "30="),
            ("20=", "-1="),
            ("20=", "inf="),
            ("20=", "020="),
            ("20=100,100,0,0", "20=100,100,0"),
            ("20=100,100,0,0", "20=100,100,0,0,0"),
            ("20=100,100,0,0", "20=0,0,0,0"),
            ("20=100,100,0,0", "20=100,-100,0,0"),
            ("20=100,100,0,0", "20=100,100,0,0 20=100,100,0,0"),
            ("dates=0,100,0", "dates=0,100"),
            ("dates=0,100,0", "days=0,100,0"),
            ("dates=0,100,0", "dates=0,100,0 19=100,100,0,0"),
        ] {
            let damaged = resummed(&body.replacen(from, to, 1));
            assert_ne!(damaged, text);
            assert_eq!(State::from_text(&damaged), None, "{damaged}");
        }
        for damaged in [
            "",
            " ",
            "bound1",
            "bound1 1 0",
            body,
            "{}",
            "\0",
            "bound1 é",
        ] {
            assert_eq!(State::from_text(damaged), None, "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn text_gives_the_state_back(
            steps in prop::collection::vec(step(), 1..60), times in 1_usize..200,
        ) {
            let state = state(&steps, times);
            prop_assert_eq!(State::from_text(&state.to_text()), Some(state));
        }

        #[test]
        fn a_changed_byte_starts_over(
            steps in prop::collection::vec(step(), 1..60), at: prop::sample::Index, to in 0_u8..128,
        ) {
            let text = state(&steps, 1).to_text();
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let damaged = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(State::from_text(&damaged).is_some(), damaged == text);
            prop_assert_eq!(State::from_text(&text[..at]), None);
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,80}", words in "bound1( [0-9a-f=,]{0,12}){0,9}") {
            for text in [text, words] {
                if let Some(state) = State::from_text(&text) {
                    prop_assert_eq!(state.to_text(), text);
                }
            }
        }
    }
}
