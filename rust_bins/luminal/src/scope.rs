//! What a model is built in: the graph, its parameters by checkpoint name, its inputs by contract name.

use std::collections::BTreeMap;

use arena_runner::architecture::Parameter;
use luminal::prelude::{Graph, NodeIndex, Tensor as Data};

use crate::ops::{Gather, Ids};
use crate::tensor::Tensor;

/// The value of an input, as the graph takes it.
pub struct Feed {
    /// The name by which the model finds it.
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its value.
    pub data: Data,
}

impl Feed {
    /// Real values.
    pub fn real(name: &'static str, shape: &[usize], values: impl Into<Vec<f32>>) -> Self {
        Self { name, shape: shape.to_vec(), data: Data::new(values.into()) }
    }

    /// Ids that have been checked to be within a table, for [`Scope::gather`].
    pub fn ids(name: &'static str, shape: &[usize], ids: &[i64]) -> Self {
        let ids = ids.iter().map(|&id| u32::try_from(id).expect("ids have been checked")).collect();
        Self { name, shape: shape.to_vec(), data: Data::new(Ids(ids)) }
    }

    /// Class numbers as reals, exact up to 2^24, for comparison with positions in a row.
    pub fn classes(name: &'static str, ids: impl IntoIterator<Item = i64>) -> Self {
        let values: Vec<f32> = ids.into_iter().map(|id| id as f32).collect();
        Self { name, shape: vec![values.len()], data: Data::new(values) }
    }
}

/// A graph under construction.
pub struct Scope<'a> {
    graph: &'a mut Graph,
    shapes: BTreeMap<&'a str, &'a Parameter>,
    parameters: BTreeMap<String, Tensor>,
    feeds: BTreeMap<&'static str, Tensor>,
}

impl<'a> Scope<'a> {
    /// A scope over an empty graph.
    pub fn new(graph: &'a mut Graph, parameters: &'a [Parameter]) -> Self {
        let shapes = parameters.iter().map(|p| (p.name.as_str(), p)).collect();
        Self { graph, shapes, parameters: BTreeMap::new(), feeds: BTreeMap::new() }
    }

    /// Adds an input and its first value; the node is where later values go.
    pub fn feed(&mut self, feed: Feed) -> NodeIndex {
        let tensor = Tensor::input(self.graph, feed.name, &feed.shape);
        self.graph.set_tensor(tensor.node(), 0, feed.data);
        self.feeds.insert(feed.name, tensor);
        tensor.node()
    }

    /// The parameter of that checkpoint name.
    ///
    /// # Panics
    /// When the architecture has none of that name: a mistake in a model's code.
    pub fn parameter(&mut self, name: &str) -> Tensor {
        if let Some(tensor) = self.parameters.get(name) {
            return *tensor;
        }
        let parameter = self.shapes.get(name).unwrap_or_else(|| panic!("the architecture has no parameter `{name}`"));
        let tensor = Tensor::input(self.graph, name, &parameter.shape);
        self.parameters.insert(name.to_owned(), tensor);
        tensor
    }

    /// The input of that name.
    ///
    /// # Panics
    /// When the task does not bind it: a mistake in a model's code.
    pub fn input(&self, name: &str) -> Tensor {
        *self.feeds.get(name).unwrap_or_else(|| panic!("the task has no input `{name}`"))
    }

    /// A tensor that depends on shapes and configuration alone (positions, masks), computed once.
    pub fn table(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Tensor {
        let tensor = Tensor::input(self.graph, name, shape);
        self.graph.set_tensor(tensor.node(), 0, Data::new(values));
        tensor
    }

    /// Rows of a table `[rows, width]` by an input of [`Feed::ids`] `[..]`: `[.., width]`. The row `padding` gets no
    /// gradient.
    pub fn gather(&self, table: Tensor, ids: &str, padding: Option<usize>) -> Tensor {
        let padding = padding.map(|row| u32::try_from(row).expect("a table has fewer rows"));
        let (rows, width, ids) = (table.dim(0), table.dim(1), self.input(ids));
        let mut shape = ids.shape();
        shape.push(width);
        Tensor::apply(Gather { rows, width, padding }, &[table, ids], &shape)
    }

    /// The graph.
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }

    /// The parameters that the model has asked for, by name.
    pub fn used(&self) -> &BTreeMap<String, Tensor> {
        &self.parameters
    }
}
