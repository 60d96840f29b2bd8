//! Confidence, validator and readability: what may answer.

use crate::host::Host;
use crate::types::{Candidate, ConfidenceRule, Reading, ValidatorRule};

/// A response that begins with one of these is a failure that was cached by mistake.
const FAILURE_MARKS: [&str; 2] = ["[LLM Error]", "[ERROR]"];

/// The confidence of an entry, 0 to 1.
pub fn confidence(
    rule: &ConfidenceRule,
    host: &impl Host,
    similarity: f32,
    age_seconds: u64,
    metadata: &str,
) -> f32 {
    let value = match rule {
        ConfidenceRule::Decay(decay) if decay.cut_off == 0.0 => similarity,
        ConfidenceRule::Decay(decay) => {
            let half_lives = age_seconds as f64 / decay.half_life_seconds as f64;
            (f64::from(similarity) * 0.5_f64.powf(half_lives)) as f32
        }
        ConfidenceRule::Host(_) => host.confidence(similarity, age_seconds, metadata),
    };
    if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0)
    }
}

/// The least confidence of a candidate that answers.
pub fn cut_off(rule: &ConfidenceRule) -> f32 {
    match rule {
        ConfidenceRule::Decay(decay) => decay.cut_off,
        ConfidenceRule::Host(cut_off) => *cut_off,
    }
}

/// Whether a response may answer. The candidate holds copies, so it is made only for the host's
/// own validator.
pub fn accepts(
    rule: ValidatorRule,
    host: &impl Host,
    response: &str,
    candidate: impl FnOnce() -> Candidate,
) -> bool {
    match rule {
        ValidatorRule::None => true,
        ValidatorRule::Host => host.accept(&candidate()),
        ValidatorRule::Builtin => {
            let response = response.trim_start();
            !response.is_empty() && !FAILURE_MARKS.iter().any(|mark| response.starts_with(mark))
        }
    }
}

/// Whether a vector stands for its text: every token was read, and at most a quarter of them were
/// unknown.
pub fn is_readable(reading: &Reading) -> bool {
    let Reading {
        tokens,
        tokens_read,
        tokens_unknown,
    } = *reading;
    tokens_read > 0 && tokens_read >= tokens && tokens_unknown <= tokens_read / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::defaults;
    use crate::testing::TestHost;
    use crate::types::Decay;

    fn accepted(response: &str) -> bool {
        accepts(
            ValidatorRule::Builtin,
            &TestHost::default(),
            response,
            || unreachable!("only the host's validator needs it"),
        )
    }

    #[test]
    fn the_builtin_validator_refuses_failures() {
        for bad in ["", " \n", "[ERROR] no", "[LLM Error]", "  [ERROR]"] {
            assert!(!accepted(bad), "{bad:?}");
        }
        for good in ["yes", "see [ERROR] codes", "[error] x"] {
            assert!(accepted(good), "{good:?}");
        }
    }

    #[test]
    fn texts_that_were_cut_or_are_unknown_are_unreadable() {
        let readable = |tokens, tokens_read, tokens_unknown| {
            is_readable(&Reading {
                tokens,
                tokens_read,
                tokens_unknown,
            })
        };
        assert!(readable(126, 126, 0) && readable(8, 8, 2) && readable(1, 1, 0));
        assert!(!readable(127, 126, 0), "cut");
        assert!(!readable(8, 8, 3) && !readable(3, 3, 1), "unknown");
        assert!(!readable(0, 0, 0), "nothing to compare");
        assert!(!readable(u32::MAX, 1, u32::MAX));
    }

    #[test]
    fn confidence_halves_each_half_life() {
        let host = TestHost::default();
        let off = defaults("f", 2).confidence;
        assert_eq!(confidence(&off, &host, 0.9, 86_400, "{}"), 0.9);
        let rule = ConfidenceRule::Decay(Decay {
            half_life_seconds: 86_400,
            cut_off: 0.7,
        });
        assert_eq!(confidence(&rule, &host, 0.9, 0, "{}"), 0.9);
        assert_eq!(confidence(&rule, &host, 0.9, 86_400, "{}"), 0.45);
        assert_eq!(confidence(&rule, &host, 1.0, u64::MAX, "{}"), 0.0);
        assert_eq!(confidence(&rule, &host, -0.5, 0, "{}"), 0.0);
    }
}
