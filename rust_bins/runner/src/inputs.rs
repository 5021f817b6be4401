//! The inputs file: a few small tensors, read whole.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::safetensor::TensorFile;

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

impl Input {
    /// The name of the type of the values.
    pub fn dtype(&self) -> &'static str {
        match self.data {
            InputData::F32(_) => "f32",
            InputData::I64(_) => "i64",
        }
    }
}

/// The tensors of an inputs file by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs {
    tensors: BTreeMap<String, Input>,
    /// Tensors of types that no task takes: remembered by name, for the message if one asks for them.
    foreign: BTreeMap<String, String>,
}

impl Inputs {
    /// Reads a safetensors file. A tensor that is neither f32 nor i64 is an error only when it is asked for, since
    /// tensors that the task does not name are ignored.
    ///
    /// # Errors
    /// `invalid_inputs` when the file is unreadable.
    pub fn read(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)
            .map_err(|e| Error::invalid_inputs(format!("cannot read inputs `{}`: {e}", path.display())))?;
        let mut inputs = Self::default();
        for name in file.names() {
            let Some(raw) = file.get(&name) else { continue };
            let data = match raw.info.dtype {
                safetensors::Dtype::F32 => raw.to_f32().map(InputData::F32),
                _ => raw.to_i64().map(InputData::I64),
            };
            match data {
                Some(data) => {
                    inputs.tensors.insert(name, Input { shape: raw.info.shape.clone(), data });
                }
                None => {
                    inputs.foreign.insert(name, raw.info.dtype.to_string().to_lowercase());
                }
            }
        }
        Ok(inputs)
    }

    /// The tensor of that name, whatever its type.
    pub fn get(&self, name: &str) -> Option<&Input> {
        self.tensors.get(name)
    }

    /// Only the tensors of these names, as far as they exist.
    #[must_use]
    pub fn only(mut self, names: &[&str]) -> Self {
        self.tensors.retain(|name, _| names.contains(&name.as_str()));
        self.foreign.retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// Each tensor changed by `change`.
    #[cfg(feature = "golden")]
    #[must_use]
    pub(crate) fn map(mut self, change: impl Fn(Input) -> Input) -> Self {
        self.tensors = self.tensors.into_iter().map(|(name, input)| (name, change(input))).collect();
        self
    }

    /// Checks that `other` has the same names, types and shapes.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the first tensor that differs.
    pub fn check_alike(&self, other: &Self) -> Result<()> {
        for (name, expected) in &self.tensors {
            let Some(found) = other.tensors.get(name) else { return Err(other.absent(name, expected.dtype())) };
            if (found.dtype(), &found.shape) != (expected.dtype(), &expected.shape) {
                return Err(Error::invalid_inputs(format!(
                    "input `{name}` is {} {:?}, prepared for {} {:?}: prepare again for other shapes",
                    found.dtype(),
                    found.shape,
                    expected.dtype(),
                    expected.shape
                )));
            }
        }
        match other.tensors.keys().find(|name| !self.tensors.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(Error::invalid_inputs(format!("input `{name}` was not there at prepare"))),
        }
    }

    /// The `f32` tensor of that name: its shape and values.
    ///
    /// # Errors
    /// `invalid_inputs` when it is missing or of another type.
    pub fn f32(&self, name: &str) -> Result<(&[usize], &[f32])> {
        match self.tensors.get(name) {
            Some(Input { shape, data: InputData::F32(values) }) => Ok((shape, values)),
            Some(_) => Err(Error::invalid_inputs(format!("input `{name}` is i64, expected f32"))),
            None => Err(self.absent(name, "f32")),
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
            None => Err(self.absent(name, "i64")),
        }
    }

    fn absent(&self, name: &str, expected: &str) -> Error {
        Error::invalid_inputs(match self.foreign.get(name) {
            Some(dtype) => format!("input `{name}` is {dtype}, expected {expected}"),
            None => format!("input `{name}` is missing"),
        })
    }
}

impl FromIterator<(String, Input)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (String, Input)>>(tensors: I) -> Self {
        Self { tensors: tensors.into_iter().collect(), foreign: BTreeMap::new() }
    }
}
