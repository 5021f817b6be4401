//! Scaled dot-product attention (Vaswani et al. 2017), grouped (Ainslie et al. 2023).

use candle_core::{D, Device, Result, Tensor};

use crate::graft::graft1;

/// What to add to scores `[T, past + T]` so that position `t` sees the past and positions up to `t`.
///
/// # Errors
/// Candle's.
pub fn causal_mask(length: usize, past: usize, device: &Device) -> Result<Tensor> {
    let visible = |t: usize, s: usize| if s <= past + t { 0.0 } else { f32::NEG_INFINITY };
    let mask: Vec<f32> = (0..length).flat_map(|t| (0..past + length).map(move |s| visible(t, s))).collect();
    Tensor::from_vec(mask, (length, past + length), device)
}

/// `[B, T, H d]` as `[B, H, T, d]`, with heads of width `d`.
///
/// # Errors
/// Candle's.
pub fn heads(x: &Tensor, d: usize) -> Result<Tensor> {
    let (b, t, _) = x.dims3()?;
    x.reshape((b, t, (), d))?.transpose(1, 2)?.contiguous()
}

/// `softmax(q kᵀ / sqrt(d) + mask) v`: `q` `[B, H, T, d]`, `k` and `v` `[B, K, S, d]` with `K` dividing `H`, `mask`
/// `[T, S]`; makes `[B, T, H d]`.
///
/// # Errors
/// Candle's.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (b, heads, t, d) = q.dims4()?;
    let (_, kv_heads, s, _) = k.dims4()?;
    // The query heads of a group are rows of one product with their key head: nothing is repeated.
    let q = (q * (1.0 / (d as f64).sqrt()))?.reshape((b, kv_heads, heads / kv_heads * t, d))?;
    let mut scores = q.matmul(&k.t()?)?;
    if let Some(mask) = mask {
        scores = scores.reshape((b, heads, t, s))?.broadcast_add(mask)?.reshape((b, kv_heads, (), s))?;
    }
    let mixed = softmax(&scores)?.matmul(v)?;
    mixed.reshape((b, heads, t, d))?.transpose(1, 2)?.reshape((b, t, heads * d))
}

/// Softmax over the last dimension. Candle's kernel has no gradient; it is `y (g - Σ g y)`.
fn softmax(x: &Tensor) -> Result<Tensor> {
    graft1("softmax", x, candle_nn::ops::softmax_last_dim(&x.detach())?, |y, g| {
        let gy = (g * y)?;
        &gy - y.broadcast_mul(&gy.sum_keepdim(D::Minus1)?)?
    })
}
