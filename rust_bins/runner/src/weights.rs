//! The weights file, mapped: each tensor is read once, when the model is built.

use std::path::Path;

use crate::error::Result;

/// A safetensors file of parameters.
pub struct Weights {
    _private: (),
}

impl Weights {
    /// Maps the file and checks its header.
    ///
    /// # Errors
    /// `invalid_weights` when it is unreadable.
    pub fn open(path: &Path) -> Result<Self> {
        let _ = path;
        todo!()
    }

    /// Whether the file has a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }

    /// The values of a parameter as `f32`, row-major (`f16` and `bf16` are widened, exactly).
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor, when it is missing, not of `shape`, or of another type.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let _ = (name, shape);
        todo!()
    }
}
