//! The weights file, mapped: each tensor is read once, when the model is built.

use std::path::Path;

use crate::error::{Error, Result};
use crate::safetensor::TensorFile;

/// A safetensors file of parameters.
pub struct Weights {
    file: TensorFile,
}

impl Weights {
    /// Maps the file and checks its header.
    ///
    /// # Errors
    /// `invalid_weights` when it is unreadable.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)
            .map_err(|e| Error::invalid_weights(format!("cannot read weights `{}`: {e}", path.display())))?;
        Ok(Self { file })
    }

    /// Whether the file has a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.file.get(name).is_some()
    }

    /// The values of a parameter as `f32`, row-major (`f16` and `bf16` are widened, exactly).
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor, when it is missing, not of `shape`, of another type, or holds a value that
    /// is not finite (no number computed from it could be checked).
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(tensor) = self.file.get(name) else {
            return Err(Error::invalid_weights(format!("weight `{name}` is missing")));
        };
        if tensor.info.shape != shape {
            return Err(Error::invalid_weights(format!(
                "weight `{name}` has shape {:?}, expected {shape:?}",
                tensor.info.shape
            )));
        }
        let values = tensor.to_f32().ok_or_else(|| {
            Error::invalid_weights(format!("weight `{name}` is {}, expected F32, F16 or BF16", tensor.info.dtype))
        })?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(Error::invalid_weights(format!("weight `{name}` is {} at {at}, not finite", values[at]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn half_precisions_are_widened_exactly() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // 1.5, the smallest subnormal and the largest finite value of each type.
        let f16: Vec<u8> = [0x3e00u16, 0x0001, 0x7bff].iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let bf16: Vec<u8> = [0x3fc0u16, 0x0001, 0x7f7f].iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let views = [
            ("f16", TensorView::new(Dtype::F16, vec![3], &f16).unwrap()),
            ("bf16", TensorView::new(Dtype::BF16, vec![3], &bf16).unwrap()),
        ];
        safetensors::serialize_to_file(views, None, file.path()).unwrap();
        let weights = Weights::open(file.path()).unwrap();
        assert_eq!(weights.f32("f16", &[3]).unwrap(), [1.5, 2f32.powi(-24), 65504.0]);
        assert_eq!(weights.f32("bf16", &[3]).unwrap(), [1.5, f32::from_bits(0x0001_0000), f32::from_bits(0x7f7f_0000)]);
    }
}
