//! Programs: `infer`, `train` and `step` of any network.

use std::collections::BTreeMap;

use arena_runner::{Boundary, Error, Execution, Inputs, Output, Program, Result, Task};
use candle_core::{Device, Tensor};

use crate::decode::Decode;
use crate::landing::Landing;
use crate::network::{Bound, Network, internal};
use crate::optimizer::Update;
use crate::store::Store;

/// The program of a task.
///
/// # Errors
/// `unsupported` when the network does not generate, `invalid_inputs`.
pub fn prepare(network: Box<dyn Network>, store: &Store, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
    let bound = network.bind(inputs, task.has_loss(), store.device())?;
    Ok(match task {
        Task::Infer => Box::new(Infer { network, bound, output: None, landing: Landing::default() }),
        Task::Decode { new_tokens } if network.decoder().is_some() => {
            let most = network.most_new_tokens(&bound).map_err(internal)?;
            if *new_tokens > most {
                return Err(Error::unsupported(format!("{new_tokens} new tokens: the model has positions for {most}")));
            }
            Box::new(Decode::new(network, bound, *new_tokens))
        }
        Task::Decode { .. } => return Err(Error::unsupported("task `decode` of a network that does not generate")),
        Task::Train => Box::new(Train::new(network, bound, store)),
        Task::Step(optimizer) => Box::new(Step {
            train: Train::new(network, bound, store),
            update: Update::new(optimizer.clone()),
            parameters: BTreeMap::new(),
        }),
    })
}

/// The values of a tensor, row-major.
///
/// # Errors
/// `internal`, candle's.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(internal)
}

/// The ids of a tensor, row-major.
///
/// # Errors
/// `internal`, candle's.
pub fn ids(tensor: &Tensor) -> Result<Vec<i64>> {
    let ids = tensor.flatten_all().and_then(|flat| flat.to_vec1::<u32>()).map_err(internal)?;
    Ok(ids.into_iter().map(i64::from).collect())
}

/// A result where the boundary wants it: in host memory, or on the device, which has then nothing left to do.
///
/// # Errors
/// Candle's.
pub fn settle(result: &Tensor, boundary: Boundary) -> candle_core::Result<Tensor> {
    match boundary {
        Boundary::Host => result.contiguous()?.to_device(&Device::Cpu),
        Boundary::Device => result.device().synchronize().map(|()| result.clone()),
    }
}

struct Infer {
    network: Box<dyn Network>,
    bound: Bound,
    output: Option<Tensor>,
    landing: Landing,
}

impl Program for Infer {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.bound = self.network.bind(inputs, false, self.bound.device())?;
        Ok(())
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        // The old output goes first, so that there is never room for two.
        self.output = None;
        if boundary == Boundary::Host {
            self.bound.upload().map_err(internal)?;
        }
        let Self { network, bound, output, landing } = self;
        let forward = || {
            let result = output.insert(network.forward(bound)?);
            landing.land(std::iter::once((network.output_name(), result)), boundary)
        };
        bound.device().with_context(forward).map_err(internal)?;
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let output = self.output.iter();
        Ok(output.map(|tensor| self.landing.output("", self.network.output_name(), tensor)).collect())
    }
}

struct Train {
    network: Box<dyn Network>,
    bound: Bound,
    store: Store,
    loss: f32,
    gradients: BTreeMap<String, Tensor>,
    landing: Landing,
}

impl Train {
    fn new(network: Box<dyn Network>, bound: Bound, store: &Store) -> Self {
        let store = store.clone();
        Self { network, bound, store, loss: 0.0, gradients: BTreeMap::new(), landing: Landing::default() }
    }

    fn backward(&self) -> candle_core::Result<(f32, BTreeMap<String, Tensor>)> {
        let loss = self.network.loss(&self.bound)?;
        let gradients = self.store.gradients(&mut loss.backward()?)?;
        Ok((loss.to_scalar()?, gradients))
    }

    fn differentiate(&mut self, boundary: Boundary) -> Result<()> {
        // The old gradients go first, so that there is never room for two sets.
        self.gradients.clear();
        if boundary == Boundary::Host {
            self.bound.upload().map_err(internal)?;
        }
        (self.loss, self.gradients) = self.store.device().with_context(|| self.backward()).map_err(internal)?;
        Ok(())
    }

    fn loss(&self) -> Output<'_> {
        Output::f32("loss", &[], vec![self.loss])
    }
}

impl Program for Train {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.bound = self.network.bind(inputs, true, self.store.device())?;
        Ok(())
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        self.differentiate(boundary)?;
        let gradients = self.gradients.iter_mut().map(|(name, gradient)| (name.as_str(), gradient));
        self.landing.land(gradients, boundary).map_err(internal)?;
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let gradients = self.gradients.iter().map(|(name, gradient)| self.landing.output("grad.", name, gradient));
        Ok(std::iter::once(self.loss()).chain(gradients).collect())
    }
}

struct Step {
    train: Train,
    update: Update,
    /// The parameters after the latest execution in host memory, where that is not the device's and the boundary asks.
    parameters: BTreeMap<String, Tensor>,
}

impl Program for Step {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.train.bind(inputs)
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        self.train.differentiate(boundary)?;
        let Self { train: Train { store, gradients, landing, .. }, update, parameters } = self;
        parameters.clear();
        store.device().with_context(|| update.step(store.trainable(), gradients)).map_err(internal)?;
        gradients.clear();
        if boundary == Boundary::Host && !store.device().is_cpu() {
            parameters.extend(store.trainable().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())));
        }
        let results = parameters.iter_mut().map(|(name, values)| (name.as_str(), values));
        landing.land(results, boundary).map_err(internal)?;
        store.device().synchronize().map_err(internal)?;
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let parameters = self.train.store.trainable().map(|(name, var)| {
            self.train.landing.output("param.", name, self.parameters.get(name).unwrap_or_else(|| var.as_tensor()))
        });
        Ok(std::iter::once(self.train.loss()).chain(parameters).collect())
    }
}
