//! Times candle-transformers' own llama, as it is, on a weights and an inputs file of the arena.
//!
//! `direct-candle CONFIG.json WEIGHTS.safetensors INPUTS.safetensors ITERATIONS` prints one line of JSON with a sample,
//! in nanoseconds, for each iteration. It computes the logits of the *last* position only: its `forward` has no other
//! way. `RAYON_NUM_THREADS` sets the number of threads, as for the runner.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};

/// Executions before the first sample.
const WARM_UP: usize = 3;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [config, weights, inputs, iterations] = arguments.as_slice() else {
        bail!("expected CONFIG.json WEIGHTS.safetensors INPUTS.safetensors ITERATIONS");
    };
    let iterations: usize = iterations.parse().context("ITERATIONS")?;
    let config: LlamaConfig = serde_json::from_slice(&std::fs::read(config).context("CONFIG.json")?)?;
    let config = config.into_config(false);

    // Through `load` and not a mapping, so that nothing is paged in while it is timed.
    let tensors = candle_core::safetensors::load(PathBuf::from(weights), &Device::Cpu)?;
    let llama = Llama::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config)?;
    let inputs = candle_core::safetensors::load(PathBuf::from(inputs), &Device::Cpu)?;
    let input_ids = inputs.get("input_ids").context("the inputs have no `input_ids`")?;

    let mut samples_ns = Vec::with_capacity(iterations);
    for i in 0..WARM_UP + iterations {
        let mut cache = Cache::new(false, DType::F32, &config, &Device::Cpu)?;
        let start = Instant::now();
        let logits = Device::Cpu.with_context(|| llama.forward(input_ids, 0, &mut cache))?;
        let sample = start.elapsed();
        assert!(logits.dims().len() == 2, "logits of the last position");
        if i >= WARM_UP {
            samples_ns.push(u64::try_from(sample.as_nanos())?);
        }
    }
    println!("{}", serde_json::json!({"program": "candle-transformers llama 0.11.1", "samples_ns": samples_ns}));
    Ok(())
}
