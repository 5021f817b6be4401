//! Every golden case whose architecture this runner declares, every tensor against the float64 reference.

use std::path::{Path, PathBuf};

use arena_burn::Burn;
use arena_runner::{Framework, Optimizer, golden};

/// The case folders, each with its architecture.
fn cases() -> Vec<(PathBuf, String)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let folders = std::fs::read_dir(&golden).expect("the folder of golden cases").filter_map(|entry| {
        let folder = entry.ok()?.path();
        let text = std::fs::read(folder.join("config.json")).ok()?;
        let config: serde_json::Value = serde_json::from_slice(&text).expect("config.json");
        Some((folder, config["architecture"].as_str()?.to_owned()))
    });
    let mut folders: Vec<_> = folders.collect();
    folders.sort();
    assert!(!folders.is_empty(), "no golden cases in {}", golden.display());
    folders
}

fn check_all(task: &str) {
    let declared = Burn.description().architectures;
    for (folder, architecture) in cases() {
        if declared.get(&architecture).is_some_and(|tasks| tasks.iter().any(|known| known == task)) {
            println!("{}", golden::check(&Burn, "flex", &folder, task));
        }
    }
}

#[test]
fn outputs_match_the_reference() {
    check_all("infer");
}

#[test]
fn losses_and_gradients_match_the_reference() {
    check_all("train");
}

#[test]
fn steps_follow_the_definitions() {
    let optimizers =
        [Optimizer::Sgd { lr: 0.1 }, Optimizer::AdamW { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }];
    for (folder, architecture) in cases() {
        if Burn.description().architectures.contains_key(&architecture) {
            for optimizer in &optimizers {
                println!("{}", golden::check_step(&Burn, "flex", &folder, optimizer));
            }
        }
    }
}
