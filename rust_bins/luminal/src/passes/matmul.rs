//! Products summed over an axis become matrix products.
//!
//! luminal expresses `a·b` as the product of two repeated tensors, summed. Whatever the axes are called, an axis that only
//! the left operand walks is one of its rows, one that only the right operand walks one of its columns, one that both walk
//! and the sum removes is the inner one, and all others repeat the product. That covers linear layers, attention,
//! convolutions over unfolded images, and the gradients of all of them, which reverse mode writes as the same pattern.

use luminal::op::{Contiguous, Mul, SumReduce};
use luminal::prelude::{Compiler, Graph, NodeIndex, ToIdsMut};

use super::{Input, consumers, inputs, rewire};
use crate::ops::{Loop, MatMul, Operand};
use crate::view::{View, contiguous_strides, tracker};

/// Replaces every `SumReduce(.. SumReduce(Mul(a, b)))` that is a matrix product.
#[derive(Debug, Default)]
pub struct MatMulCompiler;

impl Compiler for MatMulCompiler {
    fn compile<T: ToIdsMut>(&self, graph: &mut Graph, _: T) {
        for node in graph.graph.node_indices().collect::<Vec<_>>() {
            if graph.graph.contains_node(node) && is::<Mul>(graph, node) {
                replace(graph, node);
            }
        }
    }
}

fn is<O: 'static>(graph: &Graph, node: NodeIndex) -> bool {
    graph.graph[node].as_ref().as_any().is::<O>()
}

/// The axis that `node` sums, when it is a sum that alone reads `source`, as it is stored.
fn summed_axis(graph: &Graph, source: NodeIndex) -> Option<(NodeIndex, usize)> {
    let [consumer] = consumers(graph, source)[..] else { return None };
    let axis = graph.graph[consumer].as_ref().as_any().downcast_ref::<SumReduce>()?.0;
    let whole = !graph.no_delete.contains(&source) && inputs(graph, consumer)[0].view.is_identity();
    whole.then_some((consumer, axis))
}

fn replace(graph: &mut Graph, mul: NodeIndex) {
    let operands = inputs(graph, mul);
    let walks = |axis: usize| operands.iter().all(|o| o.view.axes[axis].source.is_some());
    // The domain's axes that are left, by their number; and those that the sums remove.
    let (mut left, mut summed): (Vec<usize>, Vec<usize>) = ((0..operands[0].view.axes.len()).collect(), vec![]);
    let (mut root, mut interior) = (mul, vec![]);
    while let Some((sum, axis)) = summed_axis(graph, root) {
        if !walks(left[axis]) {
            break;
        }
        interior.push(root);
        root = sum;
        summed.push(left.remove(axis));
    }
    let Some(plan) = plan(&operands[0].view, &operands[1].view, &left, &summed) else { return };
    let sources: Vec<NodeIndex> = operands.iter().map(|operand| unpadded(graph, operand)).collect();
    rewire(graph, root, &sources);
    *graph.graph.node_weight_mut(root).expect("the sum is in the graph") = Box::new(plan);
    for node in interior {
        graph.graph.remove_node(node);
    }
}

/// The node that holds an operand: a copy when the view has zeros that storage has not.
fn unpadded(graph: &mut Graph, operand: &Input) -> NodeIndex {
    if !is_padded(&operand.view) {
        return operand.node;
    }
    let copied = copied(&operand.view);
    let mut shape = tracker(&operand.view.physical);
    for axis in operand.view.axes.iter().filter(|a| a.source.is_some()) {
        let p = axis.source.expect("filtered");
        let before = usize::try_from(-axis.shift).unwrap_or(0);
        if axis.is_whole() {
            shape.slices[p] = (axis.shift.cast_unsigned().into(), (axis.shift.cast_unsigned() + axis.extent).into());
        } else {
            shape.padding[p] = (before.into(), (axis.extent - before - operand.view.physical[p]).into());
        }
    }
    debug_assert_eq!(View::of(&shape).shape(), copied.physical);
    graph.add_op(Contiguous).input(operand.node, 0, shape).finish()
}

fn is_padded(view: &View) -> bool {
    view.axes.iter().any(|axis| !axis.is_whole())
}

/// The view that reads a copy of a padded operand as the operand itself was read.
fn copied(view: &View) -> View {
    let mut copy = view.clone();
    for axis in &mut copy.axes {
        if let Some(p) = axis.source {
            copy.physical[p] = axis.extent;
        }
        (axis.shift, axis.valid) = (0, (0, axis.extent));
    }
    copy
}

/// Axes of one kind, neighbours joined where all three tensors walk them as one; the longest last.
fn joined(axes: impl Iterator<Item = Loop>) -> Vec<Loop> {
    let mut all: Vec<Loop> = vec![];
    for axis in axes.filter(|axis| axis.extent != 1) {
        match all.last_mut() {
            Some(outer)
                if outer.lhs == axis.lhs * axis.extent
                    && outer.rhs == axis.rhs * axis.extent
                    && outer.out == axis.out * axis.extent =>
            {
                *outer = Loop { extent: outer.extent * axis.extent, ..axis };
            }
            _ => all.push(axis),
        }
    }
    if let Some(longest) = (0..all.len()).max_by_key(|&i| all[i].extent) {
        let axis = all.remove(longest);
        all.push(axis);
    }
    all
}

/// The product of two views over one domain, `summed` of whose axes are removed; none when it is no matrix product.
fn plan(lhs: &View, rhs: &View, left: &[usize], summed: &[usize]) -> Option<MatMul> {
    if summed.is_empty() {
        return None;
    }
    let shape = lhs.shape();
    let out_shape: Vec<usize> = left.iter().map(|&axis| shape[axis]).collect();
    let out_strides = contiguous_strides(&out_shape);
    let load = |view: &View| if is_padded(view) { copied(view).load() } else { view.load() };
    let (a, b) = (load(lhs), load(rhs));
    let axis = |axis: usize, out: usize| Loop { extent: shape[axis], lhs: a.strides[axis], rhs: b.strides[axis], out };
    let kept = || left.iter().zip(&out_strides).map(|(&i, &stride)| axis(i, stride));

    let mut rows = joined(kept().filter(|l| l.lhs != 0 && l.rhs == 0));
    let mut columns = joined(kept().filter(|l| l.lhs == 0 && l.rhs != 0));
    if rows.is_empty() && columns.is_empty() {
        return None;
    }
    let mut inner = joined({
        let mut order = summed.to_vec();
        order.sort_unstable();
        order.into_iter().map(|i| axis(i, 0))
    });
    let mut batch: Vec<Loop> = kept().filter(|l| (l.lhs == 0) == (l.rhs == 0) && l.extent != 1).collect();
    let one = Loop { extent: 1, lhs: 0, rhs: 0, out: 1 };
    let (row, column, k) = (
        rows.pop().unwrap_or(one),
        columns.pop().unwrap_or(one),
        inner.pop().unwrap_or(Loop { lhs: 1, rhs: 1, ..one }),
    );
    batch.extend(rows);
    batch.extend(columns);
    Some(MatMul {
        mnk: [row.extent, column.extent, k.extent],
        lhs: Operand { outer: row.lhs, inner: k.lhs, offset: a.offset.cast_unsigned() },
        rhs: Operand { outer: column.rhs, inner: k.rhs, offset: b.offset.cast_unsigned() },
        out: [row.out, column.out],
        batch,
        summed: inner,
        elements: out_shape.iter().product(),
    })
}
