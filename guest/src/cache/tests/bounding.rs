use super::*;
use crate::bound;

/// The cosine of the floor is that of 45 degrees.
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

/// Asks a question near the entry, labels what a ticket is for, and says why it misses.
fn teach(cache: &mut TestCache, question: &str, degrees: f64, label: Label) -> Option<MissReason> {
    let (ticket, reason) = match cache.get(ask(question, degrees)).unwrap() {
        Lookup::Hit(hit) => (hit.ticket.expect("it answers by meaning"), None),
        Lookup::Miss(miss) => {
            let nearest = miss.nearest.expect("a candidate is near");
            assert_eq!(nearest.candidate.entry_query, "one");
            (nearest.ticket, Some(miss.reason))
        }
        other => panic!("{other:?}"),
    };
    feedback(cache, &ticket, label).unwrap();
    reason
}

fn teach_many(cache: &mut TestCache, questions: std::ops::Range<u32>, label: Label) {
    for n in questions {
        teach(cache, &format!("w{n}"), 5.0, label);
    }
}

fn report(cache: &mut TestCache) -> BoundReport {
    cache.stats(Some("n")).unwrap().bound.unwrap()
}

#[test]
fn labels_open_what_they_prove_and_close_it_again() {
    let (mut cache, _, _) = bounded(0.0);
    cache.put(response("one", 0.0)).unwrap();
    // A threshold that would answer does not count.
    let first = miss_of(cache.get(ask("w", 0.1)).unwrap());
    assert_eq!(first.reason, MissReason::Unproven);
    let state = report(&mut cache).state;
    assert!(matches!(state, BoundState::TooFewLabels(_)), "{state:?}");
    teach_many(&mut cache, 0..300, Label::Same);
    let open = report(&mut cache);
    assert_eq!((open.state, open.wrong), (BoundState::Open, 0));
    assert!(open.share.unwrap() <= 0.05 && open.threshold.unwrap() <= 0.9962);
    let found = hit(cache.get(ask("another", 5.0)).unwrap());
    assert_eq!(found.query, "one");
    // What is less similar has no labels.
    let far = miss_of(cache.get(ask("another", 30.0)).unwrap());
    assert_eq!(far.reason, MissReason::Unproven);
    // Answers can be labelled too.
    feedback(&mut cache, &found.ticket.unwrap(), Label::Different).unwrap();
    let reasons: Vec<_> = (0..40)
        .map(|n| teach(&mut cache, &format!("bad{n}"), 5.0, Label::Different))
        .collect();
    assert_eq!(reasons[0], None);
    assert_eq!(reasons[39], Some(MissReason::Unproven));
    let closed = report(&mut cache);
    assert_eq!(
        (closed.state, closed.threshold),
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
    let labelled = report(&mut cache);
    assert_eq!((labelled.labels, labelled.wrong), (1, 0));
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
    assert!(beside.bounds().unwrap().is_empty());
    beside
        .feedback("n", &again.ticket, Label::Same, LabelSource::Judged)
        .unwrap();
    let [(name, bound)] = &beside.bounds().unwrap()[..] else {
        panic!("it has counted for one namespace");
    };
    assert_eq!((name.as_str(), bound.labels), ("n", 2));
    // Whoever comes after it knows which were used.
    beside.flush().unwrap();
    refused(feedback(&mut cache, &again.ticket, Label::Same), "was used");
    let (mut stranger, _, _) = new_cache(|options| {
        options.error_bound = Some(bound::DEFAULT);
        options.seed = vec![8; 32];
    });
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
    teach_many(&mut cache, 0..50, Label::Same);
    teach_many(&mut beside, 50..100, Label::Different);
    cache.flush().unwrap();
    beside.flush().unwrap();
    // The older half weighs a little less.
    let sum = report(&mut beside);
    assert_eq!((sum.requests, sum.labels, sum.wrong), (98, 98, 50));
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
    assert_eq!(report(&mut new).labels, 0);
    teach_many(&mut new, 200..201, Label::Same);
    new.flush().unwrap();
    assert_eq!(report(&mut new).labels, 1);
    while new.clear_namespace("n").unwrap().more {}
    assert_eq!(store.read_meta("bound:n").unwrap(), None);
    while cache.clear().unwrap().more {}
    assert_eq!(report(&mut cache).labels, 0);
}

#[test]
fn a_share_of_would_be_answers_explores_and_the_same_one_each_time() {
    let (mut cache, _, _) = bounded(0.2);
    cache.put(response("one", 0.0)).unwrap();
    teach_many(&mut cache, 0..400, Label::Same);
    let outcomes: Vec<bool> = (0..200)
        .map(
            |n| match teach(&mut cache, &format!("x{n}"), 5.0, Label::Same) {
                None => false,
                Some(MissReason::Explored) => true,
                other => panic!("{other:?}"),
            },
        )
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
fn labels_switch_off_a_veto_that_refuses_right_answers() {
    let (mut cache, _, _) = new_cache(|options| {
        options.error_bound = Some(ErrorBound {
            explore: 0.0,
            ..bound::DEFAULT
        });
        options.vetoes = vec![VetoKind::Numbers];
    });
    cache.put(response("one", 0.0)).unwrap();
    teach_many(&mut cache, 0..300, Label::Same);
    cache.delete("one", "n", "").unwrap();
    cache.put(response("play five songs", 0.0)).unwrap();
    let veto = |cache: &mut TestCache, n: u32| {
        let request = ask(&format!("play six songs {}", "la ".repeat(n as usize)), 5.0);
        match cache.get(request).unwrap() {
            Lookup::Hit(_) => None,
            Lookup::Miss(miss) => {
                assert_eq!(miss.reason, MissReason::Vetoed);
                Some(miss.nearest.unwrap().ticket)
            }
            other => panic!("{other:?}"),
        }
    };
    for n in 0..59 {
        assert!(report(&mut cache).vetoes_off.is_empty(), "{n}");
        let ticket = veto(&mut cache, n).expect("it has a veto");
        feedback(&mut cache, &ticket, Label::Same).unwrap();
    }
    // As many labels as bound the share of wrong ones by 5 %, and a few that have grown old.
    for n in 59..62 {
        if let Some(ticket) = veto(&mut cache, n) {
            feedback(&mut cache, &ticket, Label::Same).unwrap();
        }
    }
    assert_eq!(report(&mut cache).vetoes_off, [VetoKind::Numbers]);
    assert_eq!(veto(&mut cache, 70), None);
    // They are no labels of answers: those have grown older.
    assert!(report(&mut cache).labels < 300);
    // A request that names its vetoes keeps them.
    let mut named = ask("play six songs again", 5.0);
    named.vetoes = Some(vec![VetoKind::Numbers]);
    assert_eq!(miss(cache.get(named).unwrap()), MissReason::Vetoed);
}

#[test]
fn a_threshold_of_the_request_lets_less_answer_and_never_more() {
    let (mut cache, _, _) = bounded(0.0);
    cache.put(response("one", 0.0)).unwrap();
    for n in 0..300 {
        teach(&mut cache, &format!("w{n}"), 16.0, Label::Same);
    }
    assert!(matches!(cache.get(ask("x", 16.0)).unwrap(), Lookup::Hit(_)));
    let at = |cache: &mut TestCache, threshold| {
        let mut request = ask("x", 16.0);
        request.threshold = Some(threshold);
        let explained = cache.explain(request.clone(), 5).unwrap();
        let Explained::Explanation(explanation) = explained else {
            panic!("it has its vector");
        };
        let found = miss_of(cache.get(request).unwrap());
        assert_eq!(explanation.outcome, ExplainedOutcome::Miss(found.reason));
        assert!(found.nearest.is_some());
        found.reason
    };
    assert_eq!(at(&mut cache, 0.99), MissReason::BelowThreshold);
    // The next candidate has another answer, however far the request looks.
    cache.put(response("far", -20.0)).unwrap();
    for threshold in [0.75, 0.9, 0.95] {
        assert_eq!(
            at(&mut cache, threshold),
            MissReason::Unproven,
            "{threshold}"
        );
    }
}

#[test]
fn what_others_label_is_heard_within_a_second() {
    let (mut cache, host, store) = new_cache(|options| {
        options.error_bound = Some(ErrorBound {
            explore: 0.0,
            ..bound::DEFAULT
        });
        options.coordination = Coordination::StaleTolerant(0);
    });
    cache.put(response("one", 0.0)).unwrap();
    teach_many(&mut cache, 0..300, Label::Same);
    assert!(matches!(cache.get(ask("x", 5.0)).unwrap(), Lookup::Hit(_)));
    // Another process, whose labels are kept at once.
    let (mut beside, _) = cache_on(&store, |options| {
        options.error_bound = Some(bound::DEFAULT);
        options.coordination = Coordination::StaleTolerant(0);
    });
    teach_many(&mut beside, 400..500, Label::Different);
    assert!(matches!(cache.get(ask("y", 5.0)).unwrap(), Lookup::Hit(_)));
    host.set(1001);
    assert_eq!(
        miss(cache.get(ask("z", 5.0)).unwrap()),
        MissReason::Unproven
    );
    // Whoever clears without a bound forgets them too.
    let (mut plain, _) = cache_on(&store, |_| {});
    while plain.clear_namespace("n").unwrap().more {}
    host.set(1003);
    cache.put(response("one", 0.0)).unwrap();
    miss(cache.get(ask("a", 5.0)).unwrap());
    assert_eq!(report(&mut cache).labels, 0);
    // Nobody fills the store with names that he makes up.
    for n in 0..50 {
        let mut request = ask("b", 5.0);
        request.namespace = format!("made up {n}");
        miss(cache.get(request).unwrap());
    }
    cache.flush().unwrap();
    let bounds = |(key, _): &(String, String)| key.starts_with("bound:made up");
    assert!(!store.list_meta().unwrap().iter().any(bounds));
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
        teach(&mut cache, &format!("w{n}"), -16.0, Label::Same);
    }
    // The cosine of 16 degrees is 0.961, and agreement adds 0.05.
    let open = report(&mut cache).threshold.unwrap();
    assert!(open > 0.98, "{open}");
    assert!(matches!(
        cache.get(ask("x", -16.0)).unwrap(),
        Lookup::Hit(_)
    ));
    cache
        .put(PutRequest {
            response: "another".into(),
            ..response("third", 1.0)
        })
        .unwrap();
    let miss = miss_of(cache.get(ask("x", -16.0)).unwrap());
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

/// How an archive brings labels to another cache, and no key.
#[test]
fn labels_travel_in_archives_and_the_key_of_tickets_does_not() {
    for (snapshots, mode) in [
        (false, ImportMode::Merge),
        (false, ImportMode::Empty),
        (true, ImportMode::Replace),
    ] {
        let (mut cache, _, store) = bounded(0.0);
        store.snapshots.set(snapshots);
        cache.put(response("one", 0.0)).unwrap();
        teach_many(&mut cache, 0..50, Label::Same);
        let ticket = miss_of(cache.get(ask("last", 5.0)).unwrap())
            .nearest
            .unwrap()
            .ticket;
        let archive = checkpoints::dump_with(&mut cache, |options| {
            options.layout = Some(match snapshots {
                true => Layout::Native,
                false => Layout::Portable,
            });
        });
        let (mut other, _, beside) = new_cache(|options| {
            options.error_bound = Some(bound::DEFAULT);
            options.seed = vec![8; 32];
        });
        beside.snapshots.set(snapshots);
        let mut mine = None;
        if mode != ImportMode::Empty {
            other.put(response("one", 0.0)).unwrap();
            teach_many(&mut other, 100..110, Label::Different);
            mine = miss_of(other.get(ask("last", 5.0)).unwrap()).nearest;
        }
        let key = beside.read_meta("ticket_key").unwrap();
        // What was read of the old counts is out of date after the load.
        checkpoints::load_with(&mut other, &archive, |options| options.mode = mode).unwrap();
        let found = report(&mut other);
        let expected = match mode {
            // Its own stay, for labels that come twice would count twice.
            ImportMode::Merge => (10, 10),
            _ => (49, 0),
        };
        assert_eq!((found.labels, found.wrong), expected, "{mode:?}");
        // The archive's key is not taken over, and this cache's is made of its seed.
        let renewed = beside.read_meta("ticket_key").unwrap();
        assert!(renewed.is_some());
        assert_ne!(renewed, store.read_meta("ticket_key").unwrap());
        refused(feedback(&mut other, &ticket, Label::Same), "not issued");
        if let Some(mine) = mine {
            assert_eq!(renewed, key, "the seed is the same");
            feedback(&mut other, &mine.ticket, Label::Same).unwrap();
        }
    }
}
