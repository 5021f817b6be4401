//! The protocol loop, as a driver sees it: order, errors that leave the runner usable, whole conversations.

use crate::toy::{Fixture, code, converse, raw, run, values};
use safetensors::Dtype;
use serde_json::{Value, json};

#[test]
fn a_whole_conversation() {
    let fixture = Fixture::new();
    fixture.ids("others", &[4, 5, 6]);
    let answers = converse(&[
        fixture.load(),
        fixture.prepare("inputs"),
        fixture.bind("others"),
        json!({"op": "run", "iterations": 3, "boundary": "device", "a field of a later version": 1}),
        fixture.outputs(&Value::Null),
        json!({"op": "usage"}),
        json!({"op": "shutdown"}),
        json!({"op": "usage"}),
    ]);
    assert_eq!(answers.len(), 7, "nothing is answered after shutdown");
    assert_eq!((&answers[0]["ok"]["parameters"], &answers[0]["ok"]["parameter_bytes"]), (&json!(1), &json!(4)));
    assert!(answers[1]["ok"]["first_ns"].is_u64() && answers[1]["ok"]["prepare_ns"].is_u64());
    assert_eq!(answers[2]["ok"], json!({}));
    assert_eq!(answers[3]["ok"]["samples_ns"].as_array().map(Vec::len), Some(3));
    assert_eq!(answers[3]["ok"].get("first_token_ns"), None);
    assert_eq!(answers[4]["ok"], json!({"tensors": 3}));
    assert!(answers[5]["ok"]["peak_rss_bytes"].as_u64() > Some(100_000));
    assert_eq!(answers[6]["ok"], json!({}));
    for name in ["logits", "lazy"] {
        assert_eq!(values(&fixture.path("outputs"), name), [8.0, 10.0, 12.0]);
    }
}

#[test]
fn outputs_are_those_of_the_latest_execution() {
    let fixture = Fixture::new();
    fixture.ids("others", &[4, 5, 6]);
    converse(&[fixture.load(), fixture.prepare("inputs"), fixture.bind("others"), fixture.outputs(&json!(["logits"]))]);
    assert_eq!(values(&fixture.path("outputs"), "logits"), [2.0, 4.0, 6.0]);
}

#[test]
fn operations_out_of_order_are_invalid_requests() {
    let fixture = Fixture::new();
    let answers = converse(&[
        fixture.prepare("inputs"),
        run(),
        fixture.load(),
        run(),
        fixture.bind("inputs"),
        fixture.outputs(&Value::Null),
        fixture.prepare("inputs"),
        fixture.load(),
        run(),
    ]);
    for at in [0, 1, 3, 4, 5, 8] {
        assert_eq!(code(&answers[at]), "invalid_request", "answer {at}");
    }
}

#[test]
fn what_was_loaded_stays_after_every_error() {
    let fixture = Fixture::new();
    fixture.ids("longer", &[1, 2, 3, 4]);
    fixture.ids("bad", &[1, 99, 3]);
    fixture.write("nan", &[("scale", Dtype::F32, &[], &f32::NAN.to_le_bytes())]);
    fixture.write("vector", &[("scale", Dtype::F32, &[1], &[0; 4])]);
    fixture.write("whole", &[("scale", Dtype::I64, &[], &[0; 8])]);
    fixture.write("empty", &[]);
    let with = |request: Value, key: &str, value: Value| {
        let mut request = request;
        request[key] = value;
        request
    };
    let weights = |name: &str| with(fixture.load(), "weights", json!(fixture.path(name)));
    let cases = [
        (weights("nan"), "invalid_weights", "`scale` is NaN"),
        (weights("vector"), "invalid_weights", "`scale` has shape [1]"),
        (weights("whole"), "invalid_weights", "`scale` is I64"),
        (weights("empty"), "invalid_weights", "`scale` is missing"),
        (weights("absent"), "invalid_weights", "cannot read"),
        (weights("."), "invalid_weights", "not a regular file"),
        (with(fixture.load(), "backend", json!("cuda")), "unsupported", "`cuda` is not one of `cpu`"),
        (with(fixture.load(), "precision", json!("f16")), "unsupported", "`f16`"),
        (with(fixture.load(), "threads", json!(0)), "invalid_request", "`threads`"),
        (with(fixture.load(), "threads", json!("1")), "invalid_request", "load: invalid type"),
        (with(fixture.load(), "model", json!({"architecture": "gpt", "config": {}})), "unsupported", "`gpt`"),
        (with(fixture.prepare("inputs"), "task", json!("train")), "unsupported", "`train`"),
        (with(fixture.prepare("inputs"), "task", json!("dance")), "invalid_request", "dance"),
        (with(fixture.prepare("inputs"), "task", json!("decode")), "invalid_request", "new_tokens"),
        (with(fixture.prepare("inputs"), "task", json!("step")), "invalid_request", "optimizer"),
        (fixture.prepare("bad"), "invalid_inputs", "99"),
        (fixture.prepare("weights"), "invalid_inputs", "`input_ids` is missing"),
        (fixture.bind("longer"), "invalid_inputs", "`input_ids` is i64 [4]"),
        (fixture.bind("absent"), "invalid_inputs", "cannot read"),
        (fixture.outputs(&json!(["logits", "speed"])), "invalid_request", "`speed`"),
        (json!({"op": "outputs", "path": "/no/such/folder/file"}), "invalid_request", "cannot create"),
        (with(run(), "iterations", json!(0)), "invalid_request", "`iterations`"),
        (with(run(), "boundary", json!("nowhere")), "invalid_request", "nowhere"),
        (json!({"op": "dance"}), "unknown_op", "`dance`"),
        (json!({"op": 3}), "invalid_request", "`op`"),
        (json!({}), "invalid_request", "`op`"),
    ];
    let mut requests = vec![fixture.load(), fixture.prepare("inputs")];
    for (request, ..) in &cases {
        requests.extend([request.clone(), run()]);
    }
    requests.push(fixture.outputs(&json!(["logits"])));
    let answers = converse(&requests);
    for (i, (request, expected, text)) in cases.iter().enumerate() {
        let answer = &answers[2 + 2 * i];
        assert_eq!(code(answer), *expected, "{request} was answered {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|m| m.contains(text)), "{answer} names {text}");
        assert!(answers[3 + 2 * i]["ok"].is_object(), "usable after {request}");
    }
    assert_eq!(values(&fixture.path("outputs"), "logits"), [2.0, 4.0, 6.0]);
}

#[test]
fn there_are_no_outputs_of_a_failed_execution() {
    let fixture = Fixture::new();
    fixture.ids("bad", &[1, 99, 3]);
    let outputs = fixture.outputs(&Value::Null);
    let answers = converse(&[
        fixture.load(),
        fixture.prepare("inputs"),
        fixture.bind("bad"),
        run(),
        outputs.clone(),
        fixture.bind("inputs"),
        run(),
        outputs,
    ]);
    assert_eq!((code(&answers[3]), code(&answers[4])), ("invalid_inputs", "invalid_request"));
    assert_eq!(answers[7]["ok"]["tensors"], 3);
}

#[test]
fn tensors_that_the_task_does_not_name_are_ignored() {
    let fixture = Fixture::new();
    let ids: Vec<u8> = [7i64, 8, 9].iter().flat_map(|id| id.to_le_bytes()).collect();
    let tensors: [(_, _, &[usize], &[u8]); 2] =
        [("input_ids", Dtype::I64, &[3], &ids), ("labels", Dtype::F64, &[1], &[0; 8])];
    fixture.write("more", &tensors);
    let answers = converse(&[fixture.load(), fixture.prepare("inputs"), fixture.bind("more"), run()]);
    assert!(answers[3]["ok"].is_object(), "{answers:?}");
    fixture.write("foreign", &[("input_ids", Dtype::I32, &[1], &[0; 4])]);
    let answers = converse(&[fixture.load(), fixture.prepare("foreign")]);
    assert!(answers[1]["error"]["message"].as_str().is_some_and(|m| m.contains("is i32, expected i64")));
}

#[test]
fn lines_are_bounded() {
    let line = |bytes: usize| {
        let head = br#"{"id":1,"op":"usage","filler":""#.to_vec();
        let fill = bytes - head.len() - 2;
        [head, vec![b'x'; fill], b"\"}".to_vec()].concat()
    };
    let (longest, too_long) = (line(1 << 20), line((1 << 20) + 1));
    let answers = raw(&[&longest[..], b"\n", &too_long, b"\n", br#"{"id":2,"op":"usage"}"#].concat());
    assert_eq!(answers.len(), 3);
    assert!(answers[0]["ok"].is_object());
    assert_eq!((code(&answers[1]), &answers[1]["id"]), ("invalid_request", &Value::Null));
    assert_eq!(answers[2]["id"], 2, "a last line needs no newline");
}
