//! The vector-Jacobian product of each operator.
//!
//! With `y = f(x)` and the cotangent `g = dL/dy`, a rule gives `dL/dx = g · f'(x)`. Derivatives are those of calculus (for
//! instance Abramowitz and Stegun 3.3, 4.1, 4.2, 4.3 and 7.1.19); sums and views are linear, so that their rules are their
//! transposes (Griewank and Walther, "Evaluating Derivatives", 2nd edition, section 3.2).

use std::f32::consts::{FRAC_2_SQRT_PI, FRAC_PI_2, LN_2};

use luminal::op::{Add, Contiguous, Exp2, LessThan, Log2, MaxReduce, Mod, Mul, Operator, Recip, Sin, Sqrt, SumReduce};
use luminal::prelude::{Graph, NodeIndex};

use super::pull;
use crate::ops::{Erf, Fold, Gather, MaxPool, MaxPoolGradient, ScatterAdd, Unfold};
use crate::tensor::Tensor;
use crate::view::View;

/// Whether gradients go through a node at all: comparisons are constant almost everywhere, and a detached maximum is
/// declared to be.
pub fn is_differentiable(graph: &Graph, node: NodeIndex) -> bool {
    let any = graph.graph[node].as_ref().as_any();
    !any.is::<LessThan>() && !any.is::<crate::ops::DetachedMax>()
}

/// The contributions of a node to the gradients of its inputs' storage, for the inputs that `wanted` names.
pub fn vjp(
    graph: &mut Graph,
    node: NodeIndex,
    cotangent: Tensor,
    wanted: &dyn Fn(NodeIndex) -> bool,
) -> Vec<(NodeIndex, Tensor)> {
    let sources = graph.get_sources(node);
    let x: Vec<Tensor> = sources.iter().map(|&(source, _, view)| Tensor::of_view(graph, source, view)).collect();
    let operator: &dyn Operator = graph.graph[node].as_ref();
    let any = operator.as_any();
    if is_unary(operator) {
        // On storage, whatever view it is seen through.
        let shape = View::of(&x[0].tracker()).physical;
        let (input, output) = (Tensor::of_node(graph, x[0].node(), &shape), Tensor::of_node(graph, node, &shape));
        let slope = unary_slope(graph, node, input, output);
        return vec![(x[0].node(), written(cotangent, &shape) * slope)];
    }
    let by_view = |contributions: Vec<Option<Tensor>>| {
        let pairs = x.iter().zip(contributions).filter(|(x, _)| wanted(x.node()));
        pairs.filter_map(|(x, g)| Some((x.node(), pull(*x, g?)))).collect()
    };
    let domain = x[0].shape();
    if let Some(SumReduce(axis)) = any.downcast_ref() {
        // d Σx / dx = 1, for every term.
        return by_view(vec![Some(reduced(cotangent, &domain, *axis).expand(*axis, domain[*axis]))]);
    }
    if let Some(MaxReduce(axis)) = any.downcast_ref() {
        return by_view(vec![Some(max_reduce(graph, node, x[0], cotangent, *axis))]);
    }
    if let Some(&Gather { rows, width, padding }) = any.downcast_ref() {
        // The transpose of copying rows out is adding them in.
        let g = cotangent.contiguous();
        return vec![(x[0].node(), Tensor::apply(ScatterAdd { rows, width, padding }, &[g, x[1]], &[rows, width]))];
    }
    if let Some(Unfold(window)) = any.downcast_ref() {
        let fold = Fold(*window);
        return by_view(vec![Some(Tensor::apply(fold, &[cotangent.contiguous()], &domain))]);
    }
    if let Some(MaxPool(window)) = any.downcast_ref() {
        let gradient = MaxPoolGradient(*window);
        return by_view(vec![Some(Tensor::apply(gradient, &[x[0], cotangent.contiguous()], &domain))]);
    }
    let (is_add, is_mul, is_copy, is_mod) = (any.is::<Add>(), any.is::<Mul>(), any.is::<Contiguous>(), any.is::<Mod>());
    let g = written(cotangent, &domain);
    if is_add {
        // d(a + b) = da + db
        by_view(vec![Some(g), Some(g)])
    } else if is_mul {
        // d(a b) = b da + a db
        by_view(vec![wanted(x[0].node()).then(|| g * x[1]), wanted(x[1].node()).then(|| g * x[0])])
    } else if is_copy {
        by_view(vec![Some(g)])
    } else if is_mod {
        // a mod b = a - b trunc(a / b), and trunc is constant almost everywhere.
        let quotient = (x[0] - Tensor::of_node(graph, node, &domain)) / x[1];
        by_view(vec![Some(g), wanted(x[1].node()).then(|| -(g * quotient))])
    } else {
        panic!("{:?} has no gradient rule", graph.graph[node])
    }
}

fn is_unary(operator: &dyn Operator) -> bool {
    let any = operator.as_any();
    any.is::<Log2>() || any.is::<Exp2>() || any.is::<Sin>() || any.is::<Recip>() || any.is::<Sqrt>() || any.is::<Erf>()
}

/// `dy/dx` of a unary operator, in terms of its input and its output.
fn unary_slope(graph: &Graph, node: NodeIndex, x: Tensor, y: Tensor) -> Tensor {
    let any = graph.graph[node].as_ref().as_any();
    if any.is::<Log2>() {
        // 1 / (x ln 2)
        x.recip() * (1.0 / LN_2)
    } else if any.is::<Exp2>() {
        // 2^x ln 2
        y * LN_2
    } else if any.is::<Sin>() {
        // cos x, which luminal writes sin(π/2 - x)
        (-x + FRAC_PI_2).sin()
    } else if any.is::<Recip>() {
        // -1 / x²
        -(y * y)
    } else if any.is::<Sqrt>() {
        // 1 / (2 √x)
        y.recip() * 0.5
    } else {
        // erf' = 2/√π · exp(-x²)
        (-(x * x)).exp() * FRAC_2_SQRT_PI
    }
}

/// A cotangent whose axes are written as `shape`. A view of that shape stays a view: repeated axes must not be copied, for a
/// product of two repeated tensors is what the passes know as a matrix product.
fn written(cotangent: Tensor, shape: &[usize]) -> Tensor {
    if cotangent.shape() == shape { cotangent } else { cotangent.reshape(shape) }
}

/// The cotangent of a reduction in the shape of the domain without the reduced axis.
fn reduced(cotangent: Tensor, domain: &[usize], axis: usize) -> Tensor {
    let mut shape = domain.to_vec();
    shape.remove(axis);
    written(cotangent, &shape)
}

/// The cotangent goes to the largest element; equal ones share it (`torch.amax`).
fn max_reduce(graph: &mut Graph, node: NodeIndex, x: Tensor, cotangent: Tensor, axis: usize) -> Tensor {
    let domain = x.shape();
    let mut shape = domain.clone();
    shape.remove(axis);
    let repeat = |t: Tensor| t.expand(axis, domain[axis]);
    let largest = repeat(Tensor::of_node(graph, node, &shape));
    // One where x is not smaller than the largest.
    let hit = -x.less_than(largest) + 1.0;
    let share = reduced(cotangent, &domain, axis) / hit.sum(axis);
    hit * repeat(share)
}
