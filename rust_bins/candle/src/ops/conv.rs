//! Convolutions, as products with patches.
//!
//! Candle's own backward of a convolution is a transposed convolution by naive loops and a convolution whose kernel is
//! the whole image; its forward copies pixel by pixel. Patches are views of the padded image, put beside each other by
//! candle's `cat`, and everything else is candle's matrix product.

use candle_core::{Result, Tensor};

use super::channels::add_to_channels;
use super::window::{Window, dilated, padded};
use crate::graft::graft2;
use crate::store::View;

/// A convolution with the same stride in both directions, padded by zeros.
pub struct Conv {
    /// `[O, C, kh, kw]`.
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
    /// Above and below, left and right.
    padding: (usize, usize),
}

impl Conv {
    /// The layer whose parameters are `NAME.weight` `[O, C, k, k]` and, where the architecture lists it, `NAME.bias`.
    ///
    /// # Errors
    /// When the weight is not listed.
    pub fn load(view: &View<'_>, name: &str, stride: usize, padding: usize) -> Result<Self> {
        let (weight, bias) = (view.get(&format!("{name}.weight"))?, view.find(&format!("{name}.bias"))?);
        Ok(Self { weight, bias, stride, padding: (padding, padding) })
    }

    /// The same in one dimension: a weight `[O, C, k]` for `x` `[B, C, 1, L]`.
    ///
    /// # Errors
    /// When the weight is not listed.
    pub fn load_1d(view: &View<'_>, name: &str, stride: usize, padding: usize) -> Result<Self> {
        let (weight, bias) = (view.get(&format!("{name}.weight"))?.unsqueeze(2)?, view.find(&format!("{name}.bias"))?);
        Ok(Self { weight, bias, stride, padding: (0, padding) })
    }

    /// `x` `[B, C, H, W]` to `[B, O, H', W']`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = convolve(x, &self.weight, self.stride, self.padding)?;
        match &self.bias {
            None => Ok(y),
            Some(bias) => add_to_channels(&y, bias),
        }
    }
}

/// With patches `P` of `x`: `y = W P`; `g_W = g Pᵀ`; and `g_x` is the convolution of `g`, its pixels `stride` apart, with
/// the mirrored and transposed kernel.
pub(super) fn convolve(x: &Tensor, w: &Tensor, stride: usize, padding: (usize, usize)) -> Result<Tensor> {
    let (xd, wd, tracks) = (x.detach().contiguous()?, w.detach(), (x.track_op(), w.track_op()));
    let (o, c, kh, kw) = w.dims4()?;
    let window = Window { height: kh, width: kw, stride };
    let edge = (padding.0, padding.0, padding.1, padding.1);
    // [O, kh kw C]: taps before channels, as in the patches.
    let y = product(&wd.permute((0, 2, 3, 1))?.reshape((o, ()))?, &padded(&xd, edge, 0.0)?, &window, false)?;
    graft2("convolution", (x, w), y, move |_, g| {
        let g = g.contiguous()?;
        let g_x = || {
            let (_, _, h, width) = xd.dims4()?;
            let spread = dilated(&g, stride)?;
            let (_, _, gh, gw) = spread.dims4()?;
            // What a full convolution needs on each side; on the far side, also pixels that no window reached.
            let (top, left) = (kh - 1 - padding.0, kw - 1 - padding.1);
            let edge = (top, h + kh - 1 - gh - top, left, width + kw - 1 - gw - left);
            let mirrored = wd.permute((1, 2, 3, 0))?.reshape((c, ()))?;
            product(&mirrored, &padded(&spread, edge, 0.0)?, &Window { height: kh, width: kw, stride: 1 }, true)
        };
        let g_w = || {
            let (b, _, h, width) = g.dims4()?;
            let patches = window.patches(&padded(&xd, edge, 0.0)?, false)?;
            let products = g.reshape((b, o, h * width))?.matmul(&patches.t()?)?;
            products.sum(0)?.reshape((o, kh, kw, c))?.permute((0, 3, 1, 2))?.contiguous()
        };
        Ok([tracks.0.then(g_x).transpose()?, tracks.1.then(g_w).transpose()?])
    })
}

/// `w` `[O, taps C]` times the patches of `x` `[B, C, H, W]`, as an image `[B, O, H', W']`.
fn product(w: &Tensor, x: &Tensor, window: &Window, mirrored: bool) -> Result<Tensor> {
    let (b, _, h, width) = x.dims4()?;
    let (o, taps) = w.dims2()?;
    let (out_h, out_w) = window.output(h, width);
    let y = w.unsqueeze(0)?.broadcast_as((b, o, taps))?.matmul(&window.patches(x, mirrored)?)?;
    y.reshape((b, o, out_h, out_w))
}
