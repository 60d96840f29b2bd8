//! What is decided, on states made by hand and on a synthetic stream.

use super::*;
use crate::types::VetoKind as Kind;
use crate::types::{BoundState, Error};

fn requests() -> ErrorBound {
    ErrorBound {
        of: Of::Requests,
        ..DEFAULT
    }
}

/// So many requests of a score, each with a label; of these the last are wrong.
fn labelled(state: &mut State, score: f32, same: u32, label: Label, wrong: u32) {
    for n in 0..same + wrong {
        state.observe(Some(score));
        state.label(score, if n < same { Label::Same } else { label });
    }
}

#[test]
fn defaults_are_valid_and_what_is_out_of_range_is_named() {
    assert_eq!(DEFAULT.check(), Ok(()));
    let good = || DEFAULT;
    let bad = |name: &str, bound: ErrorBound| match bound.check() {
        Err(Error::InvalidArgument(message)) => assert!(message.contains(name), "{message}"),
        other => panic!("{name}: {other:?}"),
    };
    for delta in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        bad("delta", ErrorBound { delta, ..good() });
    }
    for explore in [-0.01, 1.01, f64::NAN] {
        bad("explore", ErrorBound { explore, ..good() });
    }
    for confidence in [0.5, 1.0, f64::NAN] {
        bad(
            "confidence",
            ErrorBound {
                confidence,
                ..good()
            },
        );
    }
    for floor in [-1.01, 1.0, f32::NAN] {
        bad("floor", ErrorBound { floor, ..good() });
    }
    for valid in [
        ErrorBound {
            delta: 1e-300,
            explore: 0.0,
            floor: -1.0,
            ..good()
        },
        ErrorBound {
            delta: 1.0 - 1e-16,
            explore: 1.0,
            confidence: 0.999,
            ..good()
        },
    ] {
        assert_eq!(valid.check(), Ok(()));
    }
}

#[test]
fn nothing_is_open_without_labels() {
    for bound in [DEFAULT, requests()] {
        let mut state = State::default();
        assert_eq!(state.threshold(&bound), None);
        assert!(!state.switched_off(Kind::Dates, &bound));
        for n in 0..5_000_u16 {
            state.observe((n % 7 != 0).then_some(0.99));
        }
        assert_eq!(state.threshold(&bound), None);
        let report = state.report(&bound);
        assert_eq!((report.labels, report.bound_now), (0.0, None));
        // The fewest of which five may be wrong: of 208, at most 5 % are at 95 %.
        assert_eq!(report.why, Why::TooFewLabels { needed: 208 });
    }
}

#[test]
fn a_threshold_opens_with_its_last_needed_label() {
    let bound = DEFAULT;
    let mut state = State::default();
    let mut needed = 208;
    while let Why::TooFewLabels { needed: now } = state.report(&bound).why {
        assert!(now <= needed, "{now} after {needed}");
        needed = now;
        labelled(&mut state, 0.9, 1, Label::Same, 0);
    }
    let report = state.report(&bound);
    assert_eq!(
        (needed, report.why, report.threshold),
        (1, Why::Open, Some(0.9))
    );
    // Of one label in the past, a little less is left.
    assert!((208.0..210.0).contains(&report.labels), "{report:?}");
    assert!(report.bound_now.unwrap() < 0.017, "{report:?}");
}

#[test]
fn scores_of_one_bin_are_one_and_those_outside_are_no_candidates() {
    let mut state = State::default();
    for score in [0.99, 0.995, 1.0, 1.000_000_1, f32::INFINITY] {
        labelled(&mut state, score, 60, Label::Same, 0);
    }
    for score in [0.499_9, 0.0, -1.0, f32::NAN, f32::NEG_INFINITY] {
        labelled(&mut state, score, 0, Label::Different, 30);
    }
    let report = state.report(&DEFAULT);
    assert_eq!((report.threshold, report.wrong), (Some(0.99), 0.0));
    assert!((400.0..=450.0).contains(&report.requests), "{report:?}");
    assert!((250.0..=300.0).contains(&report.labels), "{report:?}");
}

#[test]
fn the_first_threshold_that_fails_ends_the_scan() {
    let bound = DEFAULT;
    let mut state = State::default();
    labelled(&mut state, 0.95, 450, Label::Same, 0);
    assert_eq!(state.threshold(&bound), Some(0.95));
    labelled(&mut state, 0.9, 60, Label::Different, 60);
    assert_eq!(state.threshold(&bound), Some(0.95));
    // With these, all above 0.8 are wrong less often than they may.
    labelled(&mut state, 0.8, 1_100, Label::Same, 0);
    assert_eq!(state.threshold(&bound), Some(0.95));
    let floor = ErrorBound {
        floor: 0.96,
        ..bound
    };
    assert_eq!(state.threshold(&floor), None);
}

#[test]
fn bins_without_labels_open_nothing_and_block_nothing() {
    let bound = DEFAULT;
    let mut state = State::default();
    for _ in 0..300 {
        state.observe(Some(0.99));
    }
    labelled(&mut state, 0.95, 5, Label::Same, 0);
    assert_eq!(state.threshold(&bound), None);
    labelled(&mut state, 0.9, 250, Label::Same, 0);
    assert_eq!(state.threshold(&bound), Some(0.9));
    // They are as bad as those below them.
    labelled(&mut state, 0.9, 0, Label::Different, 30);
    assert_eq!(state.threshold(&bound), None);
    assert_eq!(state.report(&bound).why, Why::LabelsErr);
}

#[test]
fn what_most_answers_come_from_needs_labels_most() {
    let bound = DEFAULT;
    let mut state = State::default();
    labelled(&mut state, 0.95, 40, Label::Same, 0);
    labelled(&mut state, 0.9, 400, Label::Same, 0);
    assert_eq!(state.threshold(&bound), Some(0.9));
    // Now the fewest labels speak for most answers.
    for _ in 0..500 {
        state.observe(Some(0.95));
    }
    assert_eq!(state.threshold(&bound), None);
    assert!(matches!(state.report(&bound).why, Why::TooFewLabels { .. }));
}

#[test]
fn of_all_requests_more_answers_may_be_wrong() {
    let mut state = State::default();
    labelled(&mut state, 0.9, 95, Label::Different, 5);
    for _ in 0..800 {
        state.observe(None);
    }
    assert_eq!(state.threshold(&DEFAULT), None);
    let report = state.report(&requests());
    assert_eq!(report.threshold, Some(0.9));
    // 5 of 1,000, at worst 10.
    let worst = report.bound_now.unwrap();
    assert!((0.010..0.012).contains(&worst), "{worst}");
    let strict = ErrorBound {
        delta: 0.01,
        ..requests()
    };
    assert_eq!(state.threshold(&strict), None);
}

#[test]
fn answers_that_are_mostly_wrong_are_not_given_however_few_they_are() {
    let mut state = State::default();
    labelled(&mut state, 0.9, 6, Label::Different, 5);
    labelled(&mut state, 0.9, 20, Label::Unknown, 19);
    for _ in 0..1_900 {
        state.observe(None);
    }
    assert_eq!(state.threshold(&requests()), Some(0.9));
    labelled(&mut state, 0.9, 0, Label::Different, 5);
    let report = state.report(&requests());
    assert_eq!((report.threshold, report.why), (None, Why::LabelsErr));
}

#[test]
fn why_nothing_is_open_is_told() {
    let bound = DEFAULT;
    let mut state = State::default();
    labelled(&mut state, 0.9, 240, Label::Unknown, 10);
    let few = state.report(&bound);
    assert!(
        (9.0..=10.0).contains(&few.unknown) && few.wrong == 0.0,
        "{few:?}"
    );
    assert!(
        matches!(few.why, Why::TooFewLabels { needed: 500.. }),
        "{few:?}"
    );
    labelled(&mut state, 0.9, 0, Label::Unknown, 10);
    assert_eq!(state.report(&bound).why, Why::TooManyUnknown);
    labelled(&mut state, 0.9, 0, Label::Different, 20);
    assert_eq!(state.report(&bound).why, Why::LabelsErr);
    assert_eq!(state.threshold(&bound), None);
}

#[test]
fn a_veto_that_refuses_right_answers_is_switched_off_until_its_labels_are_old() {
    let bound = DEFAULT;
    let mut ledger = Ledger::default();
    for n in 0..120 {
        assert_eq!(ledger.switched_off(Kind::Roles, &bound), n >= 59, "{n}");
        ledger.label_veto(Kind::Roles, Label::Same);
        ledger.label_veto(Kind::Dates, Label::Same);
        ledger.label_veto(
            Kind::Dates,
            if n % 8 == 0 {
                Label::Different
            } else {
                Label::Same
            },
        );
    }
    assert!(!ledger.switched_off(Kind::Dates, &bound));
    assert!(!ledger.switched_off(Kind::Numbers, &bound));
    for _ in 0..2_100 {
        ledger.observe(None);
    }
    assert!(!ledger.switched_off(Kind::Roles, &bound));
}

#[test]
fn counts_halve_every_2000_requests() {
    let mut state = State::default();
    labelled(&mut state, 0.9, 400, Label::Same, 0);
    let labels = |state: &State| state.report(&DEFAULT).labels;
    let before = labels(&state);
    for _ in 0..2_000 {
        state.observe(None);
    }
    assert!((labels(&state) / before - 0.5).abs() < 0.005);
    for _ in 0..200_000 {
        state.observe(None);
    }
    assert_eq!(labels(&state), 0.0);
    // 2,000 / ln 2
    let requests = state.report(&DEFAULT).requests;
    assert!((requests - 2_885.4).abs() < 15.0, "{requests}");
}

#[test]
fn several_instances_count_as_one_does() {
    let bound = DEFAULT;
    let mut alone = Ledger::default();
    let mut stored = State::default();
    let mut both = [Ledger::default(), Ledger::default()];
    for n in 0..9_000_u32 {
        let score = 0.7 + (n * 37 % 100) as f32 * 0.003;
        let label = if n % 23 == 0 {
            Label::Different
        } else {
            Label::Same
        };
        let one = &mut both[(n % 2) as usize];
        for ledger in [&mut alone, &mut *one] {
            ledger.observe(Some(score));
            ledger.label(score, label);
        }
        if n % 170 < 2 {
            stored.add(one.unwritten().unwrap());
            stored = State::from_text(&stored.to_text()).unwrap();
            one.written(stored.clone());
        }
    }
    for one in &mut both {
        one.read(stored.clone());
        assert_eq!(one.threshold(&bound), alone.threshold(&bound));
        let (found, expected) = (one.report(&bound), alone.report(&bound));
        for (found, expected) in [
            (found.labels, expected.labels),
            (found.wrong, expected.wrong),
            (found.requests, expected.requests),
        ] {
            assert!((found / expected - 1.0).abs() < 0.03, "{found} {expected}");
        }
    }
}

#[test]
fn a_ledger_finds_what_its_state_says() {
    let bound = DEFAULT;
    let mut ledger = Ledger::default();
    let mut state = State::default();
    for n in 0..700_u32 {
        ledger.observe(Some(0.9));
        state.observe(Some(0.9));
        if n < 300 {
            ledger.label(0.9, Label::Same);
            state.label(0.9, Label::Same);
        }
        let found = ledger.threshold(&bound);
        if n < 300 {
            assert_eq!(found, state.threshold(&bound), "{n}");
        }
    }
    // Another bound is not answered with what was found for this one.
    let strict = ErrorBound {
        delta: 1e-3,
        ..bound
    };
    assert_eq!(
        (ledger.threshold(&strict), ledger.threshold(&bound)),
        (None, Some(0.9))
    );
}

#[test]
fn exploring_is_a_share_and_the_same_everywhere() {
    let bound = DEFAULT;
    let explored: Vec<_> = (0..2_000)
        .filter(|entry| bound.explores("n", "ab", *entry, 1_700_000_000))
        .collect();
    assert!((75..125).contains(&explored.len()), "{}", explored.len());
    // By another implementation of SHA-256.
    assert_eq!(explored[..4], [12, 51, 66, 129]);
    for (explore, expected) in [(0.0, 0), (1.0, 2_000)] {
        let bound = ErrorBound { explore, ..bound };
        let count = (0..2_000)
            .filter(|entry| bound.explores("n", "ab", *entry, 0))
            .count();
        assert_eq!(count, expected);
    }
    let choices = |namespace: &str, query: &str, created: u64| {
        (0..200)
            .map(|entry| bound.explores(namespace, query, entry, created))
            .collect::<Vec<_>>()
    };
    let first = choices("n", "ab", 0);
    for other in [
        choices("na", "b", 0),
        choices("n", "abc", 0),
        choices("n", "ab", 1),
    ] {
        assert_ne!(first, other);
    }
}

/// What happened in the second half of a stream.
#[derive(Debug, Default)]
struct Played {
    hits: u32,
    wrong: u32,
    explored: u32,
}

/// How a label says what is true.
type Labels = fn(bool, f64) -> Label;

/// A stream of 16,000 requests. The score of the best candidate is anywhere from 0.5 to 1, and its answer
/// is wrong the more often the lower it is: 4 % at 0.9, 16 % at 0.8. All that is below the threshold is
/// labelled, and what explores above it.
fn play(bound: &ErrorBound, labels: Labels, seed: u64) -> (Played, Report) {
    const REQUESTS: u32 = 16_000;
    // Knuth's.
    let mut random = seed;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut ledger = Ledger::default();
    let mut played = Played::default();
    for n in 0..REQUESTS {
        let distance = next() / 2.0;
        let score = (1.0 - distance) as f32;
        let is_wrong = next() < 4.0 * distance * distance;
        let label = labels(is_wrong, next());
        ledger.observe(Some(score));
        let may_answer = ledger
            .threshold(bound)
            .is_some_and(|threshold| score >= threshold);
        let explores = may_answer && bound.explores("n", &n.to_string(), 1, 0);
        if !may_answer || explores {
            ledger.label(score, label);
        }
        if n >= REQUESTS / 2 {
            played.hits += u32::from(may_answer && !explores);
            played.wrong += u32::from(may_answer && !explores && is_wrong);
            played.explored += u32::from(explores);
        }
    }
    (played, ledger.report(bound))
}

fn truth(is_wrong: bool, _: f64) -> Label {
    if is_wrong {
        Label::Different
    } else {
        Label::Same
    }
}

#[test]
fn the_bound_holds_in_a_stream() {
    for (delta, of, hits) in [
        (0.05, Of::Answers, 1_200),
        (0.1, Of::Answers, 2_000),
        (0.01, Of::Requests, 800),
        (0.05, Of::Requests, 2_000),
    ] {
        for seed in 1..6 {
            let bound = ErrorBound {
                delta,
                of,
                ..DEFAULT
            };
            let (played, report) = play(&bound, truth, seed);
            let base = match of {
                Of::Answers => played.hits,
                Of::Requests => 8_000,
            };
            let context = format!("{bound:?} {seed}: {played:?} {report:?}");
            assert!(
                f64::from(played.wrong) <= delta * f64::from(base),
                "{context}"
            );
            assert!(played.hits >= hits, "{context}");
            assert!(
                f64::from(played.explored) < 0.07 * f64::from(played.hits),
                "{context}"
            );
        }
    }
}

#[test]
fn bad_labels_close() {
    let flipped: Labels = |is_wrong, _| truth(!is_wrong, 0.0);
    let cases: [(Labels, Why); 4] = [
        (flipped, Why::LabelsErr),
        (
            |is_wrong, chance| truth(is_wrong != (chance < 0.3), 0.0),
            Why::LabelsErr,
        ),
        (|_, _| Label::Different, Why::LabelsErr),
        (
            |is_wrong, chance| {
                if chance < 0.3 {
                    Label::Unknown
                } else {
                    truth(is_wrong, 0.0)
                }
            },
            Why::TooManyUnknown,
        ),
    ];
    let (played, report) = play(&requests(), flipped, 7);
    assert_eq!((played.hits, report.threshold), (0, None), "{report:?}");
    for (at, (labels, why)) in cases.into_iter().enumerate() {
        let (played, report) = play(&DEFAULT, labels, 7);
        assert_eq!(
            (played.hits, report.threshold, report.why),
            (0, None, why),
            "{at} {report:?}"
        );
    }
}

#[test]
fn responses_are_compared_after_normalising_as_far_as_that_is_worth_it() {
    assert_eq!(compare(" It is  Four. ", "it is four."), Label::Same);
    assert_eq!(compare("four", "five"), Label::Unknown);
    let long = "a ".repeat(40 << 10);
    assert_eq!(compare(&long, &long), Label::Same);
    assert_eq!(compare(&long, &long.to_uppercase()), Label::Unknown);
}

#[test]
fn labels_are_assessed_as_a_stream_of_them() {
    let good = vec![(0.95, Label::Same); 300];
    let report = assess(&DEFAULT, &good).unwrap();
    assert_eq!((report.state, report.wrong), (BoundState::Open, 0));
    assert_eq!(report.threshold, Some(0.95));
    let mut mixed = good.clone();
    mixed.extend([(0.95, Label::Different); 100]);
    // What is below the floor is a request without a candidate.
    mixed.extend([(0.5, Label::Different); 100]);
    let report = assess(&DEFAULT, &mixed).unwrap();
    assert_eq!(
        (report.state, report.threshold),
        (BoundState::LabelsErr, None)
    );
    assert!(report.requests > report.labels && report.wrong <= 100);
    let bad = ErrorBound {
        delta: f64::NAN,
        ..DEFAULT
    };
    assert!(assess(&bad, &good).is_err());
}
