//! Greedy generation with a key/value cache.

use std::time::{Duration, Instant};

use arena_runner::{Boundary, Execution, Inputs, Output, Program, Result};
use candle_core::{D, Tensor};
use candle_nn::kv_cache::KvCache;

use crate::network::{Bound, Network, internal};
use crate::program::{ids, settle, values};

/// A network that generates.
pub trait Decoder {
    /// Reads the prompt: the logits `[B, V]` after its last position, and a cache with room for `new_tokens` more.
    ///
    /// # Errors
    /// Candle's.
    fn start(&self, inputs: &Bound, new_tokens: usize) -> candle_core::Result<(Tensor, Cache)>;

    /// Reads `ids` `[B, T]` after what `cache` holds: the logits `[B, V]` after their last position.
    ///
    /// # Errors
    /// Candle's.
    fn advance(&self, ids: &Tensor, cache: &mut Cache) -> candle_core::Result<Tensor>;
}

/// Keys and values of every layer, `[B, K, S, d]`, in candle's own preallocated cache.
pub struct Cache {
    layers: Vec<KvCache>,
    /// What never changes while tokens are generated: keys and values of an encoder's output, by layer.
    pub cross: Vec<(Tensor, Tensor)>,
}

impl Cache {
    /// An empty cache for that many positions.
    pub fn new(layers: usize, positions: usize) -> Self {
        // Dimension 2 is that of positions.
        Self { layers: vec![KvCache::new(2, positions); layers], cross: Vec::new() }
    }

    /// Positions held, by the first layer that is yet to be read.
    pub fn length(&self) -> usize {
        self.layers.first().map_or(0, KvCache::current_seq_len)
    }

    /// Adds keys and values of new positions; returns those of all positions.
    ///
    /// # Errors
    /// Candle's, when there is no room.
    pub fn append(&mut self, layer: usize, k: &Tensor, v: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        self.layers[layer].append(k, v)
    }
}

/// `decode`: `tokens` `[B, N]`, and the `logits` `[B, N, V]` that each was taken from.
pub struct Decode {
    network: Box<dyn Network>,
    bound: Bound,
    new_tokens: usize,
    /// Ids `[B, N]` and logits `[B, N, V]`, where the boundary left them.
    generated: Option<(Tensor, Tensor)>,
}

impl Decode {
    /// The program of a network that has a decoder.
    pub fn new(network: Box<dyn Network>, bound: Bound, new_tokens: usize) -> Self {
        Self { network, bound, new_tokens, generated: None }
    }

    fn generate(&self) -> candle_core::Result<(Duration, Tensor, Tensor)> {
        let start = Instant::now();
        let decoder =
            self.network.decoder().ok_or_else(|| candle_core::Error::Msg("the network does not generate".into()))?;
        let mut generated = Vec::with_capacity(self.new_tokens);
        let (mut logits, mut cache) = decoder.start(&self.bound, self.new_tokens)?;
        let mut ids = logits.argmax(D::Minus1)?;
        self.bound.device().synchronize()?;
        let first_token = start.elapsed();
        for _ in 1..self.new_tokens {
            let next = decoder.advance(&ids.unsqueeze(1)?, &mut cache)?;
            generated.push((ids, std::mem::replace(&mut logits, next)));
            ids = logits.argmax(D::Minus1)?;
        }
        generated.push((ids, logits));
        let stack =
            |part: fn(&(Tensor, Tensor)) -> &Tensor| Tensor::stack(&generated.iter().map(part).collect::<Vec<_>>(), 1);
        Ok((first_token, stack(|(ids, _)| ids)?, stack(|(_, logits)| logits)?))
    }
}

impl Program for Decode {
    fn bind(&mut self, inputs: &Inputs) -> Result<()> {
        self.bound = self.network.bind(inputs, false, self.bound.device())?;
        Ok(())
    }

    fn execute(&mut self, boundary: Boundary) -> Result<Execution> {
        self.generated = None;
        if boundary == Boundary::Host {
            self.bound.upload().map_err(internal)?;
        }
        let device = self.bound.device();
        let (first_token, tokens, logits) = device.with_context(|| self.generate()).map_err(internal)?;
        let at = |tensor: &Tensor| settle(tensor, boundary).map_err(internal);
        self.generated = Some((at(&tokens)?, at(&logits)?));
        Ok(Execution { first_token: Some(first_token) })
    }

    fn outputs(&self) -> Result<Vec<Output<'_>>> {
        let Some((tokens, logits)) = &self.generated else { return Ok(vec![]) };
        Ok(vec![
            Output::i64("tokens", tokens.dims(), ids(tokens)?),
            Output::lazy("logits", logits.dims(), || values(logits)),
        ])
    }
}
