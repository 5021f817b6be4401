//! Scaled dot-product attention on the framework's kernels, for every width and length.

use meganeura::graph::Op;
use meganeura::{NodeId, TuningKnobs};

use crate::net::Net;
use crate::ops::{reshape, scale};
use crate::products;

/// Threads of a workgroup of the framework's kernels for long sequences.
const WORKGROUP: usize = 256;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Query `t` sees keys `0..=t`.
    Causal,
    /// Every query sees every key.
    None,
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
    let shape = net.dims(qkv[0]).to_vec();
    let [rows, kv_rows] = [(qkv[0], q_heads), (qkv[1], kv_heads)].map(|(x, heads)| {
        let size: usize = net.dims(x).iter().product();
        size / (heads * width)
    });
    if products::is_long(q_heads * rows, kv_rows, mask) {
        return products::attention(net, qkv, (q_heads, kv_heads), width, mask);
    }
    let mut padded = width.next_power_of_two().max(2);
    let marked = net.training && mask == Mask::None && kv_rows < least_rows(padded);
    if marked {
        padded = (width + 1).next_power_of_two();
    }
    // The kernel divides by the root of the padded width.
    let q = if padded == width { qkv[0] } else { scale(net, qkv[0], (padded as f64 / width as f64).sqrt()) };
    let q = if marked { mark_columns(net, q, q_heads * rows, width, padded) } else { q };
    let q = if marked { q } else { pad_columns(net, q, q_heads * rows, width, padded) };
    let q = reshape(net, q, &[rows, q_heads * padded]);
    let [k, v] = [qkv[1], qkv[2]].map(|x| {
        let x = pad_columns(net, x, kv_heads * kv_rows, width, padded);
        reshape(net, x, &[kv_rows, kv_heads * padded])
    });
    let [q, k, v] = if net.training { lengthen(net, [q, k, v], (width, padded), kv_heads, marked) } else { [q, k, v] };
    // The framework writes the gradient of `v` to a buffer that a reshape of it has not heard of; a product in between
    // has a buffer of its own.
    let reshaped = matches!(net.graph.node(v).op, Op::Identity);
    let v = if net.training && reshaped { scale(net, v, 1.0) } else { v };
    let (h, kv, w) = (q_heads as u32, kv_heads as u32, padded as u32);
    let mixed = match mask {
        Mask::Causal => net.graph.causal_attention(q, k, v, h, kv, w),
        Mask::None => net.graph.multi_head_attn(q, k, v, h, kv, w, true),
    };
    let mixed = net.rows_until(mixed, rows);
    let mixed = cut_columns(net, mixed, rows * q_heads, width, padded);
    reshape(net, mixed, &shape)
}

/// What the score of a key that is not there gets.
pub const HIDDEN: f32 = -1e9;

/// The rows from which on the framework picks its kernels for long sequences.
fn least_rows(width: usize) -> usize {
    let values_a_thread = width.min(TuningKnobs::default().flash_grad_kv_ept_cap as usize);
    WORKGROUP * values_a_thread / width
}

/// Makes the sequences of a graph to differentiate long enough for the framework's kernels for long sequences.
///
/// It picks its kernels for the gradient by length. The ones for short sequences have 64 threads, one for each value of
/// a head, and drop the others of a wider head without a word; where threads are a CPU's they also spend nearly all
/// their time at barriers. Queries of zeros at the end change nothing before them, and neither do keys under a causal
/// mask. Where there is none, one more column of the keys hides those that are not there (`marked`).
fn lengthen(net: &mut Net, qkv: [NodeId; 3], width: (usize, usize), kv_heads: usize, marked: bool) -> [NodeId; 3] {
    let (width, padded) = width;
    let least = least_rows(padded);
    let [q, k, v] = qkv;
    let missing = least.saturating_sub(net.dims(k)[0]);
    let q = with_zero_rows(net, q, least);
    let v = with_zero_rows(net, v, least);
    if !marked || missing == 0 {
        return [q, with_zero_rows(net, k, least), v];
    }
    let mut head = vec![0.0; padded];
    head[width] = HIDDEN;
    let hidden = net.graph.constant(head.repeat(missing * kv_heads), &[missing, kv_heads * padded]);
    [q, net.join_rows(k, hidden), v]
}

/// `rows` rows of `width` values, each followed by a one and then zeros up to `padded`.
fn mark_columns(net: &mut Net, x: NodeId, rows: usize, width: usize, padded: usize) -> NodeId {
    let mut ones = vec![0.0; padded - width];
    ones[0] = 1.0;
    let marks = net.graph.constant(ones.repeat(rows), &[rows * (padded - width)]);
    let flat = reshape(net, x, &[rows * width]);
    net.graph.concat(flat, marks, rows as u32, width as u32, (padded - width) as u32, 1)
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
            cache.chunks_exact_mut(padded).skip(written).for_each(|row| row[self.width] = HIDDEN);
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
    let q = mark_columns(net, q, q_heads, width, padded);
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
