//! Whatever a graph says, it ends in a model or in an error. A graph may ask for any memory, and the
//! process that does not get it ends, so each is opened by a process with little of it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mneme_encoder::{Model, Options};
use rten_onnx::onnx::{GraphProto, ModelProto, TensorProto};

use super::models;

const CHILD: &str = "MNEME_TEST_FIRST_GRAPH";
/// Bytes of address space that a process gets.
const MEMORY: u64 = 3 << 30;
const GRAPHS: u64 = 120;
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn altered_graphs_end_in_errors() {
    if let Ok(first) = std::env::var(CHILD) {
        rlimit::setrlimit(rlimit::Resource::AS, MEMORY, MEMORY).unwrap();
        return open_all(first.parse().unwrap());
    }
    let log = tempfile::tempdir().unwrap();
    let (told, said) = (log.path().join("stdout"), log.path().join("stderr"));
    let until = Instant::now() + DEADLINE;
    let mut first = 0;
    while first < GRAPHS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "altered::altered_graphs_end_in_errors",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, first.to_string())
            .stdout(Stdio::from(fs::File::create(&told).unwrap()))
            .stderr(Stdio::from(fs::File::create(&said).unwrap()))
            .spawn()
            .unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > until {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let told = fs::read_to_string(&told).unwrap();
        let said = fs::read_to_string(&said).unwrap();
        let mut last = told.lines().filter_map(|line| line.strip_prefix("graph "));
        let last: u64 = last.next_back().unwrap_or("0").parse().unwrap();
        assert!(!said.contains("panicked"), "graph {last}: {said}");
        let status = ended.unwrap_or_else(|| panic!("graph {last} does not end: {said}"));
        if status.success() {
            let opened = told.matches("opened").count();
            assert!(opened > 0, "none of them opened: {told}");
            break;
        }
        assert!(
            said.contains("memory allocation of"),
            "graph {last}: {status}: {said}"
        );
        first = last + 1;
    }
}

fn open_all(first: u64) {
    let models = models();
    let folder = tempfile::tempdir().unwrap();
    for seed in first..GRAPHS {
        println!("graph {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let model = &models[random.usize(..models.len())];
        let mut graph =
            ModelProto::parse_buf(&fs::read(model.join("model.onnx")).unwrap()).unwrap();
        for _ in 0..random.usize(1..4) {
            alter(graph.graph.as_mut().unwrap(), &mut random);
        }
        for file in ["tokenizer.json", "config.json"] {
            fs::copy(model.join(file), folder.path().join(file)).unwrap();
        }
        fs::write(folder.path().join("model.onnx"), graph.write_buf().unwrap()).unwrap();
        match Model::open(folder.path(), Options::default()) {
            Ok(model) => {
                let _ = model.encode(&["how do i reset my password", "x", "\u{202e}a"]);
                println!("opened");
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("model.onnx"), "{message}");
            }
        }
    }
}

/// Changes a graph at one place.
fn alter(graph: &mut GraphProto, random: &mut fastrand::Rng) {
    const INTEGERS: [i64; 10] = [0, 1, -1, 2, 7, 64, 1_000, 1 << 31, i64::MAX, i64::MIN];
    let integer = INTEGERS[random.usize(..INTEGERS.len())];
    let (at, other) = (
        random.usize(..graph.node.len()),
        random.usize(..graph.node.len()),
    );
    let kind = random.u8(..7);
    match kind {
        0 => graph.node[at].op_type = graph.node[other].op_type.clone(),
        1 => {
            let inputs = graph.node[other].input.clone();
            if let (Some(input), false) = (graph.node[at].input.first_mut(), inputs.is_empty()) {
                *input = inputs[random.usize(..inputs.len())].clone();
            }
        }
        2 => drop(graph.node[at].input.pop()),
        3 => drop(graph.node.remove(at)),
        4 => {
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            let mut attributes: Vec<_> = attributes.filter(|a| a.i.is_some()).collect();
            if !attributes.is_empty() {
                let at = random.usize(..attributes.len());
                attributes[at].i = Some(integer);
            }
        }
        _ => {
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            let constants = attributes.filter_map(|attribute| attribute.t.as_mut());
            let mut tensors: Vec<&mut TensorProto> =
                constants.chain(&mut graph.initializer).collect();
            let at = random.usize(..tensors.len());
            let tensor = &mut tensors[at];
            if kind == 5 && !tensor.dims.is_empty() {
                let at = random.usize(..tensor.dims.len());
                tensor.dims[at] = integer;
            } else if let Some(bytes) = &mut tensor.raw_data {
                let bytes = bytes.get_mut();
                let start = random.usize(..=bytes.len().saturating_sub(8)) / 8 * 8;
                let places = bytes[start..].iter_mut();
                for (place, byte) in places.zip(integer.to_le_bytes()) {
                    *place = byte;
                }
            }
        }
    }
}
