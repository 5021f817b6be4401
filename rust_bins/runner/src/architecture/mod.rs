//! What an architecture is before any framework computes it, shared by every runner: the public configuration, strictly
//! read; the names and shapes of its parameters; what its inputs must be.

pub mod config;
pub mod llama;

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
