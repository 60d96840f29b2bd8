//! What the measurements were made on.

use std::num::NonZero;

use serde_json::{Map, Value, json};

/// Processor, cores and system.
pub fn machine() -> Value {
    json!({
        "processor": processor(),
        "cores": std::thread::available_parallelism().map_or(0, NonZero::get),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
    })
}

/// The same in words.
pub fn machine_text() -> String {
    let machine = machine();
    let word = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "{}, {} cores, {} {}",
        word("processor"),
        machine["cores"],
        word("os"),
        word("arch")
    )
}

fn processor() -> Option<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

/// Versions of what took part, by name.
pub fn versions(peers: &Map<String, Value>) -> Map<String, Value> {
    let mut versions = Map::new();
    versions.insert("mneme".into(), json!(env!("CARGO_PKG_VERSION")));
    versions.insert("sqlite".into(), json!(rusqlite::version()));
    versions.extend(peers.clone());
    versions
}
