//! Images unfolded into columns, so that a convolution is a matrix product; the transpose; and max-pooling.
//!
//! luminal's own pooling (`pool_last_dim`) reshapes through three copies an axis and knows no padding; its convolution
//! builds on it. All operators here take contiguous `[N, C, H, W]`.

use luminal::op::{InputTensor, Operator};
use luminal::prelude::{ShapeTracker, Tensor};
use rayon::prelude::*;

use super::values;

/// A window sliding over images of one size; pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Size of the image.
    pub image: [usize; 2],
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: [usize; 2],
}

impl Window {
    /// Positions of the window: `⌊(size + 2·padding - kernel) / stride⌋ + 1` an axis.
    pub fn positions(&self) -> [usize; 2] {
        [0, 1].map(|i| (self.image[i] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1)
    }

    fn image_len(&self) -> usize {
        self.image[0] * self.image[1]
    }

    fn columns(&self) -> usize {
        let [height, width] = self.positions();
        height * width
    }

    /// Elements of one channel's columns.
    fn unfolded_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.columns()
    }

    /// The image's coordinate along an axis, of a window's cell; none in the padding.
    fn at(&self, axis: usize, position: usize, cell: usize) -> Option<usize> {
        (position * self.stride[axis] + cell).checked_sub(self.padding[axis]).filter(|&i| i < self.image[axis])
    }

    /// The positions along the width at which a cell is inside the image.
    fn inside(&self, cell: usize) -> std::ops::Range<usize> {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let low = padding.saturating_sub(cell).div_ceil(stride);
        let high = (self.image[1] + padding).saturating_sub(cell).div_ceil(stride).min(self.positions()[1]);
        low.min(high)..high
    }

    /// Calls `f` with each run of neighbouring positions inside the image: the first column, the first pixel, the length.
    fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        let [height, width] = self.positions();
        for cell in 0..self.kernel[0] * self.kernel[1] {
            let (row, column) = (cell / self.kernel[1], cell % self.kernel[1]);
            let inside = self.inside(column);
            for y in 0..height {
                let Some(pixel_row) = self.at(0, y, row).filter(|_| !inside.is_empty()) else { continue };
                let first = inside.start * self.stride[1] + column - self.padding[1];
                let at = (cell * height + y) * width + inside.start;
                f(at, pixel_row * self.image[1] + first, inside.len());
            }
        }
    }
}

/// `[N, C, H, W]` to `[N, C·kh·kw, positions]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfold(pub Window);

impl Operator for Unfold {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (window, images) = (self.0, values(&inputs[0].0));
        let mut out = vec![0.0; images.len() / window.image_len() * window.unfolded_len()];
        out.par_chunks_mut(window.unfolded_len()).zip(images.par_chunks(window.image_len())).for_each(
            |(out, image)| {
                window.runs(|at, pixel, n| {
                    let out = &mut out[at..at + n];
                    if window.stride[1] == 1 {
                        out.copy_from_slice(&image[pixel..pixel + n]);
                    } else {
                        out.iter_mut().zip(image[pixel..].iter().step_by(window.stride[1])).for_each(|(o, i)| *o = *i);
                    }
                });
            },
        );
        vec![Tensor::new(out)]
    }
}

/// `[N, C·kh·kw, positions]` to `[N, C, H, W]`, overlapping windows added: the transpose of [`Unfold`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fold(pub Window);

impl Operator for Fold {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (window, columns) = (self.0, values(&inputs[0].0));
        let mut out = vec![0.0; columns.len() / window.unfolded_len() * window.image_len()];
        out.par_chunks_mut(window.image_len()).zip(columns.par_chunks(window.unfolded_len())).for_each(
            |(image, columns)| {
                window.runs(|at, pixel, n| {
                    let pixels = image[pixel..].iter_mut().step_by(window.stride[1]);
                    pixels.zip(&columns[at..at + n]).for_each(|(p, c)| *p += c);
                });
            },
        );
        vec![Tensor::new(out)]
    }
}

/// The largest pixel of each window, `[N, C, H, W]` to `[N, C, positions..]`; padding never wins.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool(pub Window);

impl MaxPool {
    /// The first largest pixel of each window, as `PyTorch` chooses it.
    fn winners(&self, image: &[f32], mut f: impl FnMut(usize, usize)) {
        let window = self.0;
        let [height, width] = window.positions();
        for position in 0..height * width {
            let mut best: Option<usize> = None;
            for cell in 0..window.kernel[0] * window.kernel[1] {
                let row = window.at(0, position / width, cell / window.kernel[1]);
                let column = window.at(1, position % width, cell % window.kernel[1]);
                let (Some(row), Some(column)) = (row, column) else { continue };
                let pixel = row * window.image[1] + column;
                if best.is_none_or(|best| image[pixel] > image[best] || image[pixel].is_nan()) {
                    best = Some(pixel);
                }
            }
            f(position, best.expect("padding is smaller than the window"));
        }
    }
}

impl Operator for MaxPool {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (window, images) = (self.0, values(&inputs[0].0));
        let mut out = vec![0.0; images.len() / window.image_len() * window.columns()];
        out.par_chunks_mut(window.columns()).zip(images.par_chunks(window.image_len())).for_each(|(out, image)| {
            self.winners(image, |position, pixel| out[position] = image[pixel]);
        });
        vec![Tensor::new(out)]
    }
}

/// The gradient of [`MaxPool`]: each window's goes to its winner. Inputs: the images and the cotangent.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPoolGradient(pub Window);

impl Operator for MaxPoolGradient {
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Tensor> {
        let (window, images, cotangent) = (self.0, values(&inputs[0].0), values(&inputs[1].0));
        let mut out = vec![0.0; images.len()];
        let planes = images.par_chunks(window.image_len()).zip(cotangent.par_chunks(window.columns()));
        out.par_chunks_mut(window.image_len()).zip(planes).for_each(|(out, (image, cotangent))| {
            MaxPool(window).winners(image, |position, pixel| out[pixel] += cotangent[position]);
        });
        vec![Tensor::new(out)]
    }
}
