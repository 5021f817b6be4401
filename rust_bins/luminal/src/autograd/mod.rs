//! Reverse mode as a graph transform: luminal 0.2.0 on the registry has none.
//!
//! [`gradients`] walks the graph from the loss back and adds, for every node between the parameters and the loss, the nodes
//! of its vector-Jacobian product ([`rules`]); an edge's view is inverted by [`pull`]. The result is more graph, of luminal's
//! own primitives, so that the passes turn forward and backward into kernels alike (the gradient of a matrix product is again
//! a product of repeated tensors, summed).

mod rules;

use std::collections::{HashMap, HashSet};

use luminal::prelude::petgraph::Direction;
use luminal::prelude::petgraph::algo::toposort;
use luminal::prelude::petgraph::visit::EdgeRef;
use luminal::prelude::{Graph, NodeIndex};

use crate::tensor::Tensor;

/// The gradient of the scalar `loss` for each tensor of `wrt`, in that tensor's shape; none where the loss does not depend on
/// it.
///
/// # Panics
/// When an operator on the way has no rule: a mistake in a model's code.
pub fn gradients(graph: &mut Graph, loss: Tensor, wrt: &[Tensor]) -> Vec<Option<Tensor>> {
    let order = toposort(&graph.graph, None).expect("a graph without cycles");
    let active = between(graph, &order, wrt, loss);
    let mut cotangents: HashMap<NodeIndex, Tensor> = HashMap::new();
    let one = graph.constant(1.0).id;
    cotangents.insert(loss.node(), Tensor::of_node(graph, one, &[]));
    let parameters: HashSet<NodeIndex> = wrt.iter().map(|t| t.node()).collect();
    for node in order.into_iter().rev().filter(|node| active.contains(node) && !parameters.contains(node)) {
        let Some(cotangent) = cotangents.remove(&node) else { continue };
        for (source, contribution) in rules::vjp(graph, node, cotangent, &|source| active.contains(&source)) {
            cotangents.entry(source).and_modify(|sum| *sum = accumulate(*sum, contribution)).or_insert(contribution);
        }
    }
    wrt.iter().map(|t| cotangents.get(&t.node()).map(|g| g.reshape(&t.shape()))).collect()
}

/// The nodes that depend on a parameter and that the loss depends on.
fn between(graph: &Graph, order: &[NodeIndex], wrt: &[Tensor], loss: Tensor) -> HashSet<NodeIndex> {
    let mut from: HashSet<NodeIndex> = wrt.iter().map(|t| t.node()).collect();
    for &node in order {
        let depends = graph.graph.edges_directed(node, Direction::Incoming).any(|e| from.contains(&e.source()));
        if depends && rules::is_differentiable(graph, node) {
            from.insert(node);
        }
    }
    let mut to = HashSet::from([loss.node()]);
    for &node in order.iter().rev() {
        if graph.graph.neighbors_directed(node, Direction::Outgoing).any(|target| to.contains(&target)) {
            to.insert(node);
        }
    }
    from.intersection(&to).copied().collect()
}

/// The sum of two contributions to one storage, whose axes may be written differently.
fn accumulate(a: Tensor, b: Tensor) -> Tensor {
    a + if a.shape() == b.shape() { b } else { b.reshape(&a.shape()) }
}

/// The gradient of storage from the gradient of a view of it, the transpose of [`crate::view::View`]: repeated axes are
/// summed, the others put into storage order, padding cut off and slices padded with zeros.
///
/// # Panics
/// Never: every axis is either repeated or walks storage.
pub fn pull(seen: Tensor, cotangent: Tensor) -> Tensor {
    let view = seen.view();
    let mut g = cotangent;
    let mut axes = view.axes.clone();
    for i in (0..axes.len()).rev().filter(|&i| view.axes[i].source.is_none()) {
        g = if axes[i].extent == 1 { g.squeeze(i) } else { g.sum(i) };
        axes.remove(i);
    }
    let mut order = vec![0; axes.len()];
    for (i, axis) in axes.iter().enumerate() {
        order[axis.source.expect("repeated axes are gone")] = i;
    }
    g = g.permute(&order);
    for (p, &i) in order.iter().enumerate() {
        let (axis, length) = (axes[i], view.physical[p]);
        let (low, high) = axis.valid;
        let start = (low.cast_signed() + axis.shift).cast_unsigned();
        g = g.slice(p, low..high);
        g = g.pad(p, start, length - start - (high - low));
    }
    g
}
