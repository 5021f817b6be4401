//! Operators that luminal lacks or whose stock kernel is too slow, each through its public `Operator` trait.
//!
//! [`Kernel`] and [`MatMul`] replace patterns of luminal's primitive operations (`passes`); the others are used by the
//! models where a composition of primitives would be quadratic, and have their own rules in `autograd`.

mod detached;
mod erf;
mod gather;
mod instruction;
mod kernel;
mod math;
mod matmul;
mod window;

pub use detached::DetachedMax;
pub use erf::Erf;
pub use gather::{Gather, Ids, ScatterAdd};
pub use instruction::{Binary, Instruction, Source, Unary};
pub use kernel::{Kernel, Reduction};
pub use matmul::{Loop, MatMul, Operand};
pub use window::{Fold, MaxPool, MaxPoolGradient, Unfold, Window};

use luminal::op::InputTensor;
use luminal::prelude::Tensor;

/// The names by which the description declares them.
pub const OWN_KERNELS: &[&str] = &[
    "matmul (gemm crate)",
    "fused elementwise and reduction",
    "erf",
    "gather",
    "scatter-add",
    "im2col",
    "col2im",
    "max-pool",
    "max-pool gradient",
];

/// The values of an input.
///
/// # Panics
/// When the tensor is not `f32`: a mistake in a model's code.
pub fn values<'a>(input: &'a InputTensor<'a>) -> &'a [f32] {
    data(input.borrowed())
}

/// The values of a tensor.
///
/// # Panics
/// When the tensor is not `f32`.
pub fn data(tensor: &Tensor) -> &[f32] {
    tensor.data.as_any().downcast_ref::<Vec<f32>>().expect("an f32 tensor")
}
