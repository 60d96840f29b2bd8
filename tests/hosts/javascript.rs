//! The JavaScript package: its own tests, and that it decides as wasmtime does.

use mneme::checkpoint::{self, DumpOptions, InspectOptions, Layout, LoadOptions};
use mneme::embedder::Precomputed;
use mneme::{
    EntryFilter, GetRequest, Lookup, ManualClock, MemoryStore, PutRequest, SemanticCache,
    SqliteStore, Ttl, VectorDtype, VetoKind,
};
use mneme_tests::kept_folder;
use mneme_tests::suite::{Provided, Ran};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

mneme_tests::tests![
    the_package_passes_its_tests,
    a_script_of_operations_gives_the_same_lines_as_in_wasmtime,
    pairs_of_questions_are_judged_as_in_wasmtime,
];

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/js");

/// The package, built once from the components that this program has.
struct Built;

impl Provided for Built {
    fn provide(_: &str) -> Result<Self, String> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        BUILT.get_or_init(build).clone().map(|()| Built)
    }
}

fn build() -> Result<(), String> {
    let version = run(Command::new("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()).unwrap_or(0) < 20 {
        return Err(format!("Node is {}, and 20 is needed", version.trim()));
    }
    let folder = kept_folder().join("components");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("mneme.wasm"), mneme::component()))
        .and_then(|()| {
            let battery = mneme::conformance::component();
            std::fs::write(folder.join("conformance.wasm"), battery)
        });
    written.map_err(|error| format!("{}: {error}", folder.display()))?;
    if !is_installed() {
        run(npm().args(["ci", "--no-audit", "--no-fund"]))?;
    }
    run(npm()
        .args(["run", "build"])
        .env("MNEME_COMPONENTS", &folder))?;
    Ok(())
}

/// Whether npm has installed what the lock file says, or what a later one did.
fn is_installed() -> bool {
    let changed = |file: &str| {
        Path::new(PACKAGE)
            .join(file)
            .metadata()
            .and_then(|of| of.modified())
    };
    match (
        changed("node_modules/.package-lock.json"),
        changed("package-lock.json"),
    ) {
        (Ok(installed), Ok(locked)) => installed >= locked,
        _ => false,
    }
}

fn npm() -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(PACKAGE);
    command
}

fn run(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(Output { stdout, stderr, .. }) => Err(format!(
            "{command:?}: {}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

fn the_package_passes_its_tests(_: Built) -> Ran {
    // Pictures of the pages, and what they let one download.
    let artefacts = kept_folder().join("javascript");
    // What an earlier run has left says nothing of this one.
    let _ = std::fs::remove_dir_all(&artefacts);
    let printed = run(npm().arg("test").env("MNEME_ARTEFACTS", &artefacts));
    // How many, and how large.
    println!("{}", printed.unwrap_or_else(|printed| panic!("{printed}")));
    let mut missing = Vec::new();
    let archive = artefacts.join("mneme.tar.gz");
    match archive.is_file() {
        true => loads_what_a_page_has_dumped(&archive),
        false => missing.push("Chromium"),
    }
    match artefacts.join("native.tar.gz").is_file() {
        true => opens_what_node_has_written(&artefacts),
        false => missing.push("the runtimes that npm installs"),
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "what needs no other runtime has passed; missing: {}",
            missing.join(", ")
        )),
    }
}

fn opens_what_node_has_written(artefacts: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteStore::new(artefacts.join("javascript.db"));
    let loaded = SqliteStore::new(folder.path().join("loaded.db"));
    for (store, is_loaded) in [(file, false), (loaded, true)] {
        let cache = mneme_tests::builder()
            .store(store)
            .embedder(Precomputed::new("javascript-1", 3))
            .open()
            .unwrap();
        if is_loaded {
            let archive = File::open(artefacts.join("native.tar.gz")).unwrap();
            let report = cache.load(archive, LoadOptions::new()).unwrap();
            assert_eq!(report.manifest.layout, Layout::Native);
        }
        let hit = cache.get("what is \u{1F980}?").unwrap().hit().unwrap();
        assert_eq!(
            (&*hit.response, &*hit.metadata),
            ("A crab.\0", r#"{"n":1}"#)
        );
        let near = GetRequest::new("near")
            .namespace("tenant")
            .embedding(vec![3.1, -2.0, 1.0]);
        assert_eq!(cache.get(near).unwrap().hit().unwrap().response, "answer");
        let scoped = GetRequest::new("near")
            .namespace("tenant")
            .context("small \u{1F980}")
            .tag("user:7")
            .embedding(vec![3.1, -2.0, 1.0]);
        let hit = cache.get(scoped).unwrap().hit().unwrap();
        assert_eq!(hit.response, "of a context");
        let tagged = EntryFilter::new().tag("doc:\u{1F980}");
        let listed = cache.list_entries(&tagged, 0, 10).unwrap().entries;
        let ids: Vec<u64> = listed.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [hit.id]);
        assert_eq!(cache.namespace_quota("tenant").unwrap(), Some(7));
        assert!(cache.health(true).unwrap().healthy);
        let counters = cache.stats(Some("default")).unwrap().counters;
        assert!(counters.hits_exact >= 2, "those of Node are counted on");
    }
}

fn loads_what_a_page_has_dumped(archive: &Path) {
    let file = || File::open(archive).unwrap();
    let summary = checkpoint::inspect(file(), InspectOptions::new()).unwrap();
    assert!(summary.checksummed);
    // As the Rust host names it: see `MiniLm`.
    let fingerprint = &summary.manifest.embedder_fingerprint;
    assert!(fingerprint.starts_with("pocket-encoder/minilm-l3-q4-g32-v1;weights=dabb40d5d98a"));
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new(fingerprint, 384))
        .open()
        .unwrap();
    assert_eq!(cache.load(file(), LoadOptions::new()).unwrap().entries, 42);
    let hit = cache.get("how tall is the eiffel tower?").unwrap().hit();
    assert_eq!(hit.unwrap().response, "330 metres.");
}

/// The JSON that a script prints in Node.
fn node(arguments: &[&str]) -> Value {
    let printed = run(Command::new("node").current_dir(PACKAGE).args(arguments));
    serde_json::from_str(&printed.unwrap_or_else(|printed| panic!("{printed}"))).unwrap()
}

fn pairs_of_questions_are_judged_as_in_wasmtime(_: Built) {
    // Chromium and the other runtimes are compared with Node in the package's tests.
    let judged = node(&["test/support/judging.mjs", "--pairs"]);
    let pairs = judged["pairs"].as_array().unwrap();
    let theirs = judged["lines"].as_array().unwrap();
    assert_eq!(theirs.len(), pairs.len());
    let usual: Vec<VetoKind> = VetoKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, VetoKind::Names | VetoKind::QuestionWord))
        .collect();
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new("pairs-1", 2))
        .open()
        .unwrap();
    let (mut vetoed, mut partial) = (0, 0);
    for (pair, theirs) in pairs.iter().zip(theirs) {
        let (query, entry) = (pair["query"].as_str(), pair["entry"].as_str());
        let (query, entry) = (query.unwrap(), entry.unwrap());
        let mut ours = Vec::new();
        for kinds in [&VetoKind::ALL[..], &usual] {
            for (query, entry) in [(query, entry), (entry, query)] {
                let said = cache.judge(query, entry, kinds).unwrap();
                vetoed += usize::from(!said.vetoes.is_empty());
                partial += usize::from(said.partial);
                let vetoes = said.vetoes.into_iter();
                let vetoes: Vec<Value> = vetoes
                    .map(|veto| {
                        let kind = kebab(&format!("{:?}", veto.kind));
                        json!([kind, veto.query, veto.entry])
                    })
                    .collect();
                ours.push(json!([vetoes, said.partial]));
            }
        }
        let ours = Value::Array(ours).to_string();
        assert_eq!(ours, theirs.as_str().unwrap(), "{query:?} and {entry:?}");
    }
    assert!(
        vetoed > 500 && partial > 100,
        "{vetoed} vetoed, {partial} partial"
    );
}

fn a_script_of_operations_gives_the_same_lines_as_in_wasmtime(_: Built) {
    let script = node(&["test/support/operations.mjs"]);
    let theirs = node(&["test/support/script.mjs"]);
    let theirs: Vec<&str> = theirs
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();

    let clock = ManualClock::at(0);
    let cache = open(&script["options"], &clock);
    let operations = script["operations"].as_array().unwrap();
    assert_eq!(theirs.len(), operations.len() + 1);
    for (n, operation) in operations.iter().enumerate() {
        clock.set(Duration::from_millis(operation["ms"].as_u64().unwrap()));
        let ours = perform(&cache, operation).to_string();
        assert_eq!(ours, theirs[n], "operation {n}: {operation}");
    }
    let archive = Shared::default();
    cache
        .dump(
            archive.clone(),
            DumpOptions::new().layout(Layout::Portable).level(6),
        )
        .unwrap();
    let digest = Sha256::digest(&*archive.0.lock().unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, theirs[operations.len()], "the SHA-256 of the dump");
}

fn open(options: &Value, clock: &ManualClock) -> SemanticCache {
    let mut builder = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new("script-1", 24))
        .similarity_threshold(options["similarityThreshold"].as_f64().unwrap() as f32)
        .default_ttl(options["defaultTtlSeconds"].as_u64().unwrap())
        .max_entries(options["maxEntries"].as_u64().unwrap())
        .touches(options["touchLimit"].as_u64().unwrap() as u32, 5000)
        .clock(clock.clone());
    for (namespace, quota) in options["namespaceQuotas"].as_object().unwrap() {
        builder = builder.namespace_quota(namespace, quota.as_u64().unwrap());
    }
    builder.open().unwrap()
}

/// An operation, and what came of it.
fn perform(cache: &SemanticCache, operation: &Value) -> Value {
    let text = |field: &str| operation[field].as_str().unwrap_or_default();
    let namespace = operation["namespace"].as_str();
    let embedding = || -> Vec<f32> {
        let values = operation["embedding"].as_array().unwrap().iter();
        values.map(|value| value.as_f64().unwrap() as f32).collect()
    };
    match text("op") {
        "get" => {
            let request = GetRequest::new(text("query"))
                .namespace(text("namespace"))
                .embedding(embedding());
            let request = match operation.get("vetoes") {
                Some(kinds) => request.vetoes(kinds.as_array().unwrap().iter().map(kind)),
                None => request,
            };
            match cache.get(request).unwrap() {
                Lookup::Miss(miss) => json!([kebab(&format!("{:?}", miss.reason))]),
                Lookup::Hit(hit) => {
                    let metadata: Value = serde_json::from_str(&hit.metadata).unwrap();
                    json!([
                        kebab(&format!("{:?}", hit.layer)),
                        hit.id,
                        hit.response,
                        hit.similarity.to_bits(),
                        hit.confidence.to_bits(),
                        hit.age_seconds,
                        hit.query,
                        metadata["n"]
                    ])
                }
            }
        }
        "put" => {
            let ttl = match operation.get("ttl") {
                None => Ttl::Inherit,
                Some(Value::Null) => Ttl::Unlimited,
                Some(seconds) => Ttl::Seconds(seconds.as_u64().unwrap()),
            };
            let request = PutRequest::new(text("query"), text("response"))
                .namespace(text("namespace"))
                .embedding(embedding())
                .ttl(ttl)
                .metadata(operation["metadata"].to_string());
            json!([cache.put(request).unwrap()])
        }
        "delete" => json!([cache.delete(text("query"), text("namespace")).unwrap()]),
        "stats" => {
            let stats = cache.stats(namespace).unwrap();
            let counters = &stats.counters;
            let namespaces = stats.namespaces.iter();
            json!([
                stats.entries,
                stats.index_rows,
                stats.index_tombstones,
                counters.hits_exact,
                counters.hits_semantic,
                counters.misses,
                counters.evictions,
                counters.expirations,
                counters.vetoes.each().map(|(_, count)| count),
                namespaces
                    .map(|one| json!([one.namespace, one.entries, one.quota]))
                    .collect::<Vec<_>>()
            ])
        }
        "vacuum" => {
            let compact = operation["compact"].as_bool().unwrap();
            json!([cache.vacuum(namespace, compact).unwrap()])
        }
        "quota" => {
            cache
                .set_namespace_quota(text("namespace"), operation["maxEntries"].as_u64())
                .unwrap();
            json!([])
        }
        "requantize" => {
            let dtype = match text("dtype") {
                "float16" => VectorDtype::Float16,
                "int8" => VectorDtype::Int8,
                _ => VectorDtype::Float32,
            };
            cache.requantize(dtype).unwrap();
            json!([])
        }
        "clear" => json!([cache.clear_namespace(text("namespace")).unwrap()]),
        "warmUp" => json!([cache.warm_up().unwrap()]),
        "normalize" => {
            let normalized = cache.normalize(text("query")).unwrap();
            json!([normalized.text, normalized.hash])
        }
        other => panic!("the script has the unknown operation {other:?}"),
    }
}

/// A kind of veto by its name in JavaScript.
fn kind(name: &Value) -> VetoKind {
    let mut all = VetoKind::ALL.into_iter();
    all.find(|kind| name == &kebab(&format!("{kind:?}")))
        .unwrap_or_else(|| panic!("the script has the unknown veto {name}"))
}

/// `BelowThreshold` as `below-threshold`.
fn kebab(name: &str) -> String {
    let name = name.rsplit("::").next().unwrap_or(name);
    let mut words = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            words.push('-');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Bytes that two may write to and read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
