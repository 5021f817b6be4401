//! The programs of every architecture: `infer`, `train` and `step` differ only in what they ask of the model.

use std::rc::Rc;

use arena_runner::{Boundary, Error, Execution, Inputs, Model, Output, Parameters, Program, Result, Task};
use burn::tensor::{Device, Tensor, TensorData, Transaction};

use crate::backend;
use crate::optimizer::State;
use crate::parameters::{Handles, Slot, Store};

/// A model family in burn's operations.
pub trait Architecture: 'static + Sized {
    /// The public configuration.
    type Config: 'static;
    /// The inputs of one execution on the device, with the tables that only their shapes decide.
    type Batch: 'static;
    /// The contract's name of what `infer` computes.
    const OUTPUT: &'static str;

    /// Puts checked inputs on the device; with `targets`, those of `train` as well.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn batch(config: &Self::Config, inputs: &Inputs, targets: bool, device: &Device) -> Result<Self::Batch>;

    /// The model on the given parameters.
    fn load(config: &Rc<Self::Config>, parameters: &Handles) -> Self;

    /// The main output.
    fn infer(&self, batch: &Self::Batch) -> Flat;

    /// The loss, a tensor of one element.
    fn loss(&self, batch: &Self::Batch) -> Tensor<1>;

    /// The program of `decode`, for the architectures that have it.
    ///
    /// # Errors
    /// `unsupported` without an override; `invalid_inputs`.
    fn decode(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Box<dyn Program>> {
        let _ = (loaded, inputs, new_tokens);
        Err(Error::unsupported("task `decode` is not supported for this architecture"))
    }
}

/// A tensor of any rank: its shape, and its values in one row.
pub struct Flat {
    shape: Vec<usize>,
    values: Tensor<1>,
}

impl<const D: usize> From<Tensor<D>> for Flat {
    fn from(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        Self { values: tensor.reshape([-1]), shape }
    }
}

/// A loaded model of any architecture.
pub struct Loaded<A: Architecture> {
    pub config: Rc<A::Config>,
    pub store: Rc<Store>,
    pub device: Device,
}

impl<A: Architecture> Model for Loaded<A> {
    fn parameters(&self) -> Parameters {
        self.store.size()
    }

    fn device(&self) -> Option<String> {
        backend::name(&self.device)
    }

    fn device_bytes(&self) -> Option<u64> {
        backend::bytes(&self.device)
    }

    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        let run = match task {
            Task::Infer => Run::Infer { output: None },
            Task::Train => Run::Train { loss: None, gradients: Vec::new() },
            Task::Step(optimizer) => Run::Step { loss: None, state: State::new(optimizer), parameters: Vec::new() },
            Task::Decode { new_tokens } => return A::decode(self, inputs, *new_tokens),
        };
        let targets = !matches!(task, Task::Infer);
        let batch = A::batch(&self.config, inputs, targets, &self.device)?;
        let (config, store, device) = (Rc::clone(&self.config), Rc::clone(&self.store), self.device.clone());
        let inputs = (!backend::is_host(&self.device)).then(|| inputs.clone());
        Ok(Box::new(Compiled::<A> { config, store, device, inputs, batch, targets, run }))
    }
}

/// A task on fixed shapes. Burn is eager: there is nothing to compile, only tables to make.
struct Compiled<A: Architecture> {
    config: Rc<A::Config>,
    store: Rc<Store>,
    device: Device,
    /// In host memory, where that is not the device's.
    inputs: Option<Inputs>,
    batch: A::Batch,
    targets: bool,
    run: Run,
}

/// What is executed, and the results of the latest execution.
enum Run {
    Infer {
        output: Option<(Vec<usize>, Values)>,
    },
    Train {
        loss: Option<Values>,
        gradients: Vec<(Slot, Values)>,
    },
    /// The parameters are in host memory where that is not the device's and the boundary asks; the store has them else.
    Step {
        loss: Option<Values>,
        state: State,
        parameters: Vec<Values>,
    },
}

/// A result where the boundary left it.
pub enum Values {
    Host(TensorData),
    Device(Tensor<1>),
}

impl Values {
    /// Brings all results of an execution to the side of `boundary`, in their order. What crosses does so in one
    /// transaction: read one by one, the device would be waited for once for each. On flex both sides are the same
    /// memory and nothing is copied.
    ///
    /// # Errors
    /// `internal`, in the framework's words.
    pub fn all(values: impl IntoIterator<Item = Tensor<1>>, boundary: Boundary) -> Result<Vec<Self>> {
        let values = values.into_iter();
        match boundary {
            Boundary::Host => {
                let read = values.fold(Transaction::default(), Transaction::register).try_execute();
                Ok(read.map_err(internal)?.into_iter().map(Self::Host).collect())
            }
            Boundary::Device => Ok(values.map(Self::Device).collect()),
        }
    }

    /// The values, copied to the host.
    ///
    /// # Errors
    /// `internal`, in the framework's words.
    pub fn read(&self) -> Result<Vec<f32>> {
        let data = match self {
            Self::Host(data) => data.clone(),
            Self::Device(values) => values.try_to_data().map_err(internal)?,
        };
        data.try_into_vec::<f32>().map_err(|e| Error::internal(format!("{e:?}")))
    }

    /// The values as the checkpoint has them, copied to the host.
    fn read_as(&self, slot: &Slot, device: &Device) -> Result<Vec<f32>> {
        let values = match self {
            Self::Host(data) => Tensor::from_data(data.clone(), device),
            Self::Device(values) => values.clone(),
        };
        slot.checkpoint_values(values)
    }
}

/// An error of the framework, in its own words.
pub fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

impl<A: Architecture> Program for Compiled<A> {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.batch = A::batch(&self.config, inputs, self.targets, &self.device)?;
        self.inputs = self.inputs.take().map(|_| inputs.clone());
        Ok(())
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        if boundary == Boundary::Host
            && let Some(inputs) = &self.inputs
        {
            self.batch = A::batch(&self.config, inputs, self.targets, &self.device)?;
        }
        // The results of the execution before are given back first, so that two never share the memory.
        match &mut self.run {
            Run::Infer { output } => {
                *output = None;
                let Flat { shape, values } = A::load(&self.config, &self.store.constants()).infer(&self.batch);
                *output = Values::all([values], boundary)?.pop().map(|values| (shape, values));
            }
            Run::Train { loss, gradients } => {
                gradients.clear();
                let leaves = self.store.leaves();
                let (value, tape) = differentiate::<A>(&self.config, &leaves, &self.batch);
                let (positions, tape): (Vec<_>, Vec<_>) = tape.into_iter().unzip();
                let mut results = Values::all(std::iter::once(value).chain(tape), boundary)?.into_iter();
                *loss = results.next();
                gradients.extend(positions.into_iter().map(|i| leaves.slot(i).clone()).zip(results));
            }
            Run::Step { loss, state, parameters } => {
                parameters.clear();
                let (value, mut tape) = {
                    // The leaves are dropped before the update, so that it can write in place.
                    let leaves = self.store.leaves();
                    differentiate::<A>(&self.config, &leaves, &self.batch)
                };
                state.advance(&self.store, &mut tape)?;
                let changed = boundary == Boundary::Host && self.inputs.is_some();
                let changed = if changed { self.store.trainable() } else { Vec::new() };
                let changed = changed.into_iter().map(|(_, parameter)| parameter);
                let mut results = Values::all(std::iter::once(value).chain(changed), boundary)?.into_iter();
                *loss = results.next();
                parameters.extend(results);
            }
        }
        if boundary == Boundary::Device {
            self.device.sync().map_err(internal)?;
        }
        Ok(Execution::default())
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let device = &self.device;
        match &self.run {
            Run::Infer { output } => {
                let named = output.iter();
                Ok(named.map(|(shape, values)| Output::lazy(A::OUTPUT, shape, || values.read())).collect())
            }
            Run::Train { loss, gradients } => {
                let mut all: Vec<_> = loss.iter().map(|loss| Output::lazy("loss", &[], || loss.read())).collect();
                all.extend(gradients.iter().map(|(slot, values)| {
                    let name = format!("grad.{}", slot.parameter.name);
                    Output::lazy(name, &slot.parameter.shape, move || values.read_as(slot, device))
                }));
                Ok(all)
            }
            Run::Step { loss, parameters, .. } => {
                let mut all: Vec<_> = loss.iter().map(|loss| Output::lazy("loss", &[], || loss.read())).collect();
                all.extend(self.store.trainable().into_iter().enumerate().map(|(i, (slot, value))| {
                    let (name, shape) = (format!("param.{}", slot.parameter.name), slot.parameter.shape.clone());
                    Output::lazy(name, &shape, move || match parameters.get(i) {
                        Some(values) => values.read_as(&slot, device),
                        None => slot.checkpoint_values(value.clone()),
                    })
                }));
                Ok(all)
            }
        }
    }
}

/// The loss, and the gradient of every trainable parameter with its position in the table.
fn differentiate<A: Architecture>(
    config: &Rc<A::Config>,
    leaves: &Handles,
    batch: &A::Batch,
) -> (Tensor<1>, Vec<(usize, Tensor<1>)>) {
    let loss = A::load(config, leaves).loss(batch);
    let mut gradients = loss.backward();
    (loss.inner(), leaves.gradients(&mut gradients))
}
