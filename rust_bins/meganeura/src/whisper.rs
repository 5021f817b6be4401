//! `whisper`: transformers `WhisperForConditionalGeneration` (Radford et al. 2022), encoder and decoder.

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Error, Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Cache, Mask, attention, attention_to_cache};
use crate::decode::{Generative, Prompt, Start};
use crate::image::{Image, Kernel};
use crate::layout::{one_hot, swap_leading};
use crate::net::Net;
use crate::ops::gelu;

/// Two stacks of pre-norm blocks, the second attending to the first.
pub struct Whisper {
    config: WhisperConfig,
}

/// Which positions a pass of the decoder sees.
enum Past<'a> {
    /// Its own, and the encoder's states; all keys and values are kept.
    Own { encoded: NodeId, caches: &'a mut Vec<(Cache, [NodeId; 2])>, constants: &'a mut Vec<(String, NodeId)> },
    /// One new position behind those of the caches, of this length; `position` is the row of the caches that it takes.
    Cached { position: NodeId, length: usize },
}

impl Whisper {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: WhisperConfig::parse(config)? })
    }

    /// The decoder's states `[T * B, d_model]` of every position, time-major.
    fn forward(&self, net: &mut Net, batch: usize, seq: usize) -> NodeId {
        let encoded = self.encode(net, batch);
        let past = &mut Past::Own { encoded, caches: &mut Vec::new(), constants: &mut Vec::new() };
        self.decode(net, batch, seq, past)
    }

    /// The decoder's states `[T * B, d_model]` behind the last block, time-major.
    fn decode(&self, net: &mut Net, batch: usize, seq: usize, past: &mut Past) -> NodeId {
        let ids = net.graph.input_u32("decoder_input_ids", &[seq * batch]);
        let positions = net.graph.input_u32("decoder_positions", &[seq * batch]);
        let table = net.parameter("model.decoder.embed_positions.weight");
        let tokens = net.embedding(ids, "model.decoder.embed_tokens.weight", self.config.padding_row);
        let places = net.graph.embedding(positions, table);
        let mut x = net.graph.add(tokens, places);
        for i in 0..self.config.decoder_layers {
            let layer = format!("model.decoder.layers.{i}");
            x = self.attend_to_text(net, x, &format!("{layer}.self_attn"), batch, past);
            x = self.attend_to_sound(net, x, &format!("{layer}.encoder_attn"), batch, past);
            x = feed(net, x, &layer);
        }
        x
    }

    /// Logits of any rows of the decoder's states.
    fn head(&self, net: &mut Net, x: NodeId) -> NodeId {
        let x = net.layer_norm(x, "model.decoder.layer_norm", WhisperConfig::LAYER_NORM_EPS);
        let tied = self.config.tie_word_embeddings;
        let head = net.parameter(if tied { "model.decoder.embed_tokens.weight" } else { "proj_out.weight" });
        net.graph.matmul_bt(x, head)
    }

    /// Mean cross entropy of each position's logits against its label.
    fn loss(net: &mut Net, logits: NodeId) -> NodeId {
        let labels = net.graph.input("labels", net.dims(logits).to_vec().as_slice());
        net.graph.cross_entropy_loss(logits, labels)
    }

    /// The encoder's states `[S * B, d_model]`, time-major.
    fn encode(&self, net: &mut Net, batch: usize) -> NodeId {
        let c = &self.config;
        let node = net.graph.input("input_features", &[batch * c.num_mel_bins * c.frames()]);
        let features = Image { node, batch, channels: c.num_mel_bins, height: 1, width: c.frames() };
        let kernel = |stride| Kernel { out: c.d_model, height: 1, width: 3, stride };
        let x = features.convolve_biased(net, "model.encoder.conv1", kernel(1));
        let x = x.with(gelu(net, x.node));
        let x = x.convolve_biased(net, "model.encoder.conv2", kernel(2));
        let x = x.with(gelu(net, x.node)).tokens(net);
        let positions = net.graph.input_u32("encoder_positions", &[c.max_source_positions * batch]);
        let table = net.frozen("model.encoder.embed_positions.weight", "values", |value| value);
        let places = net.graph.embedding(positions, table);
        let mut x = net.graph.add(x, places);
        for i in 0..c.encoder_layers {
            let layer = format!("model.encoder.layers.{i}");
            x = self.attend_to_itself(net, x, &format!("{layer}.self_attn"), batch);
            x = feed(net, x, &layer);
        }
        net.layer_norm(x, "model.encoder.layer_norm", WhisperConfig::LAYER_NORM_EPS)
    }

    /// The encoder's attention.
    fn attend_to_itself(&self, net: &mut Net, x: NodeId, name: &str, batch: usize) -> NodeId {
        let heads = self.config.encoder_attention_heads;
        let normed = norm(net, x, name);
        let qkv = [queries(net, normed, name), keys(net, normed, name), values(net, normed, name)];
        let mixed = attention(net, qkv, batch, (heads, heads), self.config.d_model / heads, Mask::None);
        residual(net, x, mixed, name)
    }

    /// The decoder's attention to its own positions.
    fn attend_to_text(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, past: &mut Past) -> NodeId {
        let heads = self.config.decoder_attention_heads;
        let width = self.config.d_model / heads;
        let normed = norm(net, x, name);
        let [q, k, v] = [queries(net, normed, name), keys(net, normed, name), values(net, normed, name)];
        let cache = |length| Cache { name: name.to_owned(), heads: batch * heads, width, length };
        let mixed = match past {
            Past::Own { caches, .. } => {
                caches.push((cache(0), [k, v]));
                attention(net, [q, k, v], batch, (heads, heads), width, Mask::Causal)
            }
            Past::Cached { position, length } => attention_to_cache(net, [q, k, v], &cache(*length), *position),
        };
        residual(net, x, mixed, name)
    }

    /// The decoder's attention to the encoder's states, whose keys and values are the same for every new position.
    fn attend_to_sound(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, past: &mut Past) -> NodeId {
        let heads = self.config.decoder_attention_heads;
        let normed = norm(net, x, name);
        let q = queries(net, normed, name);
        let names = [format!("{name}.keys"), format!("{name}.values")];
        let [k, v] = match past {
            Past::Own { encoded, constants, .. } => {
                let both = [keys(net, *encoded, name), values(net, *encoded, name)];
                constants.extend(names.into_iter().zip(both));
                both
            }
            Past::Cached { .. } => {
                let shape = [self.config.max_source_positions * batch, self.config.d_model];
                names.map(|name| net.graph.input(&name, &shape))
            }
        };
        let mixed = attention(net, [q, k, v], batch, (heads, heads), self.config.d_model / heads, Mask::None);
        residual(net, x, mixed, name)
    }
}

/// The norm in front of an attention.
fn norm(net: &mut Net, x: NodeId, name: &str) -> NodeId {
    net.layer_norm(x, &format!("{name}_layer_norm"), WhisperConfig::LAYER_NORM_EPS)
}

fn queries(net: &mut Net, x: NodeId, name: &str) -> NodeId {
    net.linear(x, &format!("{name}.q_proj"), true)
}

fn keys(net: &mut Net, x: NodeId, name: &str) -> NodeId {
    net.linear(x, &format!("{name}.k_proj"), false)
}

fn values(net: &mut Net, x: NodeId, name: &str) -> NodeId {
    net.linear(x, &format!("{name}.v_proj"), true)
}

/// The projection behind an attention, added to what was in front of its norm.
fn residual(net: &mut Net, x: NodeId, mixed: NodeId, name: &str) -> NodeId {
    let mixed = net.linear(mixed, &format!("{name}.out_proj"), true);
    net.graph.add(x, mixed)
}

/// The feed-forward layer behind its norm and residual.
fn feed(net: &mut Net, x: NodeId, layer: &str) -> NodeId {
    let normed = net.layer_norm(x, &format!("{layer}.final_layer_norm"), WhisperConfig::LAYER_NORM_EPS);
    let hidden = net.linear(normed, &format!("{layer}.fc1"), true);
    let hidden = gelu(net, hidden);
    let fed = net.linear(hidden, &format!("{layer}.fc2"), true);
    net.graph.add(x, fed)
}

/// Positions `0..count`, each once for every sample.
fn positions(count: usize, batch: usize) -> Vec<i64> {
    (0..count as i64).flat_map(|position| std::iter::repeat_n(position, batch)).collect()
}

impl Architecture for Whisper {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let hidden = self.forward(net, inputs.batch, inputs.seq);
        // A row of states is narrower than one of logits.
        let hidden = net.by_sample(hidden, inputs.batch);
        let shape = vec![inputs.batch, inputs.seq, self.config.vocab_size];
        Ok(Head { name: "logits", node: self.head(net, hidden), shape })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let hidden = self.forward(net, inputs.batch, inputs.seq);
        let logits = self.head(net, hidden);
        Ok(Self::loss(net, logits))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let inputs = self.config.inputs(inputs, labels)?;
        let (batch, seq) = (inputs.batch, inputs.seq);
        let mut feeds = vec![
            Feed::f32("input_features", inputs.input_features.to_vec()),
            Feed::ids("encoder_positions", &positions(self.config.max_source_positions, batch)),
            Feed::ids("decoder_input_ids", &swap_leading(inputs.decoder_input_ids, batch, seq, 1)),
            Feed::ids("decoder_positions", &positions(seq, batch)),
        ];
        if let Some(labels) = inputs.labels {
            let labels = swap_leading(labels, batch, seq, 1).into_iter().map(|id| usize::try_from(id).ok());
            feeds.push(Feed::f32("labels", one_hot(labels, self.config.vocab_size, 1.0)));
        }
        Ok(feeds)
    }

    fn generative(self: Rc<Self>) -> Option<Rc<dyn Generative>> {
        Some(self)
    }
}

impl Generative for Whisper {
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<Prompt> {
        let inputs = self.config.inputs(inputs, false)?;
        let limit = self.config.max_target_positions;
        // The last new token is never read.
        if inputs.seq + new_tokens > limit + 1 {
            return Err(Error::invalid_inputs(format!(
                "input `decoder_input_ids`: {} positions and {new_tokens} new tokens exceed the {limit} positions of \
                 the decoder",
                inputs.seq
            )));
        }
        Ok(Prompt { batch: inputs.batch, seq: inputs.seq, new_tokens })
    }

    fn start(&self, net: &mut Net, prompt: Prompt) -> Start {
        let encoded = self.encode(net, prompt.batch);
        let (mut caches, mut constants) = (Vec::new(), Vec::new());
        let past = &mut Past::Own { encoded, caches: &mut caches, constants: &mut constants };
        let x = self.decode(net, prompt.batch, prompt.seq, past);
        let last = net.rows_from(x, (prompt.seq - 1) * prompt.batch);
        for (cache, _) in &mut caches {
            cache.length = prompt.length();
        }
        Start { logits: self.head(net, last), caches, constants }
    }

    fn next(&self, net: &mut Net, prompt: Prompt) -> NodeId {
        let position = net.graph.input_u32("position", &[1]);
        let past = &mut Past::Cached { position, length: prompt.length() };
        let x = self.decode(net, prompt.batch, 1, past);
        self.head(net, x)
    }

    fn next_feeds(&self, tokens: &[i64], position: usize) -> Vec<Feed> {
        let position = position as i64;
        vec![
            Feed::ids("decoder_input_ids", tokens),
            Feed::ids("decoder_positions", &vec![position; tokens.len()]),
            Feed::ids("position", &[position]),
        ]
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }
}
