//! Per-channel arithmetic on images `[B, C, H, W]`. Candle broadcasts these too; its backward of a broadcast is one
//! general reduction over strided axes, which these do as sums over contiguous rows.

use candle_core::{Result, Tensor};

use crate::graft::{graft2, graft3};

/// `x + b`, with `b` `[C]` or `[B, C]`.
///
/// # Errors
/// Candle's.
pub fn add_to_channels(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    let per_sample = b.rank() == 2;
    let y = x.detach().broadcast_add(&column(&b.detach())?)?;
    graft2("add_to_channels", (x, b), y, move |_, g| Ok([Some(g.clone()), Some(sum_pixels(g, per_sample)?)]))
}

/// `x w + b`, with `w` and `b` `[C]`.
///
/// # Errors
/// Candle's.
pub fn scale_channels(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (xd, wd) = (x.detach(), column(&w.detach())?);
    let y = xd.broadcast_mul(&wd)?.broadcast_add(&column(&b.detach())?)?;
    graft3("scale_channels", (x, w, b), y, move |_, g| {
        let g_w = sum_pixels(&(g * &xd)?, false)?;
        Ok([Some(g.broadcast_mul(&wd)?), Some(g_w), Some(sum_pixels(g, false)?)])
    })
}

/// `[C]` or `[B, C]` as `[.., C, 1, 1]`.
fn column(b: &Tensor) -> Result<Tensor> {
    b.unsqueeze(b.rank())?.unsqueeze(b.rank() + 1)
}

/// `[B, C, H, W]` to `[B, C]`, or to `[C]`.
fn sum_pixels(x: &Tensor, per_sample: bool) -> Result<Tensor> {
    let sums = x.contiguous()?.flatten_from(2)?.sum(2)?;
    if per_sample { Ok(sums) } else { sums.sum(0) }
}
