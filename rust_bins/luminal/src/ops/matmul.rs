//! Matrix products of operands with any strides, on the `gemm` crate.
//!
//! luminal's stock CPU compiler recognises `[A,B,C] x [C,D]` only, one thread, and computes everything else as a
//! broadcast product of `m*n*k` elements with a symbolic index computation for each.

use gemm::Parallelism;
use luminal::op::{InputTensor, Operator};
use luminal::prelude::{ShapeTracker, Tensor};
use rayon::prelude::*;

use super::values;

/// An input of a product: where its matrix starts and how it steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Step along the operand's own output axis (rows of the left, columns of the right operand).
    pub outer: usize,
    /// Step along the summed axis.
    pub inner: usize,
    /// First element.
    pub offset: usize,
}

/// An axis around the matrix product, with the step of each tensor along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Length.
    pub extent: usize,
    /// Step of the left operand.
    pub lhs: usize,
    /// Step of the right operand.
    pub rhs: usize,
    /// Step of the output; unused along summed axes.
    pub out: usize,
}

/// `out[b.., i, j] = Σ_s.. Σ_k lhs[b.., s.., i, k] · rhs[b.., s.., k, j]`, contiguous output. Inputs: left and right storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatMul {
    /// Rows, columns and summed length of one matrix product.
    pub mnk: [usize; 3],
    /// The left operand.
    pub lhs: Operand,
    /// The right operand.
    pub rhs: Operand,
    /// Steps of the output along rows and columns.
    pub out: [usize; 2],
    /// Axes repeated with other matrices and another output, outermost first.
    pub batch: Vec<Loop>,
    /// Axes repeated with other matrices into the same output.
    pub summed: Vec<Loop>,
    /// Elements of the output.
    pub elements: usize,
}

/// Offsets of the left operand, the right operand and the output at each step of nested loops.
fn offsets(loops: &[Loop]) -> Vec<[usize; 3]> {
    loops.iter().fold(vec![[0; 3]], |outer, axis| {
        outer
            .iter()
            .flat_map(|&[l, r, o]| {
                (0..axis.extent).map(move |i| [l + i * axis.lhs, r + i * axis.rhs, o + i * axis.out])
            })
            .collect()
    })
}

/// The furthest element that an operand reaches.
fn reach(operand: Operand, outer: usize, inner: usize) -> usize {
    operand.offset + (outer - 1) * operand.outer + (inner - 1) * operand.inner
}

/// The output, written from several threads at disjoint places.
#[derive(Clone, Copy)]
struct Output(*mut f32);

#[allow(unsafe_code)]
// SAFETY: the pointer is only used for the disjoint matrices of one output, while that output is borrowed mutably.
unsafe impl Send for Output {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Output {}

impl MatMul {
    fn run(&self, lhs: &[f32], rhs: &[f32]) -> Vec<f32> {
        let [m, n, k] = self.mnk;
        let mut out = vec![0.0_f32; self.elements];
        let (batch, summed) = (offsets(&self.batch), offsets(&self.summed));
        let furthest = |loops: &[[usize; 3]], i: usize| loops.iter().map(|o| o[i]).max().unwrap_or(0);
        assert!(
            furthest(&batch, 0) + furthest(&summed, 0) + reach(self.lhs, m, k) < lhs.len(),
            "left operand too short"
        );
        assert!(
            furthest(&batch, 1) + furthest(&summed, 1) + reach(self.rhs, n, k) < rhs.len(),
            "right operand too short"
        );
        let last = (m - 1) * self.out[0] + (n - 1) * self.out[1];
        assert!(furthest(&batch, 2) + last < out.len(), "output too short");

        let threads = rayon::current_num_threads();
        let output = Output(out.as_mut_ptr());
        let one = |&[l, r, o]: &[usize; 3], parallelism: Parallelism| {
            for (step, &[sl, sr, _]) in summed.iter().enumerate() {
                let (l, r) = (l + sl + self.lhs.offset, r + sr + self.rhs.offset);
                self.product(output, o, &lhs[l..], &rhs[r..], step > 0, parallelism);
            }
        };
        let alone =
            |work: usize| if work < 1 << 15 || threads == 1 { Parallelism::None } else { Parallelism::Rayon(threads) };
        if threads > 1 && batch.len() >= threads && batch.len() * m * n * k > 1 << 16 {
            batch.par_iter().for_each(|at| one(at, Parallelism::None));
        } else {
            for at in &batch {
                one(at, alone(m * n * k));
            }
        }
        out
    }

    fn product(&self, out: Output, at: usize, lhs: &[f32], rhs: &[f32], accumulate: bool, parallelism: Parallelism) {
        let [m, n, k] = self.mnk;
        let step = usize::cast_signed;
        #[allow(unsafe_code)]
        // SAFETY: `run` has checked that the furthest element of either operand and of the output exists, and no two
        // batch steps share an output element.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.0.add(at),
                step(self.out[1]),
                step(self.out[0]),
                accumulate,
                lhs.as_ptr(),
                step(self.lhs.inner),
                step(self.lhs.outer),
                rhs.as_ptr(),
                step(self.rhs.outer),
                step(self.rhs.inner),
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

impl Operator for MatMul {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        vec![Tensor::new(self.run(values(&inputs[0].0), values(&inputs[1].0)))]
    }
}
