//! Whatever comes in, the loop answers and the loader does not panic.

use crate::toy::{Fixture, code, raw};
use arena_runner::{Inputs, Weights};
use proptest::prelude::*;
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

proptest! {
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
