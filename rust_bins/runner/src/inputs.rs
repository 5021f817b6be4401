//! The inputs file: a few small tensors, read whole.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// One input tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The values.
    pub data: InputData,
}

/// The values of an [`Input`].
#[derive(Debug, Clone, PartialEq)]
pub enum InputData {
    /// Real values.
    F32(Vec<f32>),
    /// Ids.
    I64(Vec<i64>),
}

/// The tensors of an inputs file by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs {
    tensors: BTreeMap<String, Input>,
}

impl Inputs {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// `invalid_inputs` when the file is unreadable, or a tensor is neither f32 nor i64.
    pub fn read(path: &Path) -> Result<Self> {
        let _ = path;
        todo!()
    }

    /// The `f32` tensor of that name: its shape and values.
    ///
    /// # Errors
    /// `invalid_inputs` when it is missing or of another type.
    pub fn f32(&self, name: &str) -> Result<(&[usize], &[f32])> {
        match self.tensors.get(name) {
            Some(Input { shape, data: InputData::F32(values) }) => Ok((shape, values)),
            Some(_) => Err(Error::invalid_inputs(format!("input `{name}` is i64, expected f32"))),
            None => Err(Error::invalid_inputs(format!("input `{name}` is missing"))),
        }
    }

    /// The `i64` tensor of that name: its shape and values.
    ///
    /// # Errors
    /// `invalid_inputs` when it is missing or of another type.
    pub fn i64(&self, name: &str) -> Result<(&[usize], &[i64])> {
        match self.tensors.get(name) {
            Some(Input { shape, data: InputData::I64(values) }) => Ok((shape, values)),
            Some(_) => Err(Error::invalid_inputs(format!("input `{name}` is f32, expected i64"))),
            None => Err(Error::invalid_inputs(format!("input `{name}` is missing"))),
        }
    }
}
