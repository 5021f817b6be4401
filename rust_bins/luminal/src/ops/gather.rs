//! Rows of a table by id, and the gradient of that.
//!
//! luminal composes a gather from a one-hot matrix: `ids x rows` comparisons and a matrix product, 4e12 operations for
//! 128 tokens of a 49152-word vocabulary. These two operators copy and add rows.

use std::any::Any;

use luminal::op::{InputTensor, Operator};
use luminal::prelude::{Data, ShapeTracker, Tensor};

use super::values;

/// Row numbers as a luminal tensor: luminal's own `f32` data cannot count beyond 2^24 exactly.
#[derive(Debug, Clone)]
pub struct Ids(pub Vec<u32>);

impl Data for Ids {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

fn ids<'a>(input: &'a InputTensor<'a>) -> &'a [u32] {
    &input.borrowed().data.as_any().downcast_ref::<Ids>().expect("an id tensor").0
}

/// `out[i, :] = table[ids[i], :]`. Inputs: table `[rows, width]`, ids `[n]`; both contiguous; ids are checked where they
/// are bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// Rows of the table.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// The row that gets no gradient: `padding_idx` of `torch.nn.Embedding`.
    pub padding: Option<u32>,
}

impl Operator for Gather {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (table, ids) = (values(&inputs[0].0), ids(&inputs[1].0));
        let mut out = Vec::with_capacity(ids.len() * self.width);
        for &id in ids {
            let start = id as usize * self.width;
            out.extend_from_slice(&table[start..start + self.width]);
        }
        vec![Tensor::new(out)]
    }
}

/// `out[ids[i], :] += rows[i, :]` but where `ids[i]` is the padding, the transpose of [`Gather`]. Inputs: `[n, width]`
/// and ids `[n]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterAdd {
    /// Rows of the output.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// The row that stays zero.
    pub padding: Option<u32>,
}

impl Operator for ScatterAdd {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (rows, ids) = (values(&inputs[0].0), ids(&inputs[1].0));
        let mut out = vec![0.0; self.rows * self.width];
        let rows = rows.chunks_exact(self.width).zip(ids);
        for (row, &id) in rows.filter(|(_, id)| self.padding != Some(**id)) {
            let start = id as usize * self.width;
            for (o, r) in out[start..start + self.width].iter_mut().zip(row) {
                *o += r;
            }
        }
        vec![Tensor::new(out)]
    }
}
