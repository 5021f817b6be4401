//! A graph under construction: the framework's own, with parameters addressed by their checkpoint names.

use std::collections::BTreeMap;

use arena_runner::architecture::Parameter;
use meganeura::{Graph, NodeId};

use crate::attention::HIDDEN;
use crate::layout::swap_leading;

/// A graph and the parameters that it uses so far.
pub struct Net {
    /// The framework's graph, for every operation that needs no help from here.
    pub graph: Graph,
    /// Whether the graph will be differentiated.
    pub training: bool,
    shapes: BTreeMap<String, Vec<usize>>,
    parameters: BTreeMap<String, NodeId>,
    frozen: Vec<Frozen>,
    fixed_ids: Vec<(String, Vec<u32>)>,
    constants: BTreeMap<(u32, Vec<usize>), NodeId>,
    masks: BTreeMap<(usize, [usize; 2]), NodeId>,
}

/// A graph input that holds a frozen parameter.
pub struct Frozen {
    /// The graph's name of the input.
    pub input: String,
    /// The checkpoint's name of the parameter.
    pub parameter: String,
    /// From the checkpoint's values to the input's.
    pub map: fn(f32) -> f32,
}

impl Net {
    /// An empty graph over the parameters of one architecture.
    pub fn new(parameters: &[Parameter], training: bool) -> Self {
        let shapes = parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        Self {
            graph: Graph::new(),
            training,
            shapes,
            parameters: BTreeMap::new(),
            frozen: Vec::new(),
            fixed_ids: Vec::new(),
            constants: BTreeMap::new(),
            masks: BTreeMap::new(),
        }
    }

    /// The trainable parameters that the graph uses.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// The checkpoint's shape of a parameter.
    ///
    /// # Panics
    /// When the architecture has no such parameter: a mistake in this crate, not in its input.
    pub fn shape(&self, name: &str) -> &[usize] {
        self.shapes.get(name).unwrap_or_else(|| panic!("the architecture has no parameter `{name}`"))
    }

    /// A trainable parameter in the checkpoint's shape; the same node each time.
    pub fn parameter(&mut self, name: &str) -> NodeId {
        let shape = self.shape(name).to_vec();
        self.parameter_as(name, &shape)
    }

    /// A trainable parameter whose row-major values are seen in another shape of as many elements.
    pub fn parameter_as(&mut self, name: &str, shape: &[usize]) -> NodeId {
        assert_eq!(self.shape(name).iter().product::<usize>(), shape.iter().product::<usize>(), "shape of `{name}`");
        if let Some(&node) = self.parameters.get(name) {
            assert_eq!(self.dims(node), shape, "`{name}` is used in two shapes");
            return node;
        }
        let node = self.graph.parameter(name, shape);
        self.parameters.insert(name.to_owned(), node);
        node
    }

    /// A frozen parameter as an input of the graph, its values changed by `map` first; `role` tells several uses of one
    /// parameter apart.
    pub fn frozen(&mut self, name: &str, role: &str, map: fn(f32) -> f32) -> NodeId {
        let input = format!("{name}:{role}");
        let shape = self.shape(name).to_vec();
        let node = self.graph.input(&input, &shape);
        self.frozen.push(Frozen { input, parameter: name.to_owned(), map });
        node
    }

    /// The frozen parameters that the graph uses.
    pub fn frozen_inputs(&self) -> &[Frozen] {
        &self.frozen
    }

    /// Inputs of the graph that hold ids of the graph's own, each with its values.
    pub fn fixed_ids(&self) -> &[(String, Vec<u32>)] {
        &self.fixed_ids
    }

    /// The dimensions of a node.
    pub fn dims(&self, node: NodeId) -> &[usize] {
        &self.graph.node(node).ty.shape
    }

    /// Rows `[n, d]` of the table `name` `[V, d]` by ids `[n]`; the row `padding` gets no gradient, as in
    /// `torch.nn.Embedding`.
    pub fn embedding(&mut self, ids: NodeId, name: &str, padding: Option<usize>) -> NodeId {
        let table = self.parameter(name);
        let rows = self.graph.embedding(ids, table);
        let Some(padding) = padding.filter(|_| self.training) else { return rows };
        let (vocabulary, width) = (self.dims(table)[0], self.dims(table)[1]);
        let mut chosen = |other: f32, value: f32| {
            let mut marks = vec![other; vocabulary];
            marks[padding] = value;
            let marks = self.graph.constant(marks, &[vocabulary, 1]);
            let marks = self.graph.embedding(ids, marks);
            let marks = self.graph.stop_gradient(marks);
            self.graph.broadcast_inner(marks, width)
        };
        let (kept, padded) = (chosen(1.0, 0.0), chosen(0.0, 1.0));
        let fixed = self.graph.stop_gradient(rows);
        let rows = self.graph.mul(rows, kept);
        let fixed = self.graph.mul(fixed, padded);
        self.graph.add(rows, fixed)
    }

    /// `[rows, in]` to `[rows, out]`: `x W^T` with the checkpoint's `[out, in]` weight, plus the bias if there is one.
    pub fn linear(&mut self, x: NodeId, name: &str, bias: bool) -> NodeId {
        let weight = self.parameter(&format!("{name}.weight"));
        let product = self.graph.matmul_bt(x, weight);
        if !bias {
            return product;
        }
        let bias = self.parameter(&format!("{name}.bias"));
        self.graph.bias_add(product, bias)
    }

    /// `x / sqrt(mean(x^2) + eps) * weight` over the last dimension.
    pub fn rms_norm(&mut self, x: NodeId, name: &str, eps: f64) -> NodeId {
        let weight = self.parameter(&format!("{name}.weight"));
        self.graph.rms_norm(x, weight, eps as f32)
    }

    /// `(x - mean) / sqrt(var + eps) * weight + bias` over the last dimension.
    pub fn layer_norm(&mut self, x: NodeId, name: &str, eps: f64) -> NodeId {
        let [weight, bias] = ["weight", "bias"].map(|part| self.parameter(&format!("{name}.{part}")));
        self.graph.layer_norm(x, weight, bias, eps as f32)
    }

    /// The first and the second half of the columns of `[rows, 2 * n]`, each `[rows, n]`.
    pub fn halves(&mut self, x: NodeId) -> [NodeId; 2] {
        let &[_, columns] = self.dims(x) else { panic!("halves of {:?}", self.dims(x)) };
        let half = columns / 2;
        [0, half].map(|first| self.columns(x, first, half))
    }

    /// `width` columns of `[rows, n]` from `first` on.
    pub fn columns(&mut self, x: NodeId, first: usize, width: usize) -> NodeId {
        let (rows, n) = (self.dims(x)[0], self.dims(x)[1]);
        let mut part = self.graph.reshape(x, &[rows * n]);
        let rest = n - first;
        if first > 0 {
            part = self.graph.split_b(part, rows as u32, first as u32, rest as u32, 1);
        }
        if width < rest {
            part = self.graph.split_a(part, rows as u32, width as u32, (rest - width) as u32, 1);
        }
        self.graph.reshape(part, &[rows, width])
    }

    /// The columns of `[rows, n]`, then those of `[rows, m]`.
    pub fn join_columns(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let (rows, n, m) = (self.dims(a)[0], self.dims(a)[1], self.dims(b)[1]);
        let [a, b] = [(a, n), (b, m)].map(|(x, width)| self.graph.reshape(x, &[rows * width]));
        let joined = self.graph.concat(a, b, rows as u32, n as u32, m as u32, 1);
        self.graph.reshape(joined, &[rows, n + m])
    }

    /// The rows of `[n, columns]`, then those of `[m, columns]`.
    pub fn join_rows(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let (n, m, columns) = (self.dims(a)[0], self.dims(b)[0], self.dims(a)[1]);
        let [a, b] = [(a, n), (b, m)].map(|(x, rows)| self.graph.reshape(x, &[rows * columns]));
        let joined = self.graph.concat(a, b, 1, n as u32, m as u32, columns as u32);
        self.graph.reshape(joined, &[n + m, columns])
    }

    /// The first few rows of `[rows, columns]`.
    pub fn rows_until(&mut self, x: NodeId, end: usize) -> NodeId {
        let (rows, columns) = (self.dims(x)[0], self.dims(x)[1]);
        if rows == end {
            return x;
        }
        let flat = self.graph.reshape(x, &[rows * columns]);
        let kept = self.graph.split_a(flat, 1, end as u32, (rows - end) as u32, columns as u32);
        self.graph.reshape(kept, &[end, columns])
    }

    /// The rows of `[rows, columns]` but for the first few.
    pub fn rows_from(&mut self, x: NodeId, first: usize) -> NodeId {
        let (rows, columns) = (self.dims(x)[0], self.dims(x)[1]);
        if first == 0 {
            return x;
        }
        let flat = self.graph.reshape(x, &[rows * columns]);
        let rest = self.graph.split_b(flat, 1, first as u32, (rows - first) as u32, columns as u32);
        self.graph.reshape(rest, &[rows - first, columns])
    }

    /// The rows of a time-major `[T * B, columns]` in the contract's order, `[B * T, columns]`: the device gathers them
    /// in one dispatch.
    pub fn by_sample(&mut self, x: NodeId, batch: usize) -> NodeId {
        if batch == 1 {
            return x;
        }
        let rows = self.dims(x)[0];
        let by_time: Vec<u32> = (0..rows).map(|row| u32::try_from(row).expect("rows of 32-bit numbers")).collect();
        let name = format!("by_sample.{}", self.fixed_ids.len());
        let order = self.graph.input_u32(&name, &[rows]);
        self.fixed_ids.push((name, swap_leading(&by_time, rows / batch, batch, 1)));
        self.graph.embedding(order, x)
    }

    /// A constant of one value in every element; the same node for the same value and shape.
    pub fn filled(&mut self, value: f32, shape: &[usize]) -> NodeId {
        let constant = || self.graph.constant(vec![value; shape.iter().product()], shape);
        *self.constants.entry((value.to_bits(), shape.to_vec())).or_insert_with(constant)
    }

    /// What is added to scores `[rows, keys]` under a causal mask, where `sharing` rows in a row are of one query: zeros
    /// up to the query's own key, then `HIDDEN`; the same node for the same shape.
    pub fn hidden_after(&mut self, sharing: usize, shape: [usize; 2]) -> NodeId {
        let [rows, keys] = shape;
        let mask = || {
            let value = |i: usize| if i % keys > i / keys / sharing { HIDDEN } else { 0.0 };
            self.graph.constant((0..rows * keys).map(value).collect(), &[rows, keys])
        };
        *self.masks.entry((sharing, shape)).or_insert_with(mask)
    }
}
