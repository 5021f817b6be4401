//! Whatever comes in, the loop answers and the loader does not panic.

use crate::toy::{Fixture, code, converse, raw, run, values};
use arena_runner::{Inputs, Weights};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// Requests that are nearly right: known operations and fields with arbitrary values.
fn nearly_a_request() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z/.]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["llama", "infer", "train", "cpu", "f32", "host", "device"]).prop_map(Value::from),
    ];
    let field = prop::sample::select(vec![
        "id",
        "model",
        "weights",
        "backend",
        "precision",
        "threads",
        "task",
        "inputs",
        "options",
        "iterations",
        "boundary",
        "path",
        "names",
        "architecture",
        "config",
    ]);
    let value = scalar.prop_recursive(2, 8, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..4).prop_map(|m| json!(m)),
        ]
    });
    let op = prop::sample::select(vec!["load", "prepare", "run", "bind", "outputs", "usage", "dance"]);
    (op, prop::collection::hash_map(field, value, 0..8)).prop_map(|(op, fields)| {
        let mut request = json!(fields);
        request["op"] = json!(op);
        request
    })
}

/// A file whose header may be right or nearly right, followed by bytes.
fn nearly_a_tensor_file() -> impl Strategy<Value = Vec<u8>> {
    let dtype = prop::sample::select(vec!["F32", "F16", "BF16", "I64", "F64", "F4", "X"]);
    let header = (dtype, prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 64)), 0..4), 0..40u64, 0..40u64);
    let header = header.prop_map(|(dtype, shape, start, end)| {
        json!({"scale": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}).to_string().into_bytes()
    });
    (header, prop::collection::vec(any::<u8>(), 0..40), -2..2i64).prop_map(|(header, data, off)| {
        let length = header.len().wrapping_add_signed(off as isize) as u64;
        [&length.to_le_bytes()[..], &header, &data].concat()
    })
}

/// One change of a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ];
    prop::collection::vec(change, 1..4)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
    bytes
}

/// Steps of a conversation in any order, some with a field that is not as it should be; a run is short.
fn steps(fixture: &Fixture, picks: &[(u8, Option<(String, Value)>)]) -> Vec<Value> {
    let step = |pick: u8| match pick % 8 {
        0 => fixture.load(),
        1 => fixture.prepare("inputs"),
        2 => fixture.bind("others"),
        3 => fixture.bind("shorter"),
        4 => run(),
        5 => fixture.outputs(&Value::Null),
        6 => json!({"op": "usage"}),
        _ => fixture.prepare("damaged"),
    };
    let spoiled = |(pick, spoil): &(u8, Option<(String, Value)>)| {
        let mut request = step(*pick);
        if let Some((field, value)) = spoil {
            request[field.as_str()] = value.clone();
        }
        request
    };
    picks.iter().map(spoiled).collect()
}

fn picks() -> impl Strategy<Value = Vec<(u8, Option<(String, Value)>)>> {
    let field =
        prop::sample::select(vec!["weights", "inputs", "boundary", "names", "task", "threads", "model", "options"]);
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z/]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({"architecture": "llama", "config": {"a": [1, {}]}})),
    ];
    let spoil = (field.prop_map(str::to_owned), value);
    prop::collection::vec((any::<u8>(), prop::option::weighted(0.3, spoil)), 0..12)
}

/// A named pipe that nobody writes to.
#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_refused_at_once() {
    let fixture = Fixture::new();
    let pipe = fixture.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let link = fixture.path("link");
    std::os::unix::fs::symlink(&pipe, &link).expect("a writable folder");
    for path in [pipe, link, fixture.path("."), "/dev/zero".into()] {
        let (said, heard) = std::sync::mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || said.send((Weights::open(&asked).err(), Inputs::read(&asked).err())));
        let (weights, inputs) = heard.recv_timeout(std::time::Duration::from_secs(20)).expect("an answer, not a wait");
        for error in [weights, inputs] {
            let words = error.unwrap_or_else(|| panic!("{} was read", path.display())).to_string();
            assert!(words.contains("not a regular file"), "{words}");
        }
    }
}

proptest! {
    #[test]
    fn after_any_conversation_a_good_one_is_right(picks in picks(), changes in changes()) {
        let fixture = Fixture::new();
        fixture.ids("others", &[4, 5, 6]);
        fixture.ids("shorter", &[7]);
        let whole = std::fs::read(fixture.path("inputs")).expect("an inputs file");
        std::fs::write(fixture.path("damaged"), changed(whole, &changes)).expect("a writable folder");
        let mut requests = steps(&fixture, &picks);
        let good = [fixture.load(), fixture.prepare("inputs"), fixture.bind("others"), run(), fixture.outputs(&Value::Null)];
        requests.extend(good);
        let answers = converse(&requests);
        prop_assert_eq!(answers.len(), requests.len());
        for answer in &answers[picks.len()..] {
            prop_assert!(answer.get("ok").is_some(), "{answer}");
        }
        prop_assert_eq!(values(&fixture.path("outputs"), "logits"), [8.0, 10.0, 12.0]);
    }

    #[test]
    fn a_damaged_file_is_refused_or_has_what_its_header_says(changes in changes()) {
        let fixture = Fixture::new();
        let path = fixture.path("inputs");
        let damaged = changed(std::fs::read(&path).expect("an inputs file"), &changes);
        std::fs::write(&path, damaged).expect("a writable folder");
        if let Ok(inputs) = Inputs::read(&path) {
            if let Ok((shape, ids)) = inputs.i64("input_ids") {
                prop_assert_eq!(shape.iter().product::<usize>(), ids.len());
            }
            if let Ok((shape, values)) = inputs.f32("input_ids") {
                prop_assert_eq!(shape.iter().product::<usize>(), values.len());
            }
        }
        if let Ok(weights) = Weights::open(&path) {
            for shape in [&[3][..], &[], &[1, 3], &[usize::MAX, 3]] {
                let _ = weights.f32("input_ids", shape);
            }
        }
    }

    #[test]
    fn every_line_of_any_bytes_has_one_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n').count();
        let answers = raw(&bytes);
        prop_assert_eq!(answers.len(), lines);
        for answer in answers {
            prop_assert!(answer["error"]["message"].is_string());
        }
    }

    #[test]
    fn every_request_is_answered_under_its_id(requests in prop::collection::vec(nearly_a_request(), 0..6)) {
        let input: Vec<u8> = requests.iter().flat_map(|r| format!("{r}\n").into_bytes()).collect();
        let answers = raw(&input);
        prop_assert_eq!(answers.len(), requests.len());
        for (request, answer) in requests.iter().zip(answers) {
            let id = request.get("id").filter(|id| id.is_i64() || id.is_u64()).unwrap_or(&Value::Null);
            prop_assert_eq!(&answer["id"], id);
            if id.is_null() {
                prop_assert_eq!(code(&answer), "invalid_request");
            }
            prop_assert!(answer.get("ok").is_some() != answer.get("error").is_some());
        }
    }

    #[test]
    fn any_file_is_read_or_refused(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        nearly_a_tensor_file(),
    ]) {
        let fixture = Fixture::new();
        let path = fixture.path("any");
        std::fs::write(&path, bytes).expect("a writable folder");
        if let Ok(weights) = Weights::open(&path) {
            let _ = weights.f32("scale", &[1]);
        }
        if let Ok(inputs) = Inputs::read(&path) {
            let _ = (inputs.f32("scale"), inputs.i64("scale"));
        }
    }
}
