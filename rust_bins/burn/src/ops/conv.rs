//! Two-dimensional convolution that is fast to differentiate.

use burn::tensor::module;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Tensor, s};

use crate::backend::is_host;

/// Convolution of `x` `[B, C, H, W]` by `weight` `[out, C, k, k]`, zero padding on every side, square stride.
///
/// Without a tape, and on a GPU, this is burn's own. On flex's tape it is composed of slices and one matrix product: there
/// the gradient of a convolution's weight is a convolution whose kernel is as large as the image, a product of a matrix
/// with `k * k` columns per input channel (one column, for a 1x1 kernel).
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    let tape = x.device().is_autodiff() || weight.device().is_autodiff();
    if !tape || !is_host(&x.device().inner()) {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        return module::conv2d(x, weight, bias, options);
    }
    let [b, c, h, w] = x.dims();
    let [out, _, kernel, _] = weight.dims();
    let size = |length: usize| (length + 2 * padding - kernel) / stride + 1;
    let (rows, columns) = (size(h), size(w));
    let x = if padding > 0 { x.pad([(padding, padding); 2], PadMode::Constant(0.0)) } else { x };
    let patch = |i: usize, j: usize| {
        let (last_i, last_j) = (i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1);
        let step = stride.cast_signed();
        x.clone().slice(s![.., .., i..last_i;step, j..last_j;step]).reshape([b, c, rows * columns])
    };
    let patches: Vec<_> =
        (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))).map(|(i, j)| patch(i, j)).collect();
    // [B, k * k * C, rows * columns], the channels innermost.
    let patches = if kernel == 1 { patches.into_iter().next().expect("one patch") } else { Tensor::cat(patches, 1) };
    let weight = weight.permute([0, 2, 3, 1]).reshape([1, out, kernel * kernel * c]);
    let y = weight.expand([b, out, kernel * kernel * c]).matmul(patches);
    let y = match bias {
        Some(bias) => y + bias.reshape([1, out, 1]),
        None => y,
    };
    y.reshape([b, out, rows, columns])
}
