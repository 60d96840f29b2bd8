use super::*;
use crate::judge::Kinds;

const ON: &str = "How do I turn on the lights?";
const OFF: &str = "How do I turn off the lights?";

/// A cache with the default vetoes, or these.
fn vetoing(kinds: Option<Vec<VetoKind>>) -> (TestCache, TestHost, TestStore) {
    new_cache(|options| {
        options.vetoes = kinds.unwrap_or_else(|| Kinds::DEFAULT.list());
        options.events = true;
    })
}

fn reason_of(cache: &mut TestCache, query: &str, degrees: f64) -> MissReason {
    miss(cache.get(ask(query, degrees)).unwrap())
}

#[test]
fn a_veto_keeps_the_entry_and_lets_the_next_one_answer() {
    let (mut cache, host, store) = vetoing(None);
    cache.put(response(ON, 0.0)).unwrap();
    assert_eq!(reason_of(&mut cache, OFF, 1.0), MissReason::Vetoed);
    assert_eq!(queries(&store), [ON]);
    cache.put(response("Switch the lights off", 5.0)).unwrap();
    let found = hit(cache.get(ask(OFF, 1.0)).unwrap());
    assert_eq!(found.query, "Switch the lights off");
    let counters = cache.stats(Some("n")).unwrap().counters;
    assert_eq!(counters.vetoes.opposites, 2);
    assert_eq!((counters.hits_semantic, counters.misses), (1, 1));
    let vetoes = |event: &Event| matches!(event, Event::Veto(veto) if veto.namespace == "n" && veto.kind == VetoKind::Opposites);
    assert_eq!(host.events.borrow().iter().filter(|e| vetoes(e)).count(), 2);
    // They are kept in the store.
    cache.flush().unwrap();
    let kept = store.read_meta("counters").unwrap().unwrap();
    assert!(kept.contains(r#""n:vetoes_opposites":2"#), "{kept}");
}

#[test]
fn the_exact_layer_has_no_vetoes_and_no_costs() {
    let (mut cache, _, _) = vetoing(None);
    cache.put(response(ON, 0.0)).unwrap();
    let exact = hit(cache
        .get(ask("how do i TURN ON the lights?", 90.0))
        .unwrap());
    assert_eq!(exact.layer, Layer::Exact);
}

#[test]
fn a_search_gives_up_after_four_candidates_with_a_veto() {
    let (mut cache, _, _) = vetoing(None);
    for n in 1..=4 {
        let query = format!("turn the lights on in {} rooms", n * 100);
        cache.put(response(&query, f64::from(n))).unwrap();
    }
    cache.put(response("turn the lights off", 6.0)).unwrap();
    let request = || ask("switch the lights off", 0.0);
    assert_eq!(miss(cache.get(request()).unwrap()), MissReason::Vetoed);
    let Explained::Explanation(explained) = cache.explain(request(), 10).unwrap() else {
        panic!("it has its vector");
    };
    assert_eq!(
        explained.outcome,
        ExplainedOutcome::Miss(MissReason::Vetoed)
    );
    let verdicts: Vec<_> = explained.candidates.iter().map(|c| c.verdict).collect();
    assert_eq!(verdicts[..4], [Verdict::Vetoed; 4]);
    assert_eq!(verdicts[4..], [Verdict::Untried]);
    cache
        .delete("turn the lights on in 400 rooms", "n", "")
        .unwrap();
    assert_eq!(
        hit(cache.get(request()).unwrap()).query,
        "turn the lights off"
    );
}

#[test]
fn vetoes_are_switched_by_kind_by_cache_and_by_request() {
    let numbers = vec![VetoKind::Numbers];
    let (mut cache, _, _) = vetoing(Some(numbers.clone()));
    cache.put(response(ON, 0.0)).unwrap();
    cache.put(response("12 eggs", 40.0)).unwrap();
    assert!(matches!(cache.get(ask(OFF, 1.0)).unwrap(), Lookup::Hit(_)));
    assert_eq!(reason_of(&mut cache, "13 eggs", 41.0), MissReason::Vetoed);
    let with = |query: &str, degrees, vetoes: &[VetoKind]| GetRequest {
        vetoes: Some(vetoes.to_vec()),
        ..ask(query, degrees)
    };
    let strict = cache.get(with(OFF, 1.0, &[VetoKind::Opposites])).unwrap();
    assert_eq!(miss(strict), MissReason::Vetoed);
    assert!(matches!(
        cache.get(with("13 eggs", 41.0, &[])).unwrap(),
        Lookup::Hit(_)
    ));
    let twice = [VetoKind::Numbers, VetoKind::Numbers];
    match cache.get(with(OFF, 1.0, &twice)) {
        Err(Error::InvalidArgument(message)) => {
            assert_eq!(message, "the veto numbers comes twice; give it once");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_explanation_has_the_evidence() {
    let (mut cache, _, _) = vetoing(None);
    cache.put(response(ON, 0.0)).unwrap();
    cache
        .put(response(&format!("turn on {}", "x ".repeat(5_000)), 40.0))
        .unwrap();
    let Explained::Explanation(explained) = cache.explain(ask(OFF, 1.0), 10).unwrap() else {
        panic!("it has its vector");
    };
    let [near, far] = &explained.candidates[..] else {
        panic!("{explained:?}");
    };
    assert_eq!(near.verdict, Verdict::Vetoed);
    let [veto] = &near.vetoes[..] else {
        panic!("{near:?}");
    };
    assert_eq!(veto.kind, VetoKind::Opposites);
    assert_eq!((&*veto.query, &*veto.entry), ("turn off", "turn on"));
    assert!(!near.partial);
    // What is not similar enough is explained as well.
    assert_eq!(far.verdict, Verdict::BelowThreshold);
    assert!(!far.vetoes.is_empty() && far.partial, "{far:?}");
    assert_eq!(cache.stats(None).unwrap().counters, crate::counters::ZERO);
}

#[test]
fn other_reasons_come_before_and_outweigh_vetoes() {
    let (mut cache, host, _) = vetoing(None);
    cache.put(response(ON, 0.0)).unwrap();
    let at_most = |age| GetRequest {
        max_age: Some(age),
        ..ask(OFF, 1.0)
    };
    host.set(2000);
    assert_eq!(miss(cache.get(at_most(10)).unwrap()), MissReason::TooOld);
    assert_eq!(miss(cache.get(at_most(1000)).unwrap()), MissReason::Vetoed);
    assert_eq!(reason_of(&mut cache, OFF, 60.0), MissReason::BelowThreshold);
}
