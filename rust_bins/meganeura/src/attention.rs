//! Scaled dot-product attention on the framework's kernels, for every width and length.

use meganeura::graph::Op;
use meganeura::{NodeId, TuningKnobs};

use crate::net::Net;
use crate::ops::{reshape, scale};

/// The widest head whose gradient the framework's kernels for short sequences compute right: one workgroup of 64.
const WIDEST_SHORT: usize = 64;
/// Threads of a workgroup of the kernels for long sequences.
const WORKGROUP: usize = 256;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Query `t` sees keys `0..=t`.
    Causal,
    /// Every query sees every key.
    None,
}

/// A gradient of attention that needs the kernels for long sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide {
    /// The padded width of a head.
    width: usize,
    /// Queries or keys, whichever are fewer.
    rows: usize,
}

/// Scaled dot-product attention of a time-major batch: `q` is `[T * B, heads * width]`, `k` and `v` are
/// `[S * B, kv_heads * width]`; the answer has `q`'s shape.
///
/// The framework's attention knows one sequence; time-major, the batch is `B * heads` heads of it.
/// Its kernels exist for widths that are powers of two: others are padded with zero columns, which change no product,
/// and `q` is scaled to undo that the kernel divides by the root of the padded width.
pub fn attention(
    net: &mut Net,
    qkv: [NodeId; 3],
    batch: usize,
    heads: (usize, usize),
    width: usize,
    mask: Mask,
) -> NodeId {
    let (q_heads, kv_heads) = (heads.0 * batch, heads.1 * batch);
    let padded = width.next_power_of_two().max(2);
    let shape = net.dims(qkv[0]).to_vec();
    let [q, k, v] = [(qkv[0], q_heads), (qkv[1], kv_heads), (qkv[2], kv_heads)].map(|(x, heads)| {
        let size: usize = net.dims(x).iter().product();
        let rows = size / (heads * width);
        let x = pad_columns(net, x, size / width, width, padded);
        reshape(net, x, &[rows, heads * padded])
    });
    let rows = net.dims(q)[0];
    let [q, k, v] = lengthen(net, [q, k, v], padded, mask);
    // The framework writes the gradient of `v` to a buffer that a reshape of it has not heard of; a product in between
    // has a buffer of its own.
    let reshaped = matches!(net.graph.node(v).op, Op::Identity);
    let v = if net.training && reshaped { scale(net, v, 1.0) } else { v };
    let q = if padded == width { q } else { scale(net, q, (padded as f64 / width as f64).sqrt()) };
    let (h, kv, w) = (q_heads as u32, kv_heads as u32, padded as u32);
    let mixed = match mask {
        Mask::Causal => net.graph.causal_attention(q, k, v, h, kv, w),
        Mask::None => net.graph.multi_head_attn(q, k, v, h, kv, w, true),
    };
    let mixed = net.rows_until(mixed, rows);
    let mixed = cut_columns(net, mixed, shape.iter().product::<usize>() / width, width, padded);
    reshape(net, mixed, &shape)
}

/// Makes the sequences long enough for a right gradient.
///
/// The framework has two kernels for it and picks by length; the one for short sequences has 64 threads, one for each
/// value of a head, and drops the others of a wider head without a word. Queries of zeros at the end change nothing
/// before them. Keys of zeros would be seen where there is no mask: there every key is repeated as often, which halves
/// each weight and doubles their number.
fn lengthen(net: &mut Net, qkv: [NodeId; 3], width: usize, mask: Mask) -> [NodeId; 3] {
    if !net.training || width <= WIDEST_SHORT {
        return qkv;
    }
    let least = WORKGROUP * smallest_cap(width) / width;
    let [q, k, v] = qkv;
    let q = with_zero_rows(net, q, least);
    let [k, v] = [k, v].map(|mut x| match mask {
        Mask::Causal => with_zero_rows(net, x, least),
        Mask::None => {
            let once = x;
            while net.dims(x)[0] < least {
                x = net.join_rows(x, once);
            }
            x
        }
    });
    let rows = net.dims(q)[0].min(net.dims(k)[0]);
    net.wide.push(Wide { width, rows });
    [q, k, v]
}

/// The smallest number of values that one thread of a long sequence's kernel may hold, so that a workgroup has at least
/// two rows (below that the framework falls back to the other kernel).
fn smallest_cap(width: usize) -> usize {
    (2 * width / WORKGROUP).max(2)
}

/// The settings under which the framework picks the kernels for long sequences for every gradient in `wide`: as many
/// values a thread as the shortest sequence allows.
pub fn knobs(wide: &[Wide]) -> TuningKnobs {
    let default = TuningKnobs::default();
    let cap = wide.iter().map(|w| (w.rows * w.width / WORKGROUP).max(smallest_cap(w.width))).min();
    let Some(cap) = cap else { return default };
    let cap = 1 << cap.ilog2();
    TuningKnobs {
        flash_grad_q_ept_cap: default.flash_grad_q_ept_cap.min(cap),
        flash_grad_kv_ept_cap: default.flash_grad_kv_ept_cap.min(cap),
        ..default
    }
}

/// At least `least` rows, those that are missing of zeros.
fn with_zero_rows(net: &mut Net, x: NodeId, least: usize) -> NodeId {
    let (rows, columns) = (net.dims(x)[0], net.dims(x)[1]);
    if rows >= least {
        return x;
    }
    let zeros = net.filled(0.0, &[least - rows, columns]);
    net.join_rows(x, zeros)
}

/// `rows` rows of `width` values, each followed by zeros up to `padded`.
fn pad_columns(net: &mut Net, x: NodeId, rows: usize, width: usize, padded: usize) -> NodeId {
    if padded == width {
        return x;
    }
    let flat = reshape(net, x, &[rows * width]);
    let zeros = net.filled(0.0, &[rows * (padded - width)]);
    net.graph.concat(flat, zeros, rows as u32, width as u32, (padded - width) as u32, 1)
}

/// The first `width` values of each of `rows` rows of `padded`.
fn cut_columns(net: &mut Net, x: NodeId, rows: usize, width: usize, padded: usize) -> NodeId {
    if padded == width {
        return x;
    }
    let flat = reshape(net, x, &[rows * padded]);
    net.graph.split_a(flat, rows as u32, width as u32, (padded - width) as u32, 1)
}

/// The keys and values of one layer's earlier positions, inputs of the graph of one new position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The prefix of the two inputs, `{name}.keys` and `{name}.values`.
    pub name: String,
    /// Key and value heads of all samples.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Positions that there will ever be.
    pub length: usize,
}

impl Cache {
    /// What the score of a position that is not yet written gets.
    const UNWRITTEN: f32 = -1e9;

    /// The width of a row's head: the head's own, one column that marks the positions not yet written, zeros.
    fn padded(&self) -> usize {
        (self.width + 1).next_power_of_two()
    }

    /// The whole cache after the positions of `rows`, `[T, heads * width]`: what to feed to the input of the keys, or to
    /// that of the values.
    pub fn filled(&self, rows: &[f32], keys: bool) -> Vec<f32> {
        let padded = self.padded();
        let mut cache = vec![0.0; self.length * self.heads * padded];
        for (to, from) in cache.chunks_exact_mut(padded).zip(rows.chunks_exact(self.width)) {
            to[..self.width].copy_from_slice(from);
        }
        if keys {
            let written = rows.len() / self.width;
            cache.chunks_exact_mut(padded).skip(written).for_each(|row| row[self.width] = Self::UNWRITTEN);
        }
        cache
    }
}

/// Attention of one new position of every sample, `[B, heads * width]` each, to itself and the earlier ones; `position`
/// is the row of the cache that it takes.
///
/// The framework's own attention to a cache exists for heads of 64 values only, and its general one takes no mask. The
/// mask is one more column of the keys, which the queries multiply by one.
pub fn attention_to_cache(net: &mut Net, qkv: [NodeId; 3], cache: &Cache, position: NodeId) -> NodeId {
    let (width, padded) = (cache.width, cache.padded());
    let shape = net.dims(qkv[0]).to_vec();
    let q_heads = shape.iter().product::<usize>() / width;
    // The kernel divides by the root of the padded width.
    let q = scale(net, qkv[0], (padded as f64 / width as f64).sqrt());
    let mut ones = vec![0.0; padded - width];
    ones[0] = 1.0;
    let marks = net.graph.constant(ones.repeat(q_heads), &[q_heads * (padded - width)]);
    let flat = reshape(net, q, &[q_heads * width]);
    let q = net.graph.concat(flat, marks, q_heads as u32, width as u32, (padded - width) as u32, 1);
    let q = reshape(net, q, &[1, q_heads * padded]);
    let [k, v] = [(qkv[1], "keys"), (qkv[2], "values")].map(|(x, kind)| {
        let row = pad_columns(net, x, cache.heads, width, padded);
        let row = reshape(net, row, &[1, cache.heads * padded]);
        let all = net.graph.input(&format!("{}.{kind}", cache.name), &[cache.length, cache.heads * padded]);
        net.graph.cache_write(row, all, position)
    });
    let mixed = net.graph.multi_head_attn(q, k, v, q_heads as u32, cache.heads as u32, padded as u32, true);
    let mixed = cut_columns(net, mixed, q_heads, width, padded);
    reshape(net, mixed, &shape)
}
