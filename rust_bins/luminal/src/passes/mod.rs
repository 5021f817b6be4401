//! Graph passes: luminal's own `Compiler` trait, run over a whole graph, forward and backward alike.

mod fusion;
mod matmul;

pub use fusion::FusionCompiler;
pub use matmul::MatMulCompiler;

use luminal::prelude::petgraph::Direction;
use luminal::prelude::petgraph::visit::EdgeRef;
use luminal::prelude::{Dependency, Graph, NodeIndex, ShapeTracker};

use crate::view::View;

/// Every pass, in order.
pub type Passes = (RemoveUnused, MatMulCompiler, FusionCompiler);

/// An edge into a node.
#[derive(Debug, Clone)]
pub struct Input {
    /// The node whose output it is.
    pub node: NodeIndex,
    /// How it is seen.
    pub view: View,
}

/// The data inputs of a node, in order.
pub fn inputs(graph: &Graph, node: NodeIndex) -> Vec<Input> {
    graph.get_sources(node).into_iter().map(|(node, _, tracker)| Input { node, view: View::of(&tracker) }).collect()
}

/// The nodes that read a node, one entry an edge.
pub fn consumers(graph: &Graph, node: NodeIndex) -> Vec<NodeIndex> {
    graph
        .graph
        .edges_directed(node, Direction::Outgoing)
        .filter(|e| !e.weight().is_schedule())
        .map(|e| e.target())
        .collect()
}

/// Replaces what a node reads. Operators of this crate know their own strides, so the edges carry empty trackers, which
/// luminal copies and resolves in no time.
///
/// # Panics
/// With 256 sources: luminal numbers inputs in a byte.
pub fn rewire(graph: &mut Graph, node: NodeIndex, sources: &[NodeIndex]) {
    let old: Vec<_> = graph.graph.edges_directed(node, Direction::Incoming).map(|e| e.id()).collect();
    for edge in old {
        graph.graph.remove_edge(edge);
    }
    for (order, &source) in sources.iter().enumerate() {
        let input_order = u8::try_from(order).expect("a fused kernel reads fewer than 256 tensors");
        let shape = ShapeTracker::new(&[]);
        graph.graph.add_edge(source, node, Dependency::Data { input_order, output_order: 0, shape });
    }
}

/// Removes every node whose output nobody reads or keeps. luminal's own pass goes through the nodes once, in order of
/// creation, and so removes only the last node of an unused chain.
#[derive(Debug, Default)]
pub struct RemoveUnused;

impl luminal::prelude::Compiler for RemoveUnused {
    fn compile<T: luminal::prelude::ToIdsMut>(&self, graph: &mut Graph, _: T) {
        let mut pending: Vec<NodeIndex> = graph.graph.node_indices().collect();
        while let Some(node) = pending.pop() {
            if !graph.graph.contains_node(node) || graph.no_delete.contains(&node) || !consumers(graph, node).is_empty()
            {
                continue;
            }
            pending.extend(graph.graph.neighbors_directed(node, Direction::Incoming));
            graph.graph.remove_node(node);
        }
    }
}
