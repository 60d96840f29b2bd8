use super::*;
use crate::bound;

/// Answers of one are all equal; the cosine of the floor is that of 45 degrees.
fn bounded(explore: f64) -> (TestCache, TestHost, TestStore) {
    new_cache(|options| {
        options.error_bound = Some(ErrorBound {
            floor: 0.7,
            explore,
            ..bound::DEFAULT
        });
        options.seed = vec![7; 32];
    })
}

fn miss_of(lookup: Lookup) -> Miss {
    match lookup {
        Lookup::Miss(miss) => miss,
        other => panic!("not a miss: {other:?}"),
    }
}

fn feedback(cache: &mut TestCache, ticket: &str, label: Label) -> Result<(), Error> {
    cache.feedback("n", ticket, label, LabelSource::Compared)
}

fn refused(outcome: Result<(), Error>, expected: &str) {
    match outcome {
        Err(Error::InvalidArgument(message)) => assert!(message.contains(expected), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Asks so many questions near the entry, and labels each.
fn teach(cache: &mut TestCache, questions: std::ops::Range<u32>, label: Label) {
    for n in questions {
        let miss = miss_of(cache.get(ask(&format!("w{n}"), 5.0)).unwrap());
        let nearest = miss.nearest.expect("a candidate is near");
        assert_eq!(nearest.candidate.entry_query, "one");
        feedback(cache, &nearest.ticket, label).unwrap();
    }
}

#[test]
fn labels_open_what_they_prove_and_close_it_again() {
    let (mut cache, _, _) = bounded(0.0);
    cache.put(response("one", 0.0)).unwrap();
    // A threshold that would answer does not count.
    let first = miss_of(cache.get(ask("w", 0.1)).unwrap());
    assert_eq!(first.reason, MissReason::Unproven);
    let report = cache.stats(Some("n")).unwrap().bound.unwrap();
    assert!(
        matches!(report.state, BoundState::TooFewLabels(_)),
        "{report:?}"
    );
    teach(&mut cache, 0..300, Label::Same);
    let report = cache.stats(Some("n")).unwrap().bound.unwrap();
    assert_eq!((report.state, report.wrong), (BoundState::Open, 0));
    assert!(report.share.unwrap() <= 0.05 && report.threshold.unwrap() <= 0.9962);
    let found = hit(cache.get(ask("another", 5.0)).unwrap());
    assert_eq!(found.query, "one");
    // What is less similar has no labels.
    let far = miss_of(cache.get(ask("another", 30.0)).unwrap());
    assert_eq!(far.reason, MissReason::Unproven);
    // Answers can be labelled too.
    feedback(&mut cache, &found.ticket.unwrap(), Label::Different).unwrap();
    for n in 0..40 {
        match cache.get(ask(&format!("bad{n}"), 5.0)).unwrap() {
            Lookup::Hit(hit) => {
                let ticket = hit.ticket.unwrap();
                cache
                    .feedback("n", &ticket, Label::Different, LabelSource::User)
                    .unwrap();
            }
            Lookup::Miss(miss) => {
                assert_eq!(miss.reason, MissReason::Unproven);
                feedback(&mut cache, &miss.nearest.unwrap().ticket, Label::Unknown).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let report = cache.stats(Some("n")).unwrap().bound.unwrap();
    assert_eq!(
        (report.state, report.threshold),
        (BoundState::LabelsErr, None)
    );
    // Nobody else's labels count.
    let (mut other, _, _) = bounded(0.0);
    other.put(response("one", 0.0)).unwrap();
    assert_eq!(
        miss(other.get(ask("w", 5.0)).unwrap()),
        MissReason::Unproven
    );
}

#[test]
fn a_ticket_labels_once_in_its_namespace_for_a_day() {
    let (mut cache, host, store) = bounded(0.0);
    cache.put(response("one", 0.0)).unwrap();
    let nearest = miss_of(cache.get(ask("two", 5.0)).unwrap())
        .nearest
        .unwrap();
    let ticket = nearest.ticket;
    let other = cache.feedback("other", &ticket, Label::Same, LabelSource::User);
    refused(other, "not issued for a look-up in the namespace");
    let forged = ticket.replace(
        &ticket[10..12],
        if &ticket[10..12] == "00" { "11" } else { "00" },
    );
    refused(feedback(&mut cache, &forged, Label::Same), "not issued");
    refused(feedback(&mut cache, "", Label::Same), "not issued");
    // The entry may be gone: the label is of the score.
    cache.delete("one", "n", "").unwrap();
    feedback(&mut cache, &ticket, Label::Same).unwrap();
    refused(feedback(&mut cache, &ticket, Label::Different), "was used");
    let report = cache.stats(Some("n")).unwrap().bound.unwrap();
    assert_eq!((report.labels, report.wrong), (1, 0));
    cache.put(response("one", 0.0)).unwrap();
    let again = miss_of(cache.get(ask("three", 5.0)).unwrap())
        .nearest
        .unwrap();
    host.set(1000 + 86_401);
    refused(feedback(&mut cache, &again.ticket, Label::Same), "old");
    // Another cache of the store takes it, and one of another store does not.
    host.set(1000);
    cache.flush().unwrap();
    let (mut beside, _) = cache_on(&store, |options| {
        options.error_bound = Some(bound::DEFAULT);
        options.seed = vec![9; 32];
    });
    beside
        .feedback("n", &again.ticket, Label::Same, LabelSource::Judged)
        .unwrap();
    let (mut stranger, _, _) = bounded(0.0);
    refused(
        feedback(&mut stranger, &again.ticket, Label::Same),
        "not issued",
    );
    let (mut without, _, _) = new_cache(|_| {});
    refused(
        feedback(&mut without, &again.ticket, Label::Same),
        "no error bound",
    );
}

#[test]
fn counts_of_several_are_summed_and_reset_with_the_namespace() {
    let (mut cache, _, store) = bounded(0.0);
    cache.put(response("one", 0.0)).unwrap();
    cache.flush().unwrap();
    let (mut beside, _) = cache_on(&store, |options| {
        options.error_bound = Some(bound::DEFAULT);
    });
    teach(&mut cache, 0..50, Label::Same);
    teach(&mut beside, 50..100, Label::Different);
    cache.flush().unwrap();
    beside.flush().unwrap();
    let report = beside.stats(Some("n")).unwrap().bound.unwrap();
    assert_eq!(
        (report.requests, report.labels, report.wrong),
        (100, 100, 50)
    );
    assert!(cache.stats(None).unwrap().bound.is_none());
    // What is damaged is started over.
    store
        .replace_meta(
            "bound:n",
            store.read_meta("bound:n").unwrap().as_deref(),
            Some("v9;x"),
        )
        .unwrap();
    let (mut new, _) = cache_on(&store, |options| {
        options.error_bound = Some(bound::DEFAULT);
    });
    assert_eq!(new.stats(Some("n")).unwrap().bound.unwrap().labels, 0);
    teach(&mut new, 0..1, Label::Same);
    new.flush().unwrap();
    assert_eq!(new.stats(Some("n")).unwrap().bound.unwrap().labels, 1);
    while new.clear_namespace("n").unwrap().more {}
    assert_eq!(store.read_meta("bound:n").unwrap(), None);
    while cache.clear().unwrap().more {}
    assert_eq!(cache.stats(Some("n")).unwrap().bound.unwrap().labels, 0);
}

#[test]
fn a_share_of_would_be_answers_explores_and_the_same_one_each_time() {
    let (mut cache, _, _) = bounded(0.2);
    cache.put(response("one", 0.0)).unwrap();
    for n in 0..400 {
        if let Lookup::Miss(miss) = cache.get(ask(&format!("w{n}"), 5.0)).unwrap() {
            feedback(&mut cache, &miss.nearest.unwrap().ticket, Label::Same).unwrap();
        }
    }
    let outcomes: Vec<bool> = (0..200)
        .map(|n| match cache.get(ask(&format!("x{n}"), 5.0)).unwrap() {
            Lookup::Hit(_) => false,
            Lookup::Miss(miss) => {
                assert_eq!(miss.reason, MissReason::Explored);
                assert!(miss.nearest.is_some());
                true
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let explored = outcomes.iter().filter(|explored| **explored).count();
    assert!((20..=60).contains(&explored), "{explored} of 200");
    for (n, explored) in outcomes.iter().enumerate() {
        let request = ask(&format!("x{n}"), 5.0);
        let Explained::Explanation(explanation) = cache.explain(request.clone(), 5).unwrap() else {
            panic!("it has its vector");
        };
        assert!(explanation.open_from.is_some());
        let expected = match explored {
            true => ExplainedOutcome::Miss(MissReason::Explored),
            false => ExplainedOutcome::Hit(Layer::Semantic),
        };
        assert_eq!(explanation.outcome, expected);
        let again = matches!(cache.get(request).unwrap(), Lookup::Miss(_));
        assert_eq!(again, *explored);
    }
}

#[test]
fn a_second_answer_that_agrees_or_not_is_part_of_the_score() {
    let (mut cache, _, _) = bounded(0.0);
    let same = |query: &str, degrees| PutRequest {
        response: "  THE same ".into(),
        ..response(query, degrees)
    };
    cache
        .put(PutRequest {
            response: "the same".into(),
            ..response("one", 0.0)
        })
        .unwrap();
    cache.put(same("other", 2.0)).unwrap();
    for n in 0..300 {
        let miss = miss_of(cache.get(ask(&format!("w{n}"), 20.0)).unwrap());
        feedback(&mut cache, &miss.nearest.unwrap().ticket, Label::Same).unwrap();
    }
    // cos(18) is 0.951, and agreement adds 0.05.
    let open = cache
        .stats(Some("n"))
        .unwrap()
        .bound
        .unwrap()
        .threshold
        .unwrap();
    assert!(open > 0.98, "{open}");
    assert!(matches!(cache.get(ask("x", 20.0)).unwrap(), Lookup::Hit(_)));
    cache
        .put(PutRequest {
            response: "another".into(),
            ..response("third", 17.0)
        })
        .unwrap();
    let miss = miss_of(cache.get(ask("x", 20.0)).unwrap());
    assert_eq!(miss.reason, MissReason::Unproven);
}

#[test]
fn without_a_bound_nothing_has_a_ticket_and_bad_bounds_are_refused() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(response("one", 0.0)).unwrap();
    assert_eq!(hit(cache.get(ask("two", 5.0)).unwrap()).ticket, None);
    let far = miss_of(cache.get(ask("two", 60.0)).unwrap());
    assert_eq!(far.nearest, None);
    cache.flush().unwrap();
    assert_eq!(store.read_meta("ticket_key").unwrap(), None);
    let bad = |change: fn(&mut ErrorBound)| {
        let mut bound = bound::DEFAULT;
        change(&mut bound);
        let mut options = crate::options::defaults("f", 2);
        options.error_bound = Some(bound);
        let mut cache = Cache::new(TestStore::default(), TestHost::at(1000));
        assert!(matches!(
            cache.open(options),
            Err(Error::InvalidArgument(_))
        ));
    };
    bad(|bound| bound.delta = 0.0);
    bad(|bound| bound.delta = 1.0);
    bad(|bound| bound.delta = f64::NAN);
    bad(|bound| bound.explore = 1.5);
    bad(|bound| bound.floor = 1.0);
}
