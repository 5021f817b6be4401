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

    /// Checks the inputs of a task and puts them on the device. `with_loss`: the labels or the target too.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor; `out_of_memory`.
    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound>;

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

/// Input tensors by name, on the device that computes, and in host memory beside it.
pub struct Bound {
    device: Device,
    host: BTreeMap<&'static str, Tensor>,
    resident: BTreeMap<&'static str, Tensor>,
}

impl Bound {
    /// No inputs yet, for that device.
    pub fn on(device: &Device) -> Self {
        Self { device: device.clone(), host: BTreeMap::new(), resident: BTreeMap::new() }
    }

    /// The device that computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Adds `f32` values.
    ///
    /// # Errors
    /// `internal` and `out_of_memory`, candle's.
    pub fn f32(self, name: &'static str, values: &[f32], shape: &[usize]) -> Result<Self> {
        self.with(name, Tensor::from_slice(values, shape, &Device::Cpu))
    }

    /// Adds ids, which have been checked to be small and not negative.
    ///
    /// # Errors
    /// `internal` and `out_of_memory`, candle's.
    pub fn ids(self, name: &'static str, ids: &[i64], shape: &[usize]) -> Result<Self> {
        let ids: Vec<u32> = ids
            .iter()
            .map(|&id| u32::try_from(id).map_err(|e| Error::internal(format!("id {id} of `{name}`: {e}"))))
            .collect::<Result<_>>()?;
        self.with(name, Tensor::from_vec(ids, shape, &Device::Cpu))
    }

    /// Adds one row of values that the host computes with: they are not copied to the device.
    ///
    /// # Errors
    /// `internal`, candle's.
    pub fn on_host(mut self, name: &'static str, values: &[f32]) -> Result<Self> {
        let values = Tensor::from_slice(values, values.len(), &Device::Cpu).map_err(internal)?;
        self.resident.insert(name, values);
        Ok(self)
    }

    fn with(mut self, name: &'static str, values: candle_core::Result<Tensor>) -> Result<Self> {
        let values = values.map_err(internal)?;
        self.resident.insert(name, values.to_device(&self.device).map_err(internal)?);
        self.host.insert(name, values);
        Ok(self)
    }

    /// Copies the inputs from host memory to the device again; on a CPU they are where they must be.
    ///
    /// # Errors
    /// Candle's.
    pub fn upload(&mut self) -> candle_core::Result<()> {
        if !self.device.is_cpu() {
            for (name, values) in &self.host {
                self.resident.insert(name, values.to_device(&self.device)?);
            }
        }
        Ok(())
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// When it was not bound, which is a mistake of the network.
    pub fn get(&self, name: &str) -> candle_core::Result<&Tensor> {
        self.resident.get(name).ok_or_else(|| candle_core::Error::Msg(format!("input `{name}` is not bound")))
    }
}

/// What a device says when its memory is short: CUDA's driver, and cuBLAS.
const MEMORY: [&str; 3] = ["OUT_OF_MEMORY", "ALLOC_FAILED", "out of memory"];

/// An error of candle in the contract's words.
#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
pub fn internal(error: candle_core::Error) -> Error {
    let message = format!("candle: {error}");
    if MEMORY.iter().any(|words| message.contains(words)) {
        Error::out_of_memory(message)
    } else {
        Error::internal(message)
    }
}
