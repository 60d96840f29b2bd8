//! Archives over HTTP that become far larger than they are.

use std::io::{Read, Write};

use super::{Server, put};
use crate::Folder;

/// 90 MB, which would shrink to a thousandth.
const ENTRIES: usize = 30;

fn fill(server: &Server) {
    for n in 0..ENTRIES {
        let mut flat = put(&format!("q{n}"), [1.0, 0.0, 0.0]);
        flat["response"] = "x".repeat(3_000_000).into();
        server.post("/v1/put", &flat).ok();
    }
}

/// As somebody else compresses it.
fn repacked(archive: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(archive)
        .read_to_end(&mut plain)
        .unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_a_server_dumps_a_server_loads() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    fill(&server);
    for query in [
        "",
        "?zstd=true",
        "?portable=true",
        "?portable=true&zstd=true",
    ] {
        let archive = server.dump(query);
        assert!(
            archive.len() < 2_000_000,
            "{query}: {} bytes",
            archive.len()
        );
        let loaded = server.load("?mode=replace", &archive).ok();
        assert_eq!(loaded["entries"], ENTRIES, "{query}");
    }
    // A foreign one that became too small needs the operator's leave.
    let small = repacked(&server.dump(""));
    let refused = server.load("?mode=replace", &small);
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("--max-unpacked"), "{message}");
    assert!(!message.contains("max-expansion"), "{message}");
    assert_eq!(refused.refused(413), "too_large");
    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], ENTRIES);
    assert!(server.stop());

    for (most, taken) in [("200000000", true), ("70000000", false)] {
        let server = Server::start(&folder, &["--max-unpacked", most]);
        let answer = server.load("?mode=replace", &small);
        match taken {
            true => assert_eq!(answer.ok()["entries"], ENTRIES),
            false => {
                let message = answer.json["error"]["message"].as_str().unwrap();
                assert!(message.contains("70000000"), "{message}");
                assert_eq!(answer.refused(413), "too_large");
            }
        }
        assert!(server.stop());
    }
}
