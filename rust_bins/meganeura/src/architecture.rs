//! What a file of one architecture gives to the rest of the runner: its parameters, its graph, and the values to feed.

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::{Inputs, Result};
use meganeura::NodeId;

use crate::decode::Generative;
use crate::net::Net;

/// One public architecture with a parsed configuration.
pub trait Architecture {
    /// Every parameter of the checkpoint, by its public name.
    fn parameters(&self) -> Vec<Parameter>;

    /// Appends the forward pass for the shapes of `inputs` and says what it outputs.
    ///
    /// # Errors
    /// `invalid_inputs` or `unsupported`.
    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head>;

    /// Appends the forward pass and the loss; the answer is the scalar loss.
    ///
    /// # Errors
    /// `invalid_inputs` or `unsupported`.
    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId>;

    /// The values of the graph's inputs, in the graph's layout; with `labels`, those of `train` too.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>>;

    /// The same as a generator of tokens, if it is one.
    fn generative(self: Rc<Self>) -> Option<Rc<dyn Generative>> {
        None
    }
}

/// The output of a forward pass.
pub struct Head {
    /// The contract's name of the output.
    pub name: &'static str,
    /// The node of the graph, whose values are in the contract's order.
    pub node: NodeId,
    /// The contract's shape.
    pub shape: Vec<usize>,
}

/// The values of one input of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// The graph's name of the input.
    pub name: String,
    /// The values.
    pub values: Values,
}

/// Values of the two types that a graph input can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Real values.
    F32(Vec<f32>),
    /// Ids.
    U32(Vec<u32>),
}

impl Feed {
    /// Real values under a name.
    pub fn f32(name: impl Into<String>, values: Vec<f32>) -> Self {
        Self { name: name.into(), values: Values::F32(values) }
    }

    /// Checked ids (non-negative, within the vocabulary) under a name.
    pub fn ids(name: impl Into<String>, ids: &[i64]) -> Self {
        let ids = ids.iter().map(|&id| u32::try_from(id).expect("ids are checked against the vocabulary")).collect();
        Self { name: name.into(), values: Values::U32(ids) }
    }
}
