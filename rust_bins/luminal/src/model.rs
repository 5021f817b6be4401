//! A loaded model and the programs that it prepares.

use std::cell::RefCell;
use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Error, Inputs, Model, Parameters, Program, Result, Task, Weights};
use luminal::prelude::Tensor as Data;

use crate::decode::{DecodeProgram, Decoder};
use crate::program::GraphProgram;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// A model family: what it is made of and how its graph is built.
pub trait Architecture {
    /// Every tensor of the checkpoint.
    fn parameters(&self) -> Vec<Parameter>;

    /// The inputs of a task, checked, as the graph takes them; with `labels`, what the loss compares with too.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>>;

    /// The contract's name of the output of `infer`.
    fn output(&self) -> &'static str;

    /// The output of `infer`.
    fn forward(&self, scope: &mut Scope) -> Tensor;

    /// The scalar loss of `train`.
    fn loss(&self, scope: &mut Scope) -> Tensor;

    /// How it generates, for architectures with `decode`.
    fn decoder(&self) -> Option<Rc<dyn Decoder>> {
        None
    }
}

/// The parameters of a loaded model, lent to the graph of whichever program executes.
pub struct Store {
    /// Names and shapes.
    pub parameters: Vec<Parameter>,
    /// Values; none while a graph has them.
    pub values: RefCell<Vec<Option<Data>>>,
}

/// A model whose parameters are in memory.
pub struct Loaded {
    architecture: Rc<dyn Architecture>,
    store: Rc<Store>,
}

impl Loaded {
    /// Reads every parameter.
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor.
    pub fn new(architecture: impl Architecture + 'static, weights: &Weights) -> Result<Self> {
        let parameters = architecture.parameters();
        let read = |p: &Parameter| Ok(Some(Data::new(weights.f32(&p.name, &p.shape)?)));
        let values = parameters.iter().map(read).collect::<Result<_>>()?;
        Ok(Self {
            architecture: Rc::new(architecture),
            store: Rc::new(Store { parameters, values: RefCell::new(values) }),
        })
    }
}

impl Model for Loaded {
    fn parameters(&self) -> Parameters {
        let count = self.store.parameters.iter().map(|p| p.shape.iter().product::<usize>() as u64).sum();
        Parameters { count, bytes: 4 * count }
    }

    fn prepare(&self, task: &Task, inputs: &Inputs) -> Result<Box<dyn Program>> {
        let (architecture, store) = (Rc::clone(&self.architecture), Rc::clone(&self.store));
        Ok(match task {
            Task::Decode { new_tokens } => {
                let decoder =
                    self.architecture.decoder().ok_or_else(|| Error::unsupported("task `decode` is not supported"))?;
                Box::new(DecodeProgram::new(decoder, store, inputs, *new_tokens)?)
            }
            _ => Box::new(GraphProgram::new(architecture, store, task, inputs)?),
        })
    }
}
