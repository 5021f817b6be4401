//! What every architecture is to the programs that execute it.

use std::collections::BTreeMap;

use arena_runner::architecture::Parameter;
use arena_runner::{Error, Inputs, Result};
use candle_core::{Device, Tensor};

use crate::decode::Decoder;
use crate::store::View;

/// An architecture with its configuration.
pub trait Architecture {
    /// The checkpoint's tensors.
    fn parameters(&self) -> Vec<Parameter>;

    /// The network over the parameters of `view`.
    ///
    /// # Errors
    /// Candle's.
    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>>;
}

/// A network over its parameters.
pub trait Network: Send + Sync {
    /// The contract's name of what [`Network::forward`] makes.
    fn output_name(&self) -> &'static str;

    /// Checks the inputs of a task and makes tensors of them, with the tables that depend on their shapes alone
    /// (angles, masks). `with_loss`: the labels or the target too.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn bind(&self, inputs: &Inputs, with_loss: bool) -> Result<Bound>;

    /// One forward pass.
    ///
    /// # Errors
    /// Candle's.
    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor>;

    /// The loss, a scalar.
    ///
    /// # Errors
    /// Candle's.
    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor>;

    /// Generation with a key/value cache, for the architectures that generate.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }

    /// How many tokens can be generated after this prompt.
    ///
    /// # Errors
    /// When the prompt is not bound.
    fn most_new_tokens(&self, _: &Bound) -> candle_core::Result<usize> {
        Ok(usize::MAX)
    }
}

/// Input tensors by name.
#[derive(Default)]
pub struct Bound(BTreeMap<&'static str, Tensor>);

impl Bound {
    /// Adds `f32` values.
    ///
    /// # Errors
    /// `internal`, candle's.
    pub fn f32(self, name: &'static str, values: &[f32], shape: &[usize]) -> Result<Self> {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).map_err(internal)?;
        Ok(self.with(name, tensor))
    }

    /// Adds ids, which have been checked to be small and not negative.
    ///
    /// # Errors
    /// `internal`, candle's.
    pub fn ids(self, name: &'static str, ids: &[i64], shape: &[usize]) -> Result<Self> {
        Ok(self.with(name, id_tensor(ids, shape).map_err(internal)?))
    }

    /// Adds a tensor.
    #[must_use]
    pub fn with(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.0.insert(name, tensor);
        self
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// When it was not bound, which is a mistake of the network.
    pub fn get(&self, name: &str) -> candle_core::Result<&Tensor> {
        self.0.get(name).ok_or_else(|| candle_core::Error::Msg(format!("input `{name}` is not bound")))
    }
}

/// Ids as candle indexes with them.
///
/// # Errors
/// When an id does not fit, which the caller has excluded.
pub fn id_tensor(ids: &[i64], shape: &[usize]) -> candle_core::Result<Tensor> {
    let ids: Vec<u32> = ids.iter().map(|&id| u32::try_from(id)).collect::<std::result::Result<_, _>>()?;
    Tensor::from_vec(ids, shape, &Device::Cpu)
}

/// An error of candle in the contract's words.
#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
pub fn internal(error: candle_core::Error) -> Error {
    Error::internal(format!("candle: {error}"))
}
