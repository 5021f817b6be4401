//! The golden cases of every architecture that the runner declares.

use std::path::PathBuf;

use arena_meganeura::Meganeura;
use arena_runner::{Framework, Optimizer, golden};

/// The case folders whose architecture the runner has for `task`.
fn cases(task: &str) -> Vec<PathBuf> {
    let architectures = Meganeura.description().architectures;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let Ok(text) = std::fs::read_to_string(path.join("config.json")) else { return false };
            let case: serde_json::Value = serde_json::from_str(&text).unwrap();
            let tasks = architectures.get(case["architecture"].as_str().unwrap());
            tasks.is_some_and(|tasks| tasks.iter().any(|t| t == task))
        })
        .collect();
    // Other cases to try, one folder each.
    if let Ok(more) = std::env::var("ARENA_MORE_GOLDEN") {
        found.extend(std::fs::read_dir(more).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    assert!(!found.is_empty(), "no golden case for {task}");
    found
}

#[test]
fn infer() {
    for case in cases("infer") {
        println!("{}", golden::check(&Meganeura, "vulkan", &case, "infer"));
    }
}

#[test]
fn train() {
    for case in cases("train") {
        println!("{}", golden::check(&Meganeura, "vulkan", &case, "train"));
    }
}

#[test]
fn step() {
    let sgd = Optimizer::Sgd { lr: 0.1 };
    let adamw = Optimizer::AdamW { lr: 1e-2, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1 };
    for case in cases("step") {
        for optimizer in [&sgd, &adamw] {
            println!("{}", golden::check_step(&Meganeura, "vulkan", &case, optimizer));
        }
    }
}
