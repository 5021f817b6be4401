//! Normalisations. Candle's kernels have no gradient; all of them are over the last dimension.

use candle_core::{D, Result, Tensor};

use super::channels::scale_channels;
use crate::graft::{graft1, graft2, graft3};
use crate::store::View;

/// `y = x / sqrt(mean(x²) + eps) * w`, over the last dimension (Zhang and Sennrich 2019).
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// The layer whose parameter is `NAME.weight`.
    ///
    /// # Errors
    /// When it is not listed.
    pub fn load(view: &View<'_>, name: &str, eps: f64) -> Result<Self> {
        Ok(Self::new(view.get(&format!("{name}.weight"))?, eps))
    }

    /// A layer of this parameter.
    pub fn new(weight: Tensor, eps: f64) -> Self {
        Self { weight, eps }
    }

    /// `x` `[.., n]`. With `n = x / rms` and `gₙ = g w`: `g_x = (gₙ - n mean(gₙ n)) / rms` and `g_w = Σ g n`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (xd, w, eps) = (x.detach().contiguous()?, self.weight.detach(), self.eps);
        let y = candle_nn::ops::rms_norm(&xd, &w, eps as f32)?;
        graft2("rms_norm", (x, &self.weight), y, move |_, g| {
            let rms = (xd.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
            let n = xd.broadcast_div(&rms)?;
            let g_w = sum_rows(&(g * &n)?)?;
            let g_n = g.broadcast_mul(&w)?;
            let mean = (&g_n * &n)?.mean_keepdim(D::Minus1)?;
            let g_x = (g_n - n.broadcast_mul(&mean)?)?.broadcast_div(&rms)?;
            Ok([Some(g_x), Some(g_w)])
        })
    }
}

/// `y = (x - mean) / sqrt(variance + eps) * w + b`, over the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// The layer whose parameters are `NAME.weight` and `NAME.bias`.
    ///
    /// # Errors
    /// When one is not listed.
    pub fn load(view: &View<'_>, name: &str, eps: f64) -> Result<Self> {
        Ok(Self::new(view.get(&format!("{name}.weight"))?, view.get(&format!("{name}.bias"))?, eps))
    }

    /// A layer of these parameters.
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { weight, bias, eps }
    }

    /// `x` `[.., n]`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (xd, w, eps) = (x.detach().contiguous()?, self.weight.detach(), self.eps);
        let y = candle_nn::ops::layer_norm(&xd, &w, &self.bias.detach(), eps as f32)?;
        graft3("layer_norm", (x, &self.weight, &self.bias), y, move |_, g| {
            let (n, deviation) = normalised(&xd, eps)?;
            let g_x = back_through(&n, &deviation, &g.broadcast_mul(&w)?)?;
            Ok([Some(g_x), Some(sum_rows(&(g * &n)?)?), Some(sum_rows(g)?)])
        })
    }
}

/// Layer norm over groups of channels of an image, with weights by channel (Wu and He 2018).
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// The layer whose parameters are `NAME.weight` and `NAME.bias`, `[C]`.
    ///
    /// # Errors
    /// When one is not listed.
    pub fn load(view: &View<'_>, name: &str, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self::new(view.get(&format!("{name}.weight"))?, view.get(&format!("{name}.bias"))?, groups, eps))
    }

    /// A layer of these parameters.
    pub fn new(weight: Tensor, bias: Tensor, groups: usize, eps: f64) -> Self {
        Self { weight, bias, groups, eps }
    }

    /// `x` `[B, C, H, W]`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (b, eps) = (x.dim(0)?, self.eps);
        let grouped = x.detach().contiguous()?.reshape((b, self.groups, ()))?;
        let (n, deviation) = normalised(&grouped, eps)?;
        let groups = self.groups;
        let normed = graft1("group_norm", x, n.reshape(x.dims())?, move |y, g| {
            let (n, g_n) = (y.reshape((b, groups, ()))?, g.contiguous()?.reshape((b, groups, ()))?);
            back_through(&n, &deviation, &g_n)?.reshape(g.dims())
        })?;
        scale_channels(&normed, &self.weight, &self.bias)
    }
}

/// `(x - mean) / deviation` and the deviation `sqrt(variance + eps)`, over the last dimension.
fn normalised(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok((centred.broadcast_div(&deviation)?, deviation))
}

/// The gradient of `x` from that of `n = (x - mean) / deviation`: `(g - mean(g) - n mean(g n)) / deviation`.
fn back_through(n: &Tensor, deviation: &Tensor, g: &Tensor) -> Result<Tensor> {
    let mean = g.mean_keepdim(D::Minus1)?;
    let along = (g * n)?.mean_keepdim(D::Minus1)?;
    (g.broadcast_sub(&mean)? - n.broadcast_mul(&along)?)?.broadcast_div(deviation)
}

/// `[.., n]` summed to `[n]`.
fn sum_rows(x: &Tensor) -> Result<Tensor> {
    x.reshape(((), x.dim(D::Minus1)?))?.sum(0)
}
