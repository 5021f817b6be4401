//! Layers that several architectures share, composed of luminal's primitives.

use crate::ops::{MaxPool, Unfold, Window};
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// `x·Wᵀ + b` over the last axis; the checkpoint's weight is `[out, in]`, the bias optional.
pub fn linear(scope: &mut Scope, name: &str, x: Tensor, bias: bool) -> Tensor {
    let weight = scope.parameter(&format!("{name}.weight"));
    let bias = bias.then(|| scope.parameter(&format!("{name}.bias")));
    linear_of(weight, bias, x)
}

/// [`linear`] with parameters at hand.
pub fn linear_of(weight: Tensor, bias: Option<Tensor>, x: Tensor) -> Tensor {
    let mut shape = x.shape();
    let rows = shape[..shape.len() - 1].iter().product();
    let y = x.reshape(&[rows, weight.dim(1)]).matmul(weight.transpose());
    *shape.last_mut().expect("a linear layer's input has an axis") = weight.dim(0);
    bias.map_or(y, |bias| y + bias).reshape(&shape)
}

/// `x / √(mean(x²) + ε) · w` over the last axis.
pub fn rms_norm(scope: &mut Scope, name: &str, x: Tensor, eps: f64) -> Tensor {
    let weight = scope.parameter(&format!("{name}.weight"));
    let last = x.shape().len() - 1;
    let scale = ((x * x).mean(last) + eps as f32).sqrt().recip();
    x * scale.expand(last, x.dim(last)) * weight
}

/// `(x - mean) / √(variance + ε)` over the last axis, without weights.
pub fn standardize(x: Tensor, eps: f64) -> Tensor {
    let last = x.shape().len() - 1;
    let n = x.dim(last);
    let centred = x - x.mean(last).expand(last, n);
    let scale = ((centred * centred).mean(last) + eps as f32).sqrt().recip();
    centred * scale.expand(last, n)
}

/// `standardize(x) · w + b` over the last axis.
pub fn layer_norm(scope: &mut Scope, name: &str, x: Tensor, eps: f64) -> Tensor {
    standardize(x, eps) * scope.parameter(&format!("{name}.weight")) + scope.parameter(&format!("{name}.bias"))
}

/// Normalisation of `x` `[N, C, ..]` over groups of channels and all positions, then weight and bias a channel.
pub fn group_norm(scope: &mut Scope, name: &str, x: Tensor, groups: usize, eps: f64) -> Tensor {
    let shape = x.shape();
    let (batch, channels) = (shape[0], shape[1]);
    let positions: usize = shape[2..].iter().product();
    let (width, flat) = (channels / groups, [batch, groups, channels / groups * positions]);
    // Two views of one storage: groups as rows for the statistics, channels apart for the weights.
    let apart = |t: Tensor| t.reshape(&[batch, groups, width, positions]);
    let a_group = |t: Tensor| t.expand(2, width).expand(3, positions);
    let centred = apart(x) - a_group(x.reshape(&flat).mean(2));
    let rows = centred.reshape(&flat);
    let scale = ((rows * rows).mean(2) + eps as f32).sqrt().recip();
    let mut a_channel = |kind: &str| scope.parameter(&format!("{name}.{kind}")).reshape(&[groups, width, 1]);
    (centred * a_group(scale) * a_channel("weight") + a_channel("bias")).reshape(&shape)
}

/// Batch norm of `x` `[N, C, H, W]` with its running statistics: `(x - mean) / √(variance + ε) · w + b`.
pub fn frozen_batch_norm(scope: &mut Scope, name: &str, x: Tensor, eps: f64) -> Tensor {
    let mut vector = |kind: &str| scope.parameter(&format!("{name}.{kind}")).reshape(&[x.dim(1), 1, 1]);
    let (mean, variance) = (vector("running_mean"), vector("running_var"));
    (x - mean) * (variance + eps as f32).sqrt().recip() * vector("weight") + vector("bias")
}

/// A convolution of `x` `[N, C, H, W]` with the weight `[O, C, kh, kw]` of the checkpoint, without bias: the image unfolded
/// into columns, times the weight as a matrix.
pub fn conv2d(weight: Tensor, x: Tensor, stride: [usize; 2], padding: [usize; 2]) -> Tensor {
    let (&[batch, channels, height, width], &[out, _, kh, kw]) = (&x.shape()[..], &weight.shape()[..]) else {
        panic!("a convolution has four axes");
    };
    let window = Window { image: [height, width], kernel: [kh, kw], stride, padding };
    let [rows, columns] = window.positions();
    let inner = channels * kh * kw;
    let pointwise = kh * kw == 1 && stride == [1, 1] && padding == [0, 0];
    let unfolded = if pointwise {
        x.reshape(&[batch, inner, rows * columns])
    } else {
        Tensor::apply(Unfold(window), &[x.contiguous()], &[batch, inner, rows * columns])
    };
    weight.reshape(&[out, inner]).matmul(unfolded).reshape(&[batch, out, rows, columns])
}

/// [`conv2d`] with parameters by name and a bias.
pub fn conv_layer(scope: &mut Scope, name: &str, x: Tensor, stride: usize, padding: usize) -> Tensor {
    let weight = scope.parameter(&format!("{name}.weight"));
    let bias = scope.parameter(&format!("{name}.bias"));
    conv2d(weight, x, [stride; 2], [padding; 2]) + bias.reshape(&[weight.dim(0), 1, 1])
}

/// The largest of each square window of `x` `[N, C, H, W]`.
pub fn max_pool(x: Tensor, kernel: usize, stride: usize, padding: usize) -> Tensor {
    let image = [x.dim(2), x.dim(3)];
    let window = Window { image, kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] };
    let [rows, columns] = window.positions();
    Tensor::apply(MaxPool(window), &[x.contiguous()], &[x.dim(0), x.dim(1), rows, columns])
}

/// Height and width of `x` `[N, C, H, W]` doubled, each pixel repeated.
pub fn upsample(x: Tensor) -> Tensor {
    let &[batch, channels, height, width] = &x.shape()[..] else { panic!("an image has four axes") };
    x.expand(4, 2).expand(3, 2).reshape(&[batch, channels, 2 * height, 2 * width])
}

/// Softmax over the last axis, shifted by its maximum.
pub fn softmax(x: Tensor) -> Tensor {
    let last = x.shape().len() - 1;
    let n = x.dim(last);
    let e = (x - x.detached_max(last).expand(last, n)).exp();
    e * e.sum(last).recip().expand(last, n)
}

/// Scaled dot-product attention, `softmax(q·kᵀ/√D + mask)·v`. Queries `[B, T, H, D]`, keys and values `[B, S, K, D]` where
/// each of the K heads serves `H / K` query heads, mask broadcast to `[T, S]`; the result is `[B, T, H·D]`.
pub fn attention(q: Tensor, k: Tensor, v: Tensor, mask: Option<Tensor>) -> Tensor {
    let &[batch, seq, heads, width] = q.shape().as_slice() else { panic!("queries have four axes") };
    let kv_heads = k.dim(2);
    let group = heads / kv_heads;
    let q = q.reshape(&[batch, seq, kv_heads, group, width]).permute(&[0, 2, 3, 1, 4]);
    let [k, v] = [k, v].map(|t| t.permute(&[0, 2, 1, 3]).expand(2, group));
    let scores = q.matmul(k.transpose()) * (1.0 / (width as f64).sqrt()) as f32;
    let scores = mask.map_or(scores, |mask| scores + mask);
    let out = softmax(scores).matmul(v);
    out.permute(&[0, 3, 1, 2, 4]).reshape(&[batch, seq, heads * width])
}

/// Rotary position embedding of `x` `[B, T, H, D]`, the two halves of a head paired (transformers' `rotate_half`), by the
/// tables of [`rotary_tables`].
pub fn rotate(x: Tensor, (cos, sin): (Tensor, Tensor)) -> Tensor {
    let half = x.dim(3) / 2;
    let swapped = x.slice(3, half..2 * half).concat(x.slice(3, 0..half), 3);
    x * cos + swapped * sin
}

/// Cosine and sine tables `[T, 1, D]` of [`rotary_values`].
pub fn rotary_tables(scope: &mut Scope, start: usize, seq: usize, width: usize, base: f64) -> (Tensor, Tensor) {
    let (cos, sin) = rotary_values(start, seq, width, base);
    (scope.table("cos", &[seq, 1, width], cos), scope.table("sin", &[seq, 1, width], sin))
}

/// Cosines and sines of positions `start..start + seq`, the sine negative in the first half: what [`rotate`] multiplies the
/// swapped halves by. Angles are `position · base^(-2i/D)`, in f64.
pub fn rotary_values(start: usize, seq: usize, width: usize, base: f64) -> (Vec<f32>, Vec<f32>) {
    let half = width / 2;
    let angle = |at: usize, i: usize| (start + at) as f64 * base.powf(-2.0 * (i % half) as f64 / width as f64);
    let each = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
        (0..seq).flat_map(|at| (0..width).map(move |i| (at, i))).map(|(at, i)| f(at, i) as f32).collect()
    };
    let cos = each(&|at, i| angle(at, i).cos());
    let sin = each(&|at, i| if i < half { -angle(at, i).sin() } else { angle(at, i).sin() });
    (cos, sin)
}

/// For one token at `position`: one at its place among `total`, zero elsewhere.
pub fn place(position: usize, total: usize) -> Feed {
    Feed::real("place", &[total], (0..total).map(|i| f32::from(u8::from(i == position))).collect::<Vec<_>>())
}

/// For one token at `position`: the additive mask `[1, total]` of those up to it.
pub fn visible(position: usize, total: usize) -> Feed {
    let value = |i: usize| if i <= position { 0.0 } else { f32::NEG_INFINITY };
    Feed::real("mask", &[1, total], (0..total).map(value).collect::<Vec<_>>())
}

/// The additive mask `[T, S]` by which the last T of S positions see those before them.
pub fn causal_mask(scope: &mut Scope, seq: usize, total: usize) -> Tensor {
    let past = total - seq;
    let values = (0..seq).flat_map(|i| (0..total).map(move |j| if j <= past + i { 0.0 } else { f32::NEG_INFINITY }));
    scope.table("causal", &[seq, total], values.collect())
}

/// Mean of `-log softmax(logits)[class]` over rows; logits `[R, C]`, classes by name, an input of `Feed::classes` `[R]`.
pub fn cross_entropy(scope: &mut Scope, logits: Tensor, classes: &str) -> Tensor {
    let (rows, count) = (logits.dim(0), logits.dim(1));
    let class = scope.input(classes).expand(1, count);
    let position = scope.table("positions", &[count], (0..count).map(|i| i as f32).collect()).expand(0, rows);
    let other = class.less_than(position) + position.less_than(class);
    let picked = (logits * (-other + 1.0)).sum(1);
    let max = logits.detached_max(1);
    let total = (logits - max.expand(1, count)).exp().sum(1);
    (total.ln() + max - picked).mean(0)
}

/// Mean of squared differences.
pub fn mean_squared_error(a: Tensor, b: Tensor) -> Tensor {
    let difference = (a - b).reshape(&[a.shape().iter().product()]);
    (difference * difference).mean(0)
}
