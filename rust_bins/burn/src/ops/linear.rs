//! Linear layers and norms on plain tensors: the parameters carry checkpoint names, not those of burn's modules.

use burn::tensor::Tensor;
use burn::tensor::module;

use crate::parameters::Handles;

/// A linear layer.
#[derive(Clone)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Tensor<2>,
    /// `[out]`.
    pub bias: Option<Tensor<1>>,
}

impl Linear {
    /// The layer of that name, whose weight the table holds transposed.
    pub fn load(p: &Handles, name: &str) -> Self {
        Self { weight: p.get(&format!("{name}.weight")), bias: p.find(&format!("{name}.bias")) }
    }

    /// `x` `[.., in]` to `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, self.weight.clone(), self.bias.clone())
    }
}

/// A layer norm over the last axis.
#[derive(Clone)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    /// The norm of that name.
    pub fn load(p: &Handles, name: &str, eps: f64) -> Self {
        Self { weight: p.get(&format!("{name}.weight")), bias: p.get(&format!("{name}.bias")), eps }
    }

    /// `x` `[.., channels]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if x.device().is_autodiff() {
            return normalise(x, self.eps) * self.weight.clone().unsqueeze() + self.bias.clone().unsqueeze();
        }
        module::layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.eps)
    }
}

/// `(x - mean) / sqrt(variance + eps)` over the last axis, for the tape: burn's own layer norm divides there by a
/// broadcast tensor, whose gradient takes several passes over `x` more than that of a product.
fn normalise<const D: usize>(x: Tensor<D>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let scale = centred.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt().recip();
    centred * scale
}

/// RMS norm over the last axis: `x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich, 2019).
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let scale = x.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// Group norm of `x` `[B, C, H, W]` (Wu and He, 2018): each group of channels is one row of a layer norm, the scale
/// and shift are the channels'.
pub fn group_norm(x: Tensor<4>, groups: usize, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let row = c / groups * h * w;
    let rows = x.reshape([b * groups, row]);
    let normed = if rows.device().is_autodiff() {
        normalise(rows, eps)
    } else {
        let ones = Tensor::ones([row], &rows.device());
        module::layer_norm(rows, ones, None, eps)
    };
    (normed.reshape([b, c, h * w]) * weight.reshape([1, c, 1]) + bias.reshape([1, c, 1])).reshape([b, c, h, w])
}
