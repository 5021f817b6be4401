//! Attention with shared key heads, and its cache.

use crate::backend::is_host;
use burn::tensor::module::attention as fused_attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Flex goes through longer rows of keys in tiles, whose loops over single numbers take longer than all of the scores at
/// once (`docs/framework-notes/burn.md`).
const LONGEST_FUSED: usize = 512;
/// Scores of so many queries stay in a cache close to the processor.
const QUERIES_AT_ONCE: usize = 64;

/// What a query may see.
#[derive(Clone)]
pub enum Visible {
    /// Every key.
    All,
    /// Keys up to the query's own position, when the last query stands at the last key: with the mask `[T, S]`, where
    /// scores are computed here and not by burn's own `attention`.
    Causal(Option<Box<Tensor<2>>>),
}

impl Visible {
    /// Causal, for `t` queries and `s` keys on a device; `tape` where gradients will be asked for. Part of a batch: the
    /// mask comes from the host, which on a GPU ends what was asked for so far.
    pub fn causal(t: usize, s: usize, tape: bool, device: &Device) -> Self {
        let composed = t > 1 && (tape || !is_host(device));
        Self::Causal(composed.then(|| Box::new(causal_mask(t, s, device))))
    }
}

/// Softmax attention with scale `1 / sqrt(width)`: `q` `[B, H, T, width]`, `k` and `v` `[B, K, S, width]`, where every
/// `H / K` query heads share a key head; returns `[B, T, H * width]`.
///
/// Burn's own `attention` runs where no gradient is asked and the backend takes shared key heads (flex); elsewhere it
/// falls back on a matrix product that knows no sharing, so the composition here folds the sharing queries into rows.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visible: Visible) -> Tensor<3> {
    let [b, heads, t, width] = q.dims();
    let [_, kv_heads, s, _] = k.dims();
    let flex = is_host(&q.device());
    let (causal, mask) = match visible {
        // A single query stands at the last key, and sees them all.
        Visible::Causal(mask) if t > 1 => (true, mask.map(|mask| *mask)),
        _ => (false, None),
    };
    let out = if q.device().is_autodiff() || (heads != kv_heads && !flex) {
        assert!(!causal || mask.is_some(), "a batch for a tape or a GPU has the mask");
        composed(q, k, v, mask)
    } else if flex && s > LONGEST_FUSED && !causal {
        in_parts(&q, &k, &v)
    } else {
        let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: causal };
        fused_attention(q, k, v, None, None, options)
    };
    out.swap_dims(1, 2).reshape([b, t, heads * width])
}

/// The composition, for backends and tapes that lack the whole: `[B, H, T, width]`. `mask` is `[T, S]`.
fn composed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2>>) -> Tensor<4> {
    let [b, heads, t, width] = q.dims();
    let [_, kv_heads, s, _] = k.dims();
    let group = heads / kv_heads;
    let q = q.mul_scalar((width as f64).powf(-0.5)).reshape([b, kv_heads, group * t, width]);
    let mut scores = q.matmul(k.swap_dims(2, 3));
    if let Some(mask) = mask {
        let split = scores.reshape([b, kv_heads, group, t * s]) + mask.reshape([1, 1, 1, t * s]);
        scores = split.reshape([b, kv_heads, group * t, s]);
    }
    // The softmax's division is left to the product's rows, which are far fewer than the scores. The maximum only
    // shifts both sides of that division: no gradient passes through it.
    let greatest = scores.clone().inner().max_dim(3);
    let weights = (scores - on_tape_of(&v, greatest)).exp();
    let sums = weights.clone().sum_dim(3);
    (weights.matmul(v) / sums).reshape([b, heads, t, width])
}

/// The composition over some queries at a time, on all threads: flex computes an exponential on one.
fn in_parts(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Tensor<4> {
    let [b, _, t, _] = q.dims();
    let rows = |sample: usize| {
        let of = |x: &Tensor<4>| x.clone().narrow(0, sample, 1);
        let (q, k, v) = (of(q), of(k), of(v));
        let parts: Vec<_> = (0..t)
            .step_by(QUERIES_AT_ONCE)
            .map(|start| (q.clone().narrow(2, start, QUERIES_AT_ONCE.min(t - start)), k.clone(), v.clone()))
            .collect();
        Tensor::cat(parts.into_par_iter().map(|(q, k, v)| composed(q, k, v, None)).collect(), 2)
    };
    Tensor::cat((0..b).map(rows).collect(), 0)
}

/// Splits `[B, T, H * width]` into heads, `[B, H, T, width]`.
pub fn heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, t, channels] = x.dims();
    x.reshape([b, t, heads, channels / heads]).swap_dims(1, 2)
}

/// The keys and values of the positions so far, `[B, K, S, width]` each.
#[derive(Clone, Default)]
pub struct KeyValues(Option<(Tensor<4>, Tensor<4>)>);

impl KeyValues {
    /// Appends those of new positions and returns all.
    pub fn extend(&mut self, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let all = match self.0.take() {
            Some((old_k, old_v)) => (Tensor::cat(vec![old_k, k], 2), Tensor::cat(vec![old_v, v], 2)),
            None => (k, v),
        };
        self.0 = Some(all.clone());
        all
    }
}

/// `[t, s]`: zero where query `i` sees key `j` (`j <= i + s - t`), minus infinity elsewhere.
fn causal_mask(t: usize, s: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> =
        (0..t).flat_map(|i| (0..s).map(move |j| if j + t <= i + s { 0.0 } else { f32::NEG_INFINITY })).collect();
    Tensor::from_data(TensorData::new(values, [t, s]), device)
}

/// A constant on the device of `like`, which may be one with a tape.
fn on_tape_of<const D: usize>(like: &Tensor<4>, constant: Tensor<D>) -> Tensor<D> {
    if like.device().is_autodiff() { constant.autodiff() } else { constant }
}
