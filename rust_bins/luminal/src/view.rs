//! What a [`ShapeTracker`] means, once every dimension is a number.
//!
//! A luminal edge carries a tracker: the producer's storage, its physical axes in storage order, seen through a
//! permutation, repeated ("fake") axes, and either padding or a slice per axis. [`View`] is the same with plain integers,
//! axis by axis, so that gradients can invert it and kernels can compute addresses from it.

use luminal::prelude::{ShapeTracker, symbolic::Expression};

/// How one logical axis reads storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Its length.
    pub extent: usize,
    /// The physical axis that it walks along; none when its values are repeated.
    pub source: Option<usize>,
    /// Physical index = logical index + shift.
    pub shift: isize,
    /// The half-open range of logical indices that exist in storage; outside, the value is zero.
    pub valid: (usize, usize),
}

/// A logical tensor over contiguous storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Logical axes, outermost first.
    pub axes: Vec<Axis>,
    /// Lengths of the physical axes, outermost first, repeated ones left out.
    pub physical: Vec<usize>,
}

/// Addresses of a view's elements: `offset + Σ index·stride` where every index is within `valid`, else zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Added to every address.
    pub offset: isize,
    /// Stride of each logical axis; zero when it is repeated.
    pub strides: Vec<usize>,
    /// As in [`Axis::valid`].
    pub valid: Vec<(usize, usize)>,
}

/// The value of an expression without symbols.
///
/// # Panics
/// When a dimension is symbolic: this runner builds a graph for fixed shapes only.
fn value(expression: Expression) -> usize {
    expression.to_usize().expect("every dimension is a number")
}

impl View {
    /// Reads a tracker.
    pub fn of(tracker: &ShapeTracker) -> Self {
        let physical_axis = |p: usize| (0..p).filter(|&i| !tracker.fake[i]).count();
        let axes = tracker.indexes.iter().map(|&p| {
            let dim = value(tracker.dims[p]);
            if tracker.fake[p] {
                return Axis { extent: dim, source: None, shift: 0, valid: (0, dim) };
            }
            let (before, after) = (value(tracker.padding[p].0), value(tracker.padding[p].1));
            let (start, end) = (value(tracker.slices[p].0), value(tracker.slices[p].1));
            let extent = (dim + before + after).min(end) - start;
            let valid = (before.saturating_sub(start), (dim + before).saturating_sub(start).min(extent));
            let shift = start.cast_signed() - before.cast_signed();
            Axis { extent, source: Some(physical_axis(p)), shift, valid }
        });
        Self {
            axes: axes.collect(),
            physical: (0..tracker.dims.len()).filter(|&p| !tracker.fake[p]).map(|p| value(tracker.dims[p])).collect(),
        }
    }

    /// Logical lengths.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.extent).collect()
    }

    /// Number of logical elements.
    pub fn elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.extent).product()
    }

    /// Number of stored elements.
    pub fn storage(&self) -> usize {
        self.physical.iter().product()
    }

    /// Whether the logical tensor is the storage, element for element.
    pub fn is_identity(&self) -> bool {
        self.axes.len() == self.physical.len()
            && self.axes.iter().enumerate().all(|(i, axis)| {
                axis.source == Some(i) && axis.shift == 0 && axis.extent == self.physical[i] && axis.is_whole()
            })
    }

    /// Whether some axis is sliced or padded.
    pub fn is_cut(&self) -> bool {
        self.axes.iter().any(|axis| axis.is_cut(&self.physical))
    }

    /// The addresses of this view in its storage.
    pub fn load(&self) -> Load {
        let physical_strides = contiguous_strides(&self.physical);
        let mut load = Load { offset: 0, strides: vec![], valid: vec![] };
        for axis in &self.axes {
            let stride = axis.source.map_or(0, |p| physical_strides[p]);
            load.offset += axis.shift * stride.cast_signed();
            load.strides.push(stride);
            load.valid.push(axis.valid);
        }
        load
    }
}

impl Axis {
    /// Whether every index exists in storage.
    pub fn is_whole(&self) -> bool {
        self.valid == (0, self.extent)
    }

    /// Whether the axis shows less than its physical axis, or more.
    pub fn is_cut(&self, physical: &[usize]) -> bool {
        self.source.is_some_and(|p| self.shift != 0 || self.extent != physical[p])
    }
}

/// Row-major strides.
pub fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The tracker of a contiguous tensor.
pub fn tracker(shape: &[usize]) -> ShapeTracker {
    ShapeTracker::new(&shape.iter().map(|&n| Expression::from(n)).collect::<Vec<_>>())
}
