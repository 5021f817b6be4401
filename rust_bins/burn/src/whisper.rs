//! `whisper`: a convolutional stem and pre-norm encoder over mel frames, and a decoder that attends to it.

use std::rc::Rc;

use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Error, Inputs, Program, Result};
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::decode::{Decode, Generative};
use crate::ops::{KeyValues, LayerNorm, Linear, Visible, attention, cross_entropy, embedding, gelu, heads};
use crate::parameters::{Handles, Table};
use crate::program::{Architecture, Flat, Loaded};

/// The model on one set of parameters.
pub struct Whisper {
    config: Rc<WhisperConfig>,
    /// Weight `[d, mel, 3]`, bias `[d]`.
    conv1: (Tensor<3>, Tensor<1>),
    /// Weight `[d, d, 3]`, bias `[d]`.
    conv2: (Tensor<3>, Tensor<1>),
    /// `[source positions, d]`.
    encoder_positions: Tensor<2>,
    encoder_layers: Vec<EncoderLayer>,
    encoder_norm: LayerNorm,
    /// `[V, d]`.
    embed_tokens: Tensor<2>,
    /// `[target positions, d]`.
    decoder_positions: Tensor<2>,
    decoder_layers: Vec<DecoderLayer>,
    decoder_norm: LayerNorm,
    proj_out: Linear,
}

struct EncoderLayer {
    self_attn: Attention,
    feed: FeedForward,
}

struct DecoderLayer {
    self_attn: Attention,
    encoder_attn: Attention,
    feed: FeedForward,
}

/// The norm before an attention, and its projections.
struct Attention {
    norm: LayerNorm,
    heads: usize,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
}

/// The norm before the feed-forward layer, and its projections.
struct FeedForward {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

/// The inputs on the device.
pub struct Batch {
    /// `[B, mel, frames]`.
    input_features: Tensor<3>,
    /// `[B, T]`.
    decoder_input_ids: Tensor<2, Int>,
    /// `[B * T]`.
    targets: Option<Tensor<1, Int>>,
    /// Of the decoder's own positions.
    visible: Visible,
}

/// The parameters as they are held on the device: every projection as `[in, out]`.
pub fn table(config: &WhisperConfig) -> Table {
    Table::new(config.parameters(), |parameter| {
        ["_proj.weight", "fc1.weight", "fc2.weight", "proj_out.weight"].iter().any(|end| parameter.name.ends_with(end))
    })
}

impl Architecture for Whisper {
    type Config = WhisperConfig;
    type Batch = Batch;
    const OUTPUT: &'static str = "logits";

    fn batch(config: &WhisperConfig, inputs: &Inputs, targets: bool, device: &Device) -> Result<Batch> {
        let inputs = config.inputs(inputs, targets)?;
        let (b, t) = (inputs.batch, inputs.seq);
        let features = TensorData::new(inputs.input_features.to_vec(), [b, config.num_mel_bins, config.frames()]);
        Ok(Batch {
            input_features: Tensor::from_data(features, device),
            decoder_input_ids: Tensor::from_data(TensorData::new(inputs.decoder_input_ids.to_vec(), [b, t]), device),
            visible: Visible::causal(t, t, inputs.labels.is_some(), device),
            targets: inputs.labels.map(|labels| Tensor::from_data(TensorData::new(labels.to_vec(), [b * t]), device)),
        })
    }

    fn load(config: &Rc<WhisperConfig>, p: &Handles) -> Self {
        let linear = |name: &str| Linear::load(p, name);
        let norm = |name: &str| LayerNorm::load(p, name, WhisperConfig::LAYER_NORM_EPS);
        let attention = |name: &str, heads: usize| Attention {
            norm: norm(&format!("{name}_layer_norm")),
            heads,
            q_proj: linear(&format!("{name}.q_proj")),
            k_proj: linear(&format!("{name}.k_proj")),
            v_proj: linear(&format!("{name}.v_proj")),
            out_proj: linear(&format!("{name}.out_proj")),
        };
        let feed = |layer: &str| FeedForward {
            norm: norm(&format!("{layer}.final_layer_norm")),
            fc1: linear(&format!("{layer}.fc1")),
            fc2: linear(&format!("{layer}.fc2")),
        };
        let encoder_layer = |i: usize| {
            let layer = format!("model.encoder.layers.{i}");
            let self_attn = attention(&format!("{layer}.self_attn"), config.encoder_attention_heads);
            EncoderLayer { self_attn, feed: feed(&layer) }
        };
        let decoder_layer = |i: usize| {
            let layer = format!("model.decoder.layers.{i}");
            DecoderLayer {
                self_attn: attention(&format!("{layer}.self_attn"), config.decoder_attention_heads),
                encoder_attn: attention(&format!("{layer}.encoder_attn"), config.decoder_attention_heads),
                feed: feed(&layer),
            }
        };
        let conv = |name: &str| (p.get(&format!("{name}.weight")), p.get(&format!("{name}.bias")));
        let embed_tokens: Tensor<2> = p.get("model.decoder.embed_tokens.weight");
        let proj_out = if config.tie_word_embeddings {
            Linear { weight: embed_tokens.clone().transpose(), bias: None }
        } else {
            linear("proj_out")
        };
        Self {
            config: Rc::clone(config),
            conv1: conv("model.encoder.conv1"),
            conv2: conv("model.encoder.conv2"),
            encoder_positions: p.get("model.encoder.embed_positions.weight"),
            encoder_layers: (0..config.encoder_layers).map(encoder_layer).collect(),
            encoder_norm: norm("model.encoder.layer_norm"),
            embed_tokens,
            decoder_positions: p.get("model.decoder.embed_positions.weight"),
            decoder_layers: (0..config.decoder_layers).map(decoder_layer).collect(),
            decoder_norm: norm("model.decoder.layer_norm"),
            proj_out,
        }
    }

    fn infer(&self, batch: &Batch) -> Flat {
        self.forward(batch).into()
    }

    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let logits = self.forward(batch);
        let [b, t, classes] = logits.dims();
        let targets = batch.targets.clone().expect("a batch with targets");
        cross_entropy(logits.reshape([b * t, classes]), targets)
    }

    fn decode(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Box<dyn Program>> {
        Ok(Box::new(Decode::new(loaded, inputs, new_tokens)?))
    }
}

/// The decoder's state between tokens.
pub struct Cache {
    /// One a layer: the decoder's own positions so far.
    own: Vec<KeyValues>,
    /// One a layer: the encoder's positions, projected once.
    encoder: Vec<(Tensor<4>, Tensor<4>)>,
    /// How many positions the decoder has read.
    read: usize,
}

impl Generative for Whisper {
    type Cache = Cache;

    fn prompt(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Batch> {
        let batch = Self::batch(&loaded.config, inputs, false, &loaded.device)?;
        let (read, limit) = (batch.decoder_input_ids.dims()[1], loaded.config.max_target_positions);
        // The last new token is never read.
        if (read + new_tokens).saturating_sub(1) > limit {
            return Err(Error::invalid_inputs(format!(
                "input `decoder_input_ids`: {read} positions and {new_tokens} new tokens exceed the {limit} positions \
                 of the decoder"
            )));
        }
        Ok(batch)
    }

    fn start(&self, batch: &Batch) -> (Cache, Tensor<2>) {
        let mut cache = self.cache(&self.encode(batch.input_features.clone()));
        let logits = self.next(batch, &mut cache, batch.decoder_input_ids.clone());
        (cache, logits)
    }

    fn next(&self, batch: &Batch, cache: &mut Cache, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [b, t] = tokens.dims();
        let hidden = self.decode_hidden(tokens, cache, &batch.visible);
        self.proj_out.forward(hidden.narrow(1, t - 1, 1).reshape([b, self.config.d_model]))
    }
}

impl Whisper {
    /// The logits `[B, T, V]`.
    fn forward(&self, batch: &Batch) -> Tensor<3> {
        let mut cache = self.cache(&self.encode(batch.input_features.clone()));
        self.proj_out.forward(self.decode_hidden(batch.decoder_input_ids.clone(), &mut cache, &batch.visible))
    }

    /// `[B, mel, frames]` to `[B, S, d]`.
    fn encode(&self, input_features: Tensor<3>) -> Tensor<3> {
        let conv = |x, (weight, bias): &(Tensor<3>, Tensor<1>), stride| {
            let options = ConvOptions::new([stride], [1], [1], 1);
            gelu(conv1d(x, weight.clone(), Some(bias.clone()), options))
        };
        let x = conv(conv(input_features, &self.conv1, 1), &self.conv2, 2).swap_dims(1, 2);
        let mut x = x + self.encoder_positions.clone().unsqueeze();
        for layer in &self.encoder_layers {
            let h = layer.self_attn.norm.forward(x.clone());
            let (k, v) = layer.self_attn.key_values(h.clone());
            x = x + layer.self_attn.attend(h, k, v, Visible::All);
            x = x.clone() + layer.feed.forward(x);
        }
        self.encoder_norm.forward(x)
    }

    /// The state before the first token: `encoded` `[B, S, d]` projected for every decoder layer.
    fn cache(&self, encoded: &Tensor<3>) -> Cache {
        Cache {
            own: vec![KeyValues::default(); self.decoder_layers.len()],
            encoder: self.decoder_layers.iter().map(|l| l.encoder_attn.key_values(encoded.clone())).collect(),
            read: 0,
        }
    }

    /// The normed hidden states `[B, T, d]` of the next tokens `[B, T]`.
    fn decode_hidden(&self, tokens: Tensor<2, Int>, cache: &mut Cache, visible: &Visible) -> Tensor<3> {
        let t = tokens.dims()[1];
        let positions = self.decoder_positions.clone().narrow(0, cache.read, t);
        let mut x = embedding(self.embed_tokens.clone(), tokens, self.config.padding_row) + positions.unsqueeze();
        for (i, layer) in self.decoder_layers.iter().enumerate() {
            let h = layer.self_attn.norm.forward(x.clone());
            let (k, v) = layer.self_attn.key_values(h.clone());
            let (k, v) = cache.own[i].extend(k, v);
            x = x + layer.self_attn.attend(h, k, v, visible.clone());
            let h = layer.encoder_attn.norm.forward(x.clone());
            let (k, v) = cache.encoder[i].clone();
            x = x + layer.encoder_attn.attend(h, k, v, Visible::All);
            x = x.clone() + layer.feed.forward(x);
        }
        cache.read += t;
        self.decoder_norm.forward(x)
    }
}

impl Attention {
    /// Keys and values `[B, H, S, width]` of `x` `[B, S, d]`.
    fn key_values(&self, x: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        (heads(self.k_proj.forward(x.clone()), self.heads), heads(self.v_proj.forward(x), self.heads))
    }

    /// Attends from the normed `x` `[B, T, d]`.
    fn attend(&self, x: Tensor<3>, k: Tensor<4>, v: Tensor<4>, visible: Visible) -> Tensor<3> {
        self.out_proj.forward(attention(heads(self.q_proj.forward(x), self.heads), k, v, visible))
    }
}

impl FeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(gelu(self.fc1.forward(self.norm.forward(x))))
    }
}
