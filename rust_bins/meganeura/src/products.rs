//! Attention of long sequences, composed of products.

use meganeura::NodeId;

use crate::attention::Mask;
use crate::net::Net;
use crate::ops::{reshape, scale};

/// Keys from which on attention is composed of products: with fewer, the framework's kernel takes less time than it takes
/// to cut the heads out.
const LONG: usize = 512;
/// Bytes of all heads' scores, at most.
const SCORE_BYTES: usize = 256 << 20;

/// Queries of all heads up to which causal attention is: on an H200 it is faster with 4608 of them and 512 keys, as fast
/// with 18432, and slower with 73728, since the framework's kernel leaves out what the mask hides.
const MOST_CAUSAL: usize = 8192;

/// Whether attention is composed of products for so many queries of all heads and so many keys.
pub fn is_long(queries: usize, keys: usize, mask: Mask) -> bool {
    let few = mask == Mask::None || queries <= MOST_CAUSAL;
    few && keys >= LONG && queries * keys * size_of::<f32>() <= SCORE_BYTES
}

/// Attention as two products and a softmax for each head of the keys, in memory for all scores: `q` is `[T, heads *
/// width]` in any shape, `k` and `v` are `[S, kv_heads * width]`; the answer has `q`'s shape. Query heads that share one of
/// the keys are rows of the same product.
///
/// The framework's kernels pass over the keys one after the other: of whisper-tiny's inference, with 1500 frames in its
/// encoder, they made 10.2 ms on an H200 where this makes 7.8, and of its training 35 where this makes 22.
pub fn attention(net: &mut Net, qkv: [NodeId; 3], heads: (usize, usize), width: usize, mask: Mask) -> NodeId {
    let shape = net.dims(qkv[0]).to_vec();
    let [q, k, v] = [(qkv[0], heads.0), (qkv[1], heads.1), (qkv[2], heads.1)].map(|(x, heads)| {
        let size: usize = net.dims(x).iter().product();
        reshape(net, x, &[size / (heads * width), heads * width])
    });
    let q = scale(net, q, (width as f64).sqrt().recip());
    let (rows, keys, sharing) = (net.dims(q)[0], net.dims(k)[0], heads.0 / heads.1);
    let mut mixed = Vec::new();
    for head in 0..heads.1 {
        let q = net.columns(q, head * sharing * width, sharing * width);
        let q = reshape(net, q, &[rows * sharing, width]);
        let [k, v] = [k, v].map(|x| net.columns(x, head * width, width));
        let mut scores = net.graph.matmul_bt(q, k);
        if mask == Mask::Causal {
            let hidden = net.hidden_after(sharing, [rows * sharing, keys]);
            scores = net.graph.add(scores, hidden);
        }
        let weights = net.graph.softmax(scores);
        let values = net.graph.matmul(weights, v);
        mixed.push(reshape(net, values, &[rows, sharing * width]));
    }
    while mixed.len() > 1 {
        let mut pairs = Vec::new();
        for pair in mixed.chunks(2) {
            pairs.push(if let &[a, b] = pair { net.join_columns(a, b) } else { pair[0] });
        }
        mixed = pairs;
    }
    reshape(net, mixed[0], &shape)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arena_runner::architecture::Parameter;
    use meganeura::{CompileOptions, CoopPolicy, Session, SessionOptions};

    use super::*;
    use crate::training;

    const WIDTH: usize = 8;
    const HEADS: (usize, usize) = (4, 2);
    const QUERIES: usize = 6;
    const KEYS: usize = 10;

    /// The mixed values of the queries, summed up by weights, and the gradients of the three operands.
    fn differentiated(mix: impl Fn(&mut Net, [NodeId; 3]) -> NodeId) -> Vec<Vec<f32>> {
        let wave = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>();
        let shapes = [("q", QUERIES, HEADS.0), ("k", KEYS, HEADS.1), ("v", KEYS, HEADS.1)];
        let parameters = shapes.map(|(name, rows, heads)| Parameter::new(name, [rows, heads * WIDTH]));
        let mut net = Net::new(&parameters, true);
        let qkv = ["q", "k", "v"].map(|name| net.parameter(name));
        let mixed = mix(&mut net, qkv);
        let size = QUERIES * HEADS.0 * WIDTH;
        let mixed = reshape(&mut net, mixed, &[size]);
        let weights = net.graph.constant(wave(size, 0.43).into_iter().map(|w| w * size as f32).collect(), &[size]);
        let weighted = net.graph.mul(mixed, weights);
        let loss = net.graph.mean_all(weighted);
        net.graph.set_outputs(vec![loss]);
        let options = CompileOptions { flash_forward_coop: false, ..CompileOptions::default() };
        let runtime = SessionOptions { coop: CoopPolicy::Disabled, ..SessionOptions::default() };
        let gpu = Arc::new(meganeura::init_gpu_context().unwrap());
        let mut session = Session::with_context_opts(training::compile(&net.graph, &options), gpu, runtime);
        for ((name, rows, heads), step) in shapes.into_iter().zip([0.7, 1.3, 1.9]) {
            session.set_parameter(name, &wave(rows * heads * WIDTH, step));
        }
        session.step();
        session.wait();
        let gradients = shapes.map(|(name, rows, heads)| {
            let mut gradient = vec![0.0; rows * heads * WIDTH];
            session.read_param_grad(name, &mut gradient);
            gradient
        });
        [vec![session.read_loss()]].into_iter().chain(gradients).collect()
    }

    #[test]
    fn attention_of_products_is_that_of_the_framework() {
        // Under a causal mask the last keys are seen by no query.
        for mask in [Mask::None, Mask::Causal] {
            let framework = |net: &mut Net, qkv| crate::attention::attention(net, qkv, 1, HEADS, WIDTH, mask);
            let products = |net: &mut Net, qkv| attention(net, qkv, HEADS, WIDTH, mask);
            is_the_same(&differentiated(framework), &differentiated(products));
        }
    }

    fn is_the_same(expected: &[Vec<f32>], found: &[Vec<f32>]) {
        for (expected, found) in expected.iter().zip(found) {
            assert!(expected.iter().any(|value| value.abs() > 1e-3), "{expected:?}");
            let error = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-5, "{error}: {expected:?} {found:?}");
        }
    }

    #[test]
    fn long_sequences_are_composed_of_products_unless_the_scores_are_too_large() {
        assert!(is_long(6 * 1500, 1500, Mask::None));
        assert!(!is_long(6 * 1500, 128, Mask::None));
        assert!(!is_long(8 * 4096, 4096, Mask::None));
    }

    #[test]
    fn under_a_mask_only_few_queries_are() {
        assert!(is_long(9 * 512, 512, Mask::Causal));
        assert!(!is_long(9 * 128, 128, Mask::Causal));
        assert!(!is_long(9 * 2048, 512, Mask::Causal));
    }
}
