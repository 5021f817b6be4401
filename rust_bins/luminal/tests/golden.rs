//! Every golden case whose architecture this runner declares, within the gate.

use std::path::{Path, PathBuf};

use arena_luminal::Luminal;
use arena_runner::golden;
use arena_runner::{Framework, Optimizer};
use serde_json::Value;

fn cases() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let folders = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut cases: Vec<PathBuf> =
        folders.map(|f| f.unwrap().path()).filter(|f| f.join("config.json").exists()).collect();
    cases.sort();
    let architecture = |case: &Path| {
        let config: Value = serde_json::from_slice(&std::fs::read(case.join("config.json")).unwrap()).unwrap();
        config["architecture"].as_str().unwrap().to_owned()
    };
    cases.into_iter().map(|case| (case.clone(), architecture(&case))).collect()
}

fn check(task: &str) {
    let description = Luminal.description();
    for (case, architecture) in cases() {
        if description.architectures.get(&architecture).is_some_and(|tasks| tasks.iter().any(|t| t == task)) {
            println!("{}", golden::check(&Luminal, "cpu", &case, task));
        }
    }
}

#[test]
fn golden_inference_passes() {
    check("infer");
}

#[test]
fn golden_training_passes() {
    check("train");
}

#[test]
fn golden_steps_pass() {
    let adamw = Optimizer::AdamW { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 };
    for (case, architecture) in cases() {
        if Luminal.description().architectures.contains_key(&architecture) {
            for optimizer in [&Optimizer::Sgd { lr: 0.1 }, &adamw] {
                println!("{}", golden::check_step(&Luminal, "cpu", &case, optimizer));
            }
        }
    }
}
