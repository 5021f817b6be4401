//! Every golden case whose architecture this runner has, by every task.

use std::path::{Path, PathBuf};

use arena_candle::Candle;
use arena_runner::golden::{check, check_step};
use arena_runner::{Framework, Optimizer};

/// The case folders whose architecture has `task`.
fn cases(task: &str) -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let architectures = Candle.description().architectures;
    let mut cases: Vec<_> = std::fs::read_dir(golden)
        .expect("the folder of golden cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let Ok(config) = std::fs::read(path.join("config.json")) else { return false };
            let config: serde_json::Value = serde_json::from_slice(&config).expect("config.json is JSON");
            let name = config["architecture"].as_str().expect("an architecture");
            architectures.get(name).is_some_and(|tasks| tasks.iter().any(|t| t == task))
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no golden case for {task}");
    cases
}

#[test]
fn infer() {
    for case in cases("infer") {
        println!("{}", check(&Candle, "cpu", &case, "infer"));
    }
}

#[test]
fn train() {
    for case in cases("train") {
        println!("{}", check(&Candle, "cpu", &case, "train"));
    }
}

#[test]
fn step() {
    let adamw = Optimizer::AdamW { lr: 0.01, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1 };
    for case in cases("step") {
        println!("{}", check_step(&Candle, "cpu", &case, &Optimizer::Sgd { lr: 0.1 }));
        println!("{}", check_step(&Candle, "cpu", &case, &adamw));
    }
}
