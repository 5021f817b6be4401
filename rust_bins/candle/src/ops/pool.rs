//! Pooling.

use candle_core::{Result, Tensor};

use super::window::{Window, padded};
use crate::graft::graft1;

/// The maximum of each 3x3 window, 2 apart, of `x` `[B, C, H, W]` with one pixel of minus infinity around it.
///
/// Candle's pooling has no padding, and its gradient takes windows that do not overlap. Here the gradient of a window
/// goes to the first of its largest pixels, as `PyTorch`'s does.
///
/// # Errors
/// Candle's.
pub fn max_pool_3x3(x: &Tensor) -> Result<Tensor> {
    let window = Window { height: 3, width: 3, stride: 2 };
    let (_, _, h, w) = x.dims4()?;
    let framed = padded(&x.detach().contiguous()?, (1, 1, 1, 1), f32::NEG_INFINITY)?;
    let taps = window.taps(&framed)?.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let mut largest = taps[0].clone();
    for tap in &taps[1..] {
        largest = largest.maximum(tap)?;
    }
    graft1("max_pool", x, largest, move |y, g| {
        let mut open = y.ones_like()?;
        let mut gradients = Vec::with_capacity(taps.len());
        for tap in &taps {
            let hit = (tap.eq(y)?.to_dtype(g.dtype())? * &open)?;
            open = (open - &hit)?;
            gradients.push((g * hit)?);
        }
        window.gather(&gradients, h + 2, w + 2)?.narrow(2, 1, h)?.narrow(3, 1, w)?.contiguous()
    })
}
