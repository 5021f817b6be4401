//! The error function, which exact GELU needs and which luminal's primitives cannot compose.

use luminal::op::{InputTensor, Operator};
use luminal::prelude::{ShapeTracker, Tensor};

use super::{math, values};

/// `erf(x)` of each stored element; part of a fused kernel in all compiled graphs.
#[derive(Debug, Clone, PartialEq)]
pub struct Erf;

impl Operator for Erf {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        vec![Tensor::new(values(&inputs[0].0).iter().map(|&x| math::erf(x)).collect::<Vec<f32>>())]
    }
}
