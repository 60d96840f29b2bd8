//! The conformance battery: the judge of a store in any language.
//!
//! A component that imports `store` and exports `suite`; `wit/suite.wit` says how a host
//! runs it.

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "conformance",
        additional_derives: [PartialEq],
        generate_all,
    });
}

use bindings::exports::mneme::cache::suite::{Failure, Guest, Outcome, Phase, TestCase};
use bindings::mneme::cache::store;

struct Suite;

bindings::export!(Suite with_types_in bindings);

impl Guest for Suite {
    fn list_cases() -> Vec<TestCase> {
        vec![TestCase {
            name: "capabilities-are-sensible".into(),
            summary: "a store has a name and takes at least one entry a call".into(),
            section: "capabilities".into(),
            needs: None,
            phases: vec![Phase::Fresh],
        }]
    }

    fn run(name: String, _phase: u32, _seed: u64) -> Outcome {
        let capabilities = store::capabilities();
        if name == "capabilities-are-sensible" && capabilities.max_batch > 0 {
            return Outcome::Passed;
        }
        Outcome::Failed(Failure {
            expected: "max-batch of at least 1".into(),
            actual: format!("{capabilities:?}"),
        })
    }
}
