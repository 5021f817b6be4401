//! `decode` with its cache says the same as `infer` without one, position by position.

use std::path::{Path, PathBuf};

use arena_burn::Burn;
use arena_runner::{Boundary, Framework, Inputs, LoadSpec, Model, OutputData, Task, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;

const NEW_TOKENS: usize = 5;

fn load(case: &Path) -> Box<dyn Model> {
    let text = std::fs::read(case.join("config.json")).expect("config.json");
    let case_config: Value = serde_json::from_slice(&text).expect("config.json is JSON");
    let spec = LoadSpec {
        architecture: case_config["architecture"].as_str().expect("an architecture").into(),
        config: case_config["config"].as_object().expect("a configuration").clone(),
        backend: "flex".into(),
        precision: "f32".into(),
        threads: 2,
    };
    Burn.load(&spec, &Weights::open(&case.join("weights.safetensors")).expect("weights")).expect("a model")
}

/// The logits after one execution, and the tokens where the task has them.
fn run(model: &dyn Model, task: &Task, inputs: &Inputs) -> (Vec<usize>, Vec<f32>, Vec<i64>) {
    let mut program = model.prepare(task, inputs).expect("a program");
    program.execute(Boundary::Host).expect("an execution");
    let (mut shape, mut logits, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for output in program.outputs().expect("outputs") {
        if let OutputData::I64(ids) = &output.data {
            tokens = ids.to_vec();
        } else {
            (shape, logits) = (output.shape.clone(), output.read_f32().expect("values").to_vec());
        }
    }
    (shape, logits, tokens)
}

/// An inputs file with `ids` for `name`, and what `case` has for everything else.
fn inputs(case: &Path, folder: &Path, name: &str, (rows, columns): (usize, usize), ids: &[i64]) -> Inputs {
    let file = std::fs::read(case.join("inputs.safetensors")).expect("inputs");
    let original = safetensors::SafeTensors::deserialize(&file).expect("inputs");
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut tensors: Vec<_> = original.tensors().into_iter().filter(|(other, _)| other != name).collect();
    tensors.push((name.into(), TensorView::new(Dtype::I64, vec![rows, columns], &bytes).expect("a tensor")));
    let path = folder.join("inputs.safetensors");
    serialize_to_file(tensors, None, &path).expect("a file");
    Inputs::read(&path).expect("inputs")
}

fn decode_matches_infer(case: &str, name: &str) {
    let case: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case);
    let folder = tempfile::tempdir().expect("a folder");
    let model = load(&case);
    let prompt = Inputs::read(&case.join("inputs.safetensors")).expect("inputs");
    let (shape, ids) = prompt.i64(name).expect("ids");
    let (rows, columns) = (shape[0], shape[1]);
    let task = Task::Decode { new_tokens: NEW_TOKENS };
    let (shape, logits, tokens) = run(model.as_ref(), &task, &prompt);
    let classes = shape[2];
    assert_eq!(shape, [rows, NEW_TOKENS, classes]);

    // The prompt and every new token but the last, in one go.
    let longer = columns + NEW_TOKENS - 1;
    let all: Vec<i64> = (0..rows)
        .flat_map(|row| {
            let new = tokens[row * NEW_TOKENS..][..NEW_TOKENS - 1].iter().copied();
            ids[row * columns..][..columns].iter().copied().chain(new).collect::<Vec<_>>()
        })
        .collect();
    let whole = inputs(&case, folder.path(), name, (rows, longer), &all);
    let (_, reference, _) = run(model.as_ref(), &Task::Infer, &whole);
    for row in 0..rows {
        for step in 0..NEW_TOKENS {
            let cached = &logits[(row * NEW_TOKENS + step) * classes..][..classes];
            let plain = &reference[(row * longer + columns - 1 + step) * classes..][..classes];
            let scale = plain.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (a, b) in cached.iter().zip(plain) {
                assert!((a - b).abs() <= 1e-5 * scale, "row {row}, step {step}: {a} with the cache, {b} without");
            }
            let best = (0..classes).max_by(|&a, &b| cached[a].total_cmp(&cached[b])).expect("a class");
            assert_eq!(usize::try_from(tokens[row * NEW_TOKENS + step]), Ok(best), "row {row}, step {step}");
        }
    }
}

#[test]
fn llama() {
    decode_matches_infer("llama-tiny", "input_ids");
}

#[test]
fn whisper() {
    decode_matches_infer("whisper-tiny-dims", "decoder_input_ids");
}

#[test]
fn a_decoder_without_room_says_so() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/whisper-tiny-dims");
    let prompt = Inputs::read(&case.join("inputs.safetensors")).expect("inputs");
    let error = load(&case).prepare(&Task::Decode { new_tokens: 11 }, &prompt).err().expect("no room");
    assert_eq!(error.code, arena_runner::Code::InvalidInputs);
    assert!(error.message.contains("16 positions"), "{error}");
}
