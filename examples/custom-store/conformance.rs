//! The battery on the store of this example: one line, and one test for each case.

mod dict_store;

fn main() -> std::process::ExitCode {
    mneme::conformance::test(|| Ok(dict_store::DictStore::new()))
}
