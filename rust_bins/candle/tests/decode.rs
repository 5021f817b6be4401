//! Generation with a cache is generation without one; training twice gives the same bits.

use std::path::{Path, PathBuf};

use arena_candle::Candle;
use arena_runner::{Boundary, Framework, Input, InputData, Inputs, LoadSpec, Model, OutputData, Task, Weights};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn load(case: &Path) -> Box<dyn Model> {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(case.join("config.json")).expect("config.json")).expect("JSON");
    let spec = LoadSpec {
        architecture: config["architecture"].as_str().expect("a name").into(),
        config: config["config"].as_object().expect("an object").clone(),
        backend: "cpu".into(),
        precision: "f32".into(),
        threads: 2,
    };
    Candle.load(&spec, &Weights::open(&case.join("weights.safetensors")).expect("weights")).expect("a model")
}

fn execute(model: &dyn Model, task: &Task, inputs: &Inputs) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut program = model.prepare(task, inputs).expect("a program");
    program.execute(Boundary::Host).expect("an execution");
    let outputs = program.outputs().expect("outputs");
    let values = |data: &OutputData<'_>| match data {
        OutputData::F32(values) => values.to_vec(),
        OutputData::I64(ids) => ids.iter().map(|&id| id as f32).collect(),
        OutputData::LazyF32(read) => read().expect("values"),
    };
    outputs.iter().map(|output| (output.name.clone(), output.shape.clone(), values(&output.data))).collect()
}

/// Generates from `ids` (the input of that name, `[B, T]`) and compares with reading everything again for each token.
fn compare_with_rereading(name: &str, ids: &str, new_tokens: usize) {
    let case = case(name);
    let (model, inputs) = (load(&case), Inputs::read(&case.join("inputs.safetensors")).expect("inputs"));
    let generated = execute(model.as_ref(), &Task::Decode { new_tokens }, &inputs);
    let [(_, tokens_shape, tokens), (_, logits_shape, logits)] = generated.as_slice() else { panic!("two outputs") };
    let (shape, prompt) = inputs.i64(ids).expect("the prompt");
    let (batch, length) = (shape[0], shape[1]);
    let vocabulary = logits_shape[2];
    assert_eq!((&tokens_shape[..], &logits_shape[..2]), (&[batch, new_tokens][..], &[batch, new_tokens][..]));

    let mut rows: Vec<Vec<i64>> = prompt.chunks(length).map(<[i64]>::to_vec).collect();
    for i in 0..new_tokens {
        let seen = rows[0].len();
        let read = Input { shape: vec![batch, seen], data: InputData::I64(rows.concat()) };
        let mut all: Vec<(String, Input)> = vec![(ids.to_owned(), read)];
        all.extend(inputs.get("input_features").map(|x| ("input_features".to_owned(), x.clone())));
        let outputs = execute(model.as_ref(), &Task::Infer, &all.into_iter().collect());
        for (b, row) in rows.iter_mut().enumerate() {
            let expected = &outputs[0].2[(b * seen + seen - 1) * vocabulary..][..vocabulary];
            let actual = &logits[(b * new_tokens + i) * vocabulary..][..vocabulary];
            let scale = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
            let off = actual.iter().zip(expected).fold(0f32, |m, (a, e)| m.max((a - e).abs()));
            assert!(off <= 1e-5 * scale, "{name}: token {i} of row {b}: {off} of {scale}");
            let best = (0..vocabulary).max_by(|&x, &y| expected[x].total_cmp(&expected[y])).expect("a vocabulary");
            assert!((tokens[b * new_tokens + i] - best as f32).abs() < 0.5, "{name}: token {i} of row {b}");
            row.push(i64::try_from(best).expect("a small id"));
        }
    }
}

#[test]
fn llama_decodes_as_it_reads() {
    compare_with_rereading("llama-tiny", "input_ids", 6);
}

#[test]
fn whisper_decodes_as_it_reads() {
    compare_with_rereading("whisper-tiny-dims", "decoder_input_ids", 6);
}

#[test]
fn whisper_refuses_more_tokens_than_positions() {
    let case = case("whisper-tiny-dims");
    let (model, inputs) = (load(&case), Inputs::read(&case.join("inputs.safetensors")).expect("inputs"));
    let error = model.prepare(&Task::Decode { new_tokens: 11 }, &inputs).err().expect("an error");
    assert!(error.message.contains("positions for 10"), "{error}");
}

#[test]
fn training_twice_gives_the_same_bits() {
    for name in ["llama-tiny", "resnet-tiny", "smolvla-expert-tiny", "unet-tiny", "whisper-tiny-dims"] {
        let case = case(name);
        let (model, inputs) = (load(&case), Inputs::read(&case.join("inputs.safetensors")).expect("inputs"));
        let bits = || {
            let outputs = execute(model.as_ref(), &Task::Train, &inputs);
            outputs.into_iter().map(|(name, _, v)| (name, v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
        };
        assert!(bits().eq(bits()), "{name}");
    }
}
