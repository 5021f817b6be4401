//! What an architecture is before any framework computes it, shared by every runner: the public configuration, strictly
//! read; the names and shapes of its parameters; what its inputs must be.

pub mod config;
pub mod llama;
pub mod resnet;
pub mod smolvla_expert;
pub mod unet2d_condition;
pub mod unet2d_inputs;
pub mod unet2d_plan;
pub mod whisper;

use crate::task::Task;

/// The names of the tensors that a task takes from an inputs file; every other tensor there is ignored. `None` for an
/// architecture that the contract does not know.
pub fn input_names(architecture: &str, task: &Task) -> Option<Vec<&'static str>> {
    let (mut names, extra) = match architecture {
        "llama" => (vec!["input_ids"], "labels"),
        "smolvla-expert" => (vec!["noisy_actions", "timestep", "prefix_keys", "prefix_values"], "target"),
        "unet2d-condition" => (vec!["sample", "timestep", "encoder_hidden_states"], "target"),
        "resnet" => (vec!["pixel_values"], "labels"),
        "whisper" => (vec!["input_features", "decoder_input_ids"], "labels"),
        _ => return None,
    };
    if task.has_loss() {
        names.push(extra);
    }
    Some(names)
}

/// A parameter of an architecture: the checkpoint's name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name in the public checkpoint, which is also the NAME of `grad.NAME`.
    pub name: String,
    /// The shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Whether `train` outputs its gradient and `step` changes it.
    pub trainable: bool,
}

impl Parameter {
    /// A trainable parameter of that name and shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), trainable: true }
    }

    /// A tensor of the checkpoint that no task trains (fixed positions, running statistics).
    pub fn frozen(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { trainable: false, ..Self::new(name, shape) }
    }
}
