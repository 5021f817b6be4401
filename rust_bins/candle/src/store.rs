//! The parameters of a loaded model, under the checkpoint's names and in its layout.

use std::collections::BTreeMap;

use arena_runner::architecture::Parameter;
use arena_runner::{Parameters, Result, Weights};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

use crate::network::internal;

/// Variables by name. Clones share them, so that a `step` program changes them for every later program.
#[derive(Clone)]
pub struct Store {
    device: Device,
    variables: BTreeMap<String, Variable>,
}

#[derive(Clone)]
struct Variable {
    var: Var,
    trainable: bool,
}

/// Whether operations on parameters are recorded for the backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gradients {
    /// They are not.
    None,
    /// Those of trainable parameters are.
    Tracked,
}

/// The parameters as one program sees them.
pub struct View<'a> {
    store: &'a Store,
    gradients: Gradients,
}

impl Store {
    /// Reads every parameter to the device.
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor; `out_of_memory`.
    pub fn load(parameters: &[Parameter], weights: &Weights, device: &Device) -> Result<Self> {
        let read = |parameter: &Parameter| {
            let values = weights.f32(&parameter.name, &parameter.shape)?;
            let var = Var::from_vec(values, parameter.shape.as_slice(), device).map_err(internal)?;
            Ok((parameter.name.clone(), Variable { var, trainable: parameter.trainable }))
        };
        Ok(Self { device: device.clone(), variables: parameters.iter().map(read).collect::<Result<_>>()? })
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Scalars and bytes.
    pub fn size(&self) -> Parameters {
        let count: usize = self.variables.values().map(|variable| variable.var.elem_count()).sum();
        Parameters { count: count as u64, bytes: (count * size_of::<f32>()) as u64 }
    }

    /// The parameters for one program.
    pub fn view(&self, gradients: Gradients) -> View<'_> {
        View { store: self, gradients }
    }

    /// The trainable ones, in the order of their names.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.variables
            .iter()
            .filter(|(_, variable)| variable.trainable)
            .map(|(name, variable)| (name.as_str(), &variable.var))
    }

    /// The gradient of every trainable parameter, taken out of `gradients`; zero where nothing flowed.
    ///
    /// # Errors
    /// Candle's.
    pub fn gradients(&self, gradients: &mut GradStore) -> candle_core::Result<BTreeMap<String, Tensor>> {
        self.trainable()
            .map(|(name, var)| {
                let gradient = gradients.remove(var).map_or_else(|| var.zeros_like(), Ok)?;
                Ok((name.to_owned(), gradient))
            })
            .collect()
    }
}

impl View<'_> {
    /// The parameter of that name.
    ///
    /// # Errors
    /// When the architecture does not list it, which is a mistake of the network.
    pub fn get(&self, name: &str) -> candle_core::Result<Tensor> {
        let Some(Variable { var, trainable }) = self.store.variables.get(name) else {
            return Err(candle_core::Error::Msg(format!("parameter `{name}` is not listed")));
        };
        let tracked = *trainable && self.gradients == Gradients::Tracked;
        // A detached tensor shares the variable's storage, and so sees what a `step` writes there.
        Ok(if tracked { var.as_tensor().clone() } else { var.as_detached_tensor() })
    }

    /// The parameter of that name, if the architecture lists it.
    ///
    /// # Errors
    /// None beyond those of [`View::get`].
    pub fn find(&self, name: &str) -> candle_core::Result<Option<Tensor>> {
        self.store.variables.contains_key(name).then(|| self.get(name)).transpose()
    }
}
