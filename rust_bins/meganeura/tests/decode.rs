//! `decode` with its caches says what `infer` says of the whole text.

use std::path::PathBuf;

use arena_meganeura::Meganeura;
use arena_runner::{Boundary, Code, Framework, Input, InputData, Inputs, LoadSpec, Model, Task, Weights};
use serde_json::Value;

/// A golden case, loaded, with its inputs and the name of its prompt.
struct Case {
    model: Box<dyn Model>,
    inputs: Inputs,
    prompt: &'static str,
}

fn open(case: &str, prompt: &'static str) -> Case {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case);
    let json: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let spec = LoadSpec {
        architecture: json["architecture"].as_str().unwrap().into(),
        config: json["config"].as_object().unwrap().clone(),
        backend: "vulkan".into(),
        precision: "f32".into(),
        threads: 2,
    };
    let model = Meganeura.load(&spec, &Weights::open(&folder.join("weights.safetensors")).unwrap()).unwrap();
    Case { model, inputs: Inputs::read(&folder.join("inputs.safetensors")).unwrap(), prompt }
}

/// The same inputs with another prompt `[rows, ids.len() / rows]`.
fn with_prompt(case: &Case, names: &[&str], rows: usize, ids: Vec<i64>) -> Inputs {
    let others = names.iter().map(|&name| (name.to_owned(), case.inputs.get(name).unwrap().clone()));
    let prompt = Input { shape: vec![rows, ids.len() / rows], data: InputData::I64(ids) };
    others.chain([(case.prompt.to_owned(), prompt)]).collect()
}

fn decode_is_infer(case: &Case, others: &[&str]) {
    const NEW: usize = 4;
    let mut program = case.model.prepare(&Task::Decode { new_tokens: NEW }, &case.inputs).unwrap();
    // Twice: nothing of the first generation may be left in the second.
    for _ in 0..2 {
        assert!(program.execute(Boundary::Host).unwrap().first_token.is_some());
    }
    let outputs = program.outputs().unwrap();
    let output = |name: &str| outputs.iter().find(|output| output.name == name).unwrap();
    let logits = output("logits").read_f32().unwrap();
    let arena_runner::OutputData::I64(tokens) = &output("tokens").data else { panic!("tokens are ids") };
    let &[rows, steps, classes] = output("logits").shape.as_slice() else { panic!("logits are [B, N, V]") };
    assert_eq!((steps, output("tokens").shape.as_slice()), (NEW, [rows, NEW].as_slice()));

    let (shape, prompt) = case.inputs.i64(case.prompt).unwrap();
    let (seq, whole) = (shape[1], shape[1] + NEW - 1);
    let row = |b: usize| prompt[b * seq..][..seq].iter().chain(&tokens[b * NEW..][..NEW - 1]).copied();
    let inputs = with_prompt(case, others, rows, (0..rows).flat_map(row).collect());
    let mut program = case.model.prepare(&Task::Infer, &inputs).unwrap();
    program.execute(Boundary::Host).unwrap();
    let outputs = program.outputs().unwrap();
    let expected = outputs[0].read_f32().unwrap();
    for (b, i) in (0..rows).flat_map(|b| (0..NEW).map(move |i| (b, i))) {
        let decoded = &logits[(b * NEW + i) * classes..][..classes];
        let inferred = &expected[(b * whole + seq - 1 + i) * classes..][..classes];
        let size = inferred.iter().map(|x| x * x).sum::<f32>().sqrt();
        let distance = decoded.iter().zip(inferred).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(distance <= 2e-6 * size, "sample {b}, token {i}: {distance} of {size}");
        let best = decoded.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(decoded[usize::try_from(tokens[b * NEW + i]).unwrap()] >= best, "sample {b}, token {i}");
    }
}

#[test]
fn llama() {
    decode_is_infer(&open("llama-tiny", "input_ids"), &[]);
}

#[test]
fn whisper() {
    decode_is_infer(&open("whisper-tiny-dims", "decoder_input_ids"), &["input_features"]);
}

#[test]
fn whisper_has_no_more_positions_than_its_table() {
    let case = open("whisper-tiny-dims", "decoder_input_ids");
    let error = case.model.prepare(&Task::Decode { new_tokens: 11 }, &case.inputs).err().unwrap();
    assert_eq!(error.code, Code::InvalidInputs);
    assert!(error.message.contains("decoder_input_ids"), "{error}");
}
