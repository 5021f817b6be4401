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
        module::layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.eps)
    }
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
    let ones = Tensor::ones([row], &x.device().inner());
    let normed = module::layer_norm(x.reshape([b * groups, row]), ones, None, eps);
    (normed.reshape([b, c, h * w]) * weight.reshape([1, c, 1]) + bias.reshape([1, c, 1])).reshape([b, c, h, w])
}
