//! Generation with the cache takes the tokens, and finds the logits, of a run without one.

use std::path::{Path, PathBuf};

use arena_luminal::Luminal;
use arena_runner::{Boundary, Framework, Inputs, LoadSpec, Model, Output, OutputData, Task, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;

const NEW_TOKENS: usize = 5;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn load(case: &Path) -> Box<dyn Model> {
    let config: Value = serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
    let spec = LoadSpec {
        architecture: config["architecture"].as_str().unwrap().into(),
        config: config["config"].as_object().unwrap().clone(),
        backend: "cpu".into(),
        precision: "f32".into(),
        threads: std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2),
    };
    Luminal.load(&spec, &Weights::open(&case.join("weights.safetensors")).unwrap()).unwrap()
}

/// The second execution's outputs by name: shape and values.
fn outputs(model: &dyn Model, task: &Task, inputs: &Inputs) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut program = model.prepare(task, inputs).unwrap();
    program.execute(Boundary::Host).unwrap();
    program.execute(Boundary::Host).unwrap();
    let outputs = program.outputs().unwrap();
    let values = |output: &Output<'_>| match &output.data {
        OutputData::I64(ids) => ids.iter().map(|&id| id as f32).collect(),
        _ => output.read_f32().unwrap().to_vec(),
    };
    outputs.iter().map(|o| (o.name.clone(), o.shape.clone(), values(o))).collect()
}

/// The inputs of `case` with other ids.
fn with_ids(case: &Path, name: &str, shape: [usize; 2], ids: &[i64]) -> Inputs {
    let file = std::fs::read(case.join("inputs.safetensors")).unwrap();
    let original = safetensors::SafeTensors::deserialize(&file).unwrap();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut tensors: Vec<_> = original.tensors().into_iter().filter(|(other, _)| other != name).collect();
    tensors.push((name.into(), TensorView::new(Dtype::I64, shape.to_vec(), &bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inputs.safetensors");
    serialize_to_file(tensors, None, &path).unwrap();
    Inputs::read(&path).unwrap()
}

fn check(name: &str, ids_name: &str) {
    let case = case(name);
    let model = load(&case);
    let inputs = Inputs::read(&case.join("inputs.safetensors")).unwrap();
    let (shape, ids) = inputs.i64(ids_name).unwrap();
    let (batch, length) = (shape[0], shape[1]);
    let decoded = outputs(&*model, &Task::Decode { new_tokens: NEW_TOKENS }, &inputs);
    let find = |name: &str| decoded.iter().find(|o| o.0 == name).unwrap();
    let (_, tokens_shape, tokens) = find("tokens");
    let (_, logits_shape, logits) = find("logits");
    let width = logits_shape[2];
    assert_eq!((tokens_shape, logits_shape), (&vec![batch, NEW_TOKENS], &vec![batch, NEW_TOKENS, width]));

    // Everything but the last token, in one go and without a cache.
    let total = length + NEW_TOKENS - 1;
    let rows = (0..batch).flat_map(|b| {
        let new = tokens[b * NEW_TOKENS..][..NEW_TOKENS - 1].iter().map(|&t| t as i64);
        ids[b * length..][..length].iter().copied().chain(new).collect::<Vec<_>>()
    });
    let whole = with_ids(&case, ids_name, [batch, total], &rows.collect::<Vec<_>>());
    let (_, _, reference) = &outputs(&*model, &Task::Infer, &whole)[0];
    for b in 0..batch {
        for i in 0..NEW_TOKENS {
            let cached = &logits[(b * NEW_TOKENS + i) * width..][..width];
            let plain = &reference[(b * total + length - 1 + i) * width..][..width];
            let scale = plain.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(cached.iter().zip(plain).all(|(a, b)| (a - b).abs() <= 1e-5 * scale), "{name}: row {b}, token {i}");
            let best = (0..width).max_by(|&a, &b| plain[a].total_cmp(&plain[b])).unwrap();
            assert_eq!(tokens[b * NEW_TOKENS + i].to_bits(), (best as f32).to_bits(), "{name}: row {b}, token {i}");
        }
    }
}

#[test]
fn llama_generates_as_without_a_cache() {
    check("llama-tiny", "input_ids");
}

#[test]
fn whisper_generates_as_without_a_cache() {
    check("whisper-tiny-dims", "decoder_input_ids");
}

#[test]
fn whisper_has_no_positions_beyond_its_last() {
    let case = case("whisper-tiny-dims");
    let inputs = Inputs::read(&case.join("inputs.safetensors")).unwrap();
    let refused = load(&case).prepare(&Task::Decode { new_tokens: 11 }, &inputs).err().unwrap();
    assert!(refused.message.contains("max_target_positions 16"), "{refused}");
}
