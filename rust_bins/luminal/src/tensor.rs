//! A tensor of luminal's graph whose dimensions are numbers known only at run time.
//!
//! luminal's own [`GraphTensor`] carries its shape in its type, which a configuration read at run time cannot give; its
//! rank-only shapes lose the dimensions in `+` and `expand`. [`Tensor`] is the shapeless `GraphTensor<()>` that luminal
//! offers for that (`no_shape`) with the operations that the models need, each emitting luminal's primitive operations with
//! an explicit [`ShapeTracker`]. Binary operations broadcast as `NumPy` does.

use std::ops::{Add, Div, Mul, Neg, Range, Sub};

use luminal::op::{self, Operator};
use luminal::prelude::{Graph, GraphTensor, NodeIndex, ShapeTracker, symbolic::Expression};

use crate::view::{View, tracker};

/// The most axes that luminal's tracker holds.
pub const MAX_RANK: usize = 6;

/// A node of the graph and the view through which its storage is read.
#[derive(Clone, Copy)]
pub struct Tensor {
    inner: GraphTensor<()>,
}

impl Tensor {
    /// A contiguous tensor of that shape, the output of `node`.
    pub fn of_node(graph: *mut Graph, node: NodeIndex, shape: &[usize]) -> Self {
        Self::of_view(graph, node, tracker(shape))
    }

    /// The output of `node` seen through `view`.
    pub fn of_view(graph: *mut Graph, node: NodeIndex, view: ShapeTracker) -> Self {
        Self { inner: GraphTensor::from_id(node, view, graph) }
    }

    /// A tensor whose value is set before every execution.
    pub fn input(graph: &mut Graph, name: &str, shape: &[usize]) -> Self {
        let node = graph.named_tensor::<()>(name).id;
        graph.keep_tensors(node);
        Self::of_node(graph, node, shape)
    }

    /// The node that produces the storage.
    pub fn node(self) -> NodeIndex {
        self.inner.id
    }

    /// The view of the storage.
    pub fn view(self) -> View {
        View::of(&self.inner.shape)
    }

    /// The view in luminal's form.
    pub fn tracker(self) -> ShapeTracker {
        self.inner.shape
    }

    /// The graph that the tensor lives in.
    pub fn graph_ref(self) -> *mut Graph {
        self.inner.graph_ref
    }

    /// Runs `f` on the graph that the tensor lives in.
    pub fn with_graph<R>(self, f: impl FnOnce(&mut Graph) -> R) -> R {
        f(self.inner.graph())
    }

    /// Logical lengths.
    pub fn shape(self) -> Vec<usize> {
        self.view().shape()
    }

    /// Length of one axis.
    pub fn dim(self, axis: usize) -> usize {
        self.shape()[axis]
    }

    /// A constant repeated over the shape of this tensor.
    fn constant_like(self, value: f32) -> Self {
        let node = self.inner.graph().constant(value).id;
        let dims: Vec<Expression> = self.shape().into_iter().map(Expression::from).collect();
        Self::of_view(self.graph_ref(), node, ShapeTracker::fake(&dims))
    }

    /// The output, contiguous and of `shape`, of an operator over `inputs`.
    pub fn apply(operator: impl Operator + 'static, inputs: &[Self], shape: &[usize]) -> Self {
        let first = inputs[0];
        let mut new = first.inner.graph().add_op(operator);
        for input in inputs {
            new = new.input(input.node(), 0, input.tracker());
        }
        let node = new.finish();
        Self::of_node(first.graph_ref(), node, shape)
    }

    /// An operator on storage: the view stays. Padding would stay zero where the operator's value of zero is not, so a cut
    /// view is copied first.
    fn unary(self, operator: impl Operator + 'static) -> Self {
        let x = if self.view().is_cut() { self.contiguous() } else { self };
        let node = x.inner.graph().add_op(operator).input(x.node(), 0, x.tracker()).finish();
        Self::of_view(x.graph_ref(), node, x.tracker())
    }

    fn binary(self, rhs: Self, operator: impl Operator + 'static) -> Self {
        let shape = broadcast_shape(&self.shape(), &rhs.shape());
        Self::apply(operator, &[self.broadcast_to(&shape), rhs.broadcast_to(&shape)], &shape)
    }

    /// A copy in row-major order, or the tensor itself when it is that already.
    pub fn contiguous(self) -> Self {
        if self.view().is_identity() { self } else { Self::apply(op::Contiguous, &[self], &self.shape()) }
    }

    /// The axes in another order.
    pub fn permute(self, axes: &[usize]) -> Self {
        let mut view = self.tracker();
        view.permute(axes);
        Self::of_view(self.graph_ref(), self.node(), view)
    }

    /// The last two axes swapped.
    pub fn transpose(self) -> Self {
        let rank = self.shape().len();
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(&axes)
    }

    /// A new axis of length `n` at `axis`, its values repeated.
    ///
    /// # Panics
    /// With six axes already: luminal's trackers hold no more.
    pub fn expand(self, axis: usize, n: usize) -> Self {
        assert!(self.tracker().len() < MAX_RANK, "a luminal tensor has at most {MAX_RANK} axes");
        let mut view = self.tracker();
        view.expand(axis, n.into());
        Self::of_view(self.graph_ref(), self.node(), view)
    }

    /// Without the axis, whose length is one.
    pub fn squeeze(self, axis: usize) -> Self {
        debug_assert_eq!(self.dim(axis), 1);
        let view = self.view();
        let x = if view.axes[axis].is_cut(&view.physical) { self.contiguous() } else { self };
        let mut tracker = x.tracker();
        tracker.remove_dim(axis);
        Self::of_view(x.graph_ref(), x.node(), tracker)
    }

    /// Repeated along new leading axes and axes of length one until it has `shape`.
    pub fn broadcast_to(self, shape: &[usize]) -> Self {
        let mut x = self;
        while x.tracker().len() < shape.len() {
            x = x.expand(0, shape[shape.len() - x.tracker().len() - 1]);
        }
        for (axis, &n) in shape.iter().enumerate() {
            if x.dim(axis) != n {
                x = x.squeeze(axis).expand(axis, n);
            }
        }
        x
    }

    /// The same elements in row-major order under another shape.
    pub fn reshape(self, shape: &[usize]) -> Self {
        let x = self.contiguous();
        debug_assert_eq!(x.view().elements(), shape.iter().product::<usize>(), "{:?} to {shape:?}", self.shape());
        Self::of_node(x.graph_ref(), x.node(), shape)
    }

    /// The part of an axis within `range`.
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        if range == (0..self.dim(axis)) {
            return self;
        }
        let x = self.uncut(axis);
        let mut view = x.tracker();
        let physical = view.indexes[axis];
        view.slices[physical] = (range.start.into(), range.end.into());
        Self::of_view(x.graph_ref(), x.node(), view)
    }

    /// Zeros before and after an axis.
    pub fn pad(self, axis: usize, before: usize, after: usize) -> Self {
        if before == 0 && after == 0 {
            return self;
        }
        let x = self.uncut(axis);
        let mut view = x.tracker();
        let physical = view.indexes[axis];
        view.padding[physical] = (before.into(), after.into());
        Self::of_view(x.graph_ref(), x.node(), view)
    }

    /// A view whose axis is a whole physical axis: luminal's trackers hold one cut an axis.
    fn uncut(self, axis: usize) -> Self {
        let view = self.view();
        let axis = view.axes[axis];
        if axis.source.is_none() || axis.is_cut(&view.physical) { self.contiguous() } else { self }
    }

    /// One tensor after the other along an axis: luminal's own form, a sum of padded tensors.
    pub fn concat(self, rhs: Self, axis: usize) -> Self {
        let (a, b) = (self.dim(axis), rhs.dim(axis));
        self.pad(axis, 0, b) + rhs.pad(axis, a, 0)
    }

    /// Sum over an axis, which disappears.
    pub fn sum(self, axis: usize) -> Self {
        self.reduce(axis, op::SumReduce(axis))
    }

    /// Maximum over an axis, which disappears.
    pub fn max(self, axis: usize) -> Self {
        self.reduce(axis, op::MaxReduce(axis))
    }

    /// Maximum over an axis, which disappears, for gradients a constant: where only the difference to it matters (softmax),
    /// its own gradient is zero.
    pub fn detached_max(self, axis: usize) -> Self {
        self.reduce(axis, crate::ops::DetachedMax(axis))
    }

    /// Mean over an axis, which disappears.
    pub fn mean(self, axis: usize) -> Self {
        self.sum(axis) * (1.0 / self.dim(axis) as f32)
    }

    fn reduce(self, axis: usize, operator: impl Operator + 'static) -> Self {
        // luminal computes the shape of a sliced view wrongly when its start is not zero, so that a cut view is copied.
        let x = if self.view().is_cut() { self.contiguous() } else { self };
        let mut shape = x.shape();
        shape.remove(axis);
        Self::apply(operator, &[x], &shape)
    }

    /// Matrix product over the last two axes, `[.., m, k] x [.., k, n] -> [.., m, n]`, leading axes broadcast. As luminal's
    /// own `matmul`: a product of two repeated tensors, summed over `k`.
    pub fn matmul(self, rhs: Self) -> Self {
        let rank = self.shape().len();
        let lhs = self.expand(rank - 1, rhs.dim(rhs.shape().len() - 1));
        let rhs_rank = rhs.shape().len();
        let rhs = rhs.transpose().expand(rhs_rank - 2, self.dim(rank - 2));
        let product = lhs * rhs;
        product.sum(product.shape().len() - 1)
    }

    /// Base-two logarithm.
    pub fn log2(self) -> Self {
        self.unary(op::Log2)
    }

    /// Two to the power of each element.
    pub fn exp2(self) -> Self {
        self.unary(op::Exp2)
    }

    /// Sine.
    pub fn sin(self) -> Self {
        self.unary(op::Sin)
    }

    /// One over each element.
    pub fn recip(self) -> Self {
        self.unary(op::Recip)
    }

    /// Square root.
    pub fn sqrt(self) -> Self {
        self.unary(op::Sqrt)
    }

    /// The error function.
    pub fn erf(self) -> Self {
        self.unary(crate::ops::Erf)
    }

    /// One where an element is smaller than the other tensor's, else zero.
    pub fn less_than(self, rhs: Self) -> Self {
        self.binary(rhs, op::LessThan)
    }

    /// The remainder that keeps the sign of the dividend.
    pub fn modulo(self, rhs: Self) -> Self {
        self.binary(rhs, op::Mod)
    }

    /// Natural exponential.
    pub fn exp(self) -> Self {
        (self * std::f32::consts::LOG2_E).exp2()
    }

    /// Natural logarithm.
    pub fn ln(self) -> Self {
        self.log2() * std::f32::consts::LN_2
    }

    /// `1 / (1 + exp(-x))`.
    pub fn sigmoid(self) -> Self {
        ((self * -std::f32::consts::LOG2_E).exp2() + 1.0).recip()
    }

    /// `x * sigmoid(x)`.
    pub fn silu(self) -> Self {
        self * self.sigmoid()
    }

    /// The part above zero; its derivative at zero is zero, as `PyTorch`'s.
    pub fn relu(self) -> Self {
        self * self.constant_like(0.0).less_than(self)
    }

    /// `x * Φ(x)`, exact: `x / 2 * (1 + erf(x / √2))`.
    pub fn gelu(self) -> Self {
        ((self * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0) * (self * 0.5)
    }
}

impl Add for Tensor {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        self.binary(rhs, op::Add)
    }
}

impl Mul for Tensor {
    type Output = Self;

    fn mul(self, rhs: Self) -> Self {
        self.binary(rhs, op::Mul)
    }
}

impl Neg for Tensor {
    type Output = Self;

    fn neg(self) -> Self {
        self * -1.0
    }
}

impl Sub for Tensor {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        self + -rhs
    }
}

impl Div for Tensor {
    type Output = Self;

    #[allow(clippy::suspicious_arithmetic_impl)] // luminal has no division
    fn div(self, rhs: Self) -> Self {
        self * rhs.recip()
    }
}

impl Add<f32> for Tensor {
    type Output = Self;

    fn add(self, rhs: f32) -> Self {
        self + self.constant_like(rhs)
    }
}

impl Mul<f32> for Tensor {
    type Output = Self;

    fn mul(self, rhs: f32) -> Self {
        self * self.constant_like(rhs)
    }
}

/// The shape of a binary operation's result.
///
/// # Panics
/// When two lengths differ and neither is one: a mistake in a model's code.
fn broadcast_shape(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y => x,
            (1, n) | (n, 1) => n,
            _ => panic!("shapes {a:?} and {b:?} do not broadcast"),
        })
        .collect()
}
