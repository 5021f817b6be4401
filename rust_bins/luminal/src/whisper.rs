//! `whisper`: an encoder of mel spectrograms and a decoder of text that attends to it (transformers
//! `WhisperForConditionalGeneration`).

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::architecture::whisper::WhisperConfig;
use arena_runner::{Error, Inputs, Result};
use serde_json::{Map, Value};

use crate::decode::{Decoder, Memory};
use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
#[derive(Clone)]
pub struct Whisper {
    config: WhisperConfig,
}

impl Whisper {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `unsupported`, naming a key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: WhisperConfig::parse(config)? })
    }

    /// The spectrogram `[B, bins, F]` as `[B, F / 2, d]`.
    fn encode(&self, scope: &mut Scope) -> Tensor {
        let c = &self.config;
        let features = scope.input("input_features");
        let image = features.reshape(&[features.dim(0), features.dim(1), 1, features.dim(2)]);
        let x = Self::conv1d(scope, "model.encoder.conv1", image, 1);
        let x = Self::conv1d(scope, "model.encoder.conv2", x, 2);
        let (batch, positions) = (x.dim(0), x.dim(3));
        let x = x.reshape(&[batch, c.d_model, positions]).transpose();
        let mut x = x + scope.parameter("model.encoder.embed_positions.weight");
        for i in 0..c.encoder_layers {
            let layer = format!("model.encoder.layers.{i}");
            let normed = norm(scope, &format!("{layer}.self_attn_layer_norm"), x);
            let (name, heads) = (format!("{layer}.self_attn"), c.encoder_attention_heads);
            let k = project(scope, &name, "k_proj", heads, normed);
            let v = project(scope, &name, "v_proj", heads, normed);
            x = x + attend(scope, &name, heads, normed, (k, v), None);
            x = x + feed_forward(scope, &layer, x);
        }
        norm(scope, "model.encoder.layer_norm", x)
    }

    /// `gelu` of a convolution of kernel 3 over the frames of `[B, C, 1, F]`.
    fn conv1d(scope: &mut Scope, name: &str, x: Tensor, stride: usize) -> Tensor {
        let weight = scope.parameter(&format!("{name}.weight"));
        let bias = scope.parameter(&format!("{name}.bias"));
        let (out, inner, kernel) = (weight.dim(0), weight.dim(1), weight.dim(2));
        let y = nn::conv2d(weight.reshape(&[out, inner, 1, kernel]), x, [1, stride], [0, kernel / 2]);
        (y + bias.reshape(&[out, 1, 1])).gelu()
    }

    /// Hidden states `[B, T, d]` of the decoder.
    fn decode(&self, scope: &mut Scope, memory: &mut Memory) -> Tensor {
        let c = &self.config;
        let encoded = (!memory.is_later()).then(|| self.encode(scope));
        let table = scope.parameter("model.decoder.embed_tokens.weight");
        let tokens = scope.gather(table, "decoder_input_ids", self.config.padding_row);
        let seq = tokens.dim(1);
        let places = scope.parameter("model.decoder.embed_positions.weight");
        let (mut x, mask) = if memory.is_later() {
            (tokens + scope.gather(places, "position", None), scope.input("mask"))
        } else {
            (tokens + places.slice(0, 0..seq), nn::causal_mask(scope, seq, seq))
        };
        let heads = c.decoder_attention_heads;
        for i in 0..c.decoder_layers {
            let layer = format!("model.decoder.layers.{i}");
            let name = format!("{layer}.self_attn");
            let normed = norm(scope, &format!("{name}_layer_norm"), x);
            let k = project(scope, &name, "k_proj", heads, normed);
            let k = memory.extend(scope, &format!("{name}.keys"), k);
            let v = project(scope, &name, "v_proj", heads, normed);
            let v = memory.extend(scope, &format!("{name}.values"), v);
            x = x + attend(scope, &name, heads, normed, (k, v), Some(mask));
            let name = format!("{layer}.encoder_attn");
            let normed = norm(scope, &format!("{name}_layer_norm"), x);
            let mut source = |projection: &str| {
                memory.once(scope, &format!("{name}.{projection}"), |scope| {
                    project(scope, &name, projection, heads, encoded.expect("the prompt's graph encodes"))
                })
            };
            let (k, v) = (source("k_proj"), source("v_proj"));
            x = x + attend(scope, &name, heads, normed, (k, v), None);
            x = x + feed_forward(scope, &layer, x);
        }
        norm(scope, "model.decoder.layer_norm", x)
    }

    /// Logits `[.., V]` of hidden states.
    fn head(&self, scope: &mut Scope, hidden: Tensor) -> Tensor {
        let name = if self.config.tie_word_embeddings { "model.decoder.embed_tokens" } else { "proj_out" };
        nn::linear(scope, name, hidden, false)
    }
}

fn norm(scope: &mut Scope, name: &str, x: Tensor) -> Tensor {
    nn::layer_norm(scope, name, x, WhisperConfig::LAYER_NORM_EPS)
}

/// Heads `[B, T, H, D]` of a projection; that of keys has no bias.
fn project(scope: &mut Scope, name: &str, projection: &str, heads: usize, x: Tensor) -> Tensor {
    let y = nn::linear(scope, &format!("{name}.{projection}"), x, projection != "k_proj");
    y.reshape(&[y.dim(0), y.dim(1), heads, y.dim(2) / heads])
}

/// Attention of `x` to keys and values.
fn attend(
    scope: &mut Scope,
    name: &str,
    heads: usize,
    x: Tensor,
    (k, v): (Tensor, Tensor),
    mask: Option<Tensor>,
) -> Tensor {
    let q = project(scope, name, "q_proj", heads, x);
    nn::linear(scope, &format!("{name}.out_proj"), nn::attention(q, k, v, mask), true)
}

fn feed_forward(scope: &mut Scope, layer: &str, x: Tensor) -> Tensor {
    let normed = norm(scope, &format!("{layer}.final_layer_norm"), x);
    let hidden = nn::linear(scope, &format!("{layer}.fc1"), normed, true).gelu();
    nn::linear(scope, &format!("{layer}.fc2"), hidden, true)
}

impl Architecture for Whisper {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let c = &self.config;
        let checked = c.inputs(inputs, labels)?;
        let features = [checked.batch, c.num_mel_bins, c.frames()];
        let mut feeds = vec![
            Feed::real("input_features", &features, checked.input_features),
            Feed::ids("decoder_input_ids", &[checked.batch, checked.seq], checked.decoder_input_ids),
        ];
        feeds.extend(checked.labels.map(|labels| Feed::classes("labels", labels.iter().copied())));
        Ok(feeds)
    }

    fn output(&self) -> &'static str {
        "logits"
    }

    fn forward(&self, scope: &mut Scope) -> Tensor {
        let hidden = self.decode(scope, &mut Memory::none());
        self.head(scope, hidden)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let logits = self.forward(scope);
        let rows = logits.dim(0) * logits.dim(1);
        nn::cross_entropy(scope, logits.reshape(&[rows, logits.dim(2)]), "labels")
    }

    fn decoder(&self) -> Option<Rc<dyn Decoder>> {
        Some(Rc::new(self.clone()))
    }
}

impl Decoder for Whisper {
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<(usize, usize)> {
        let checked = self.config.inputs(inputs, false)?;
        let most = self.config.max_target_positions;
        if new_tokens == 0 || checked.seq + new_tokens > most + 1 {
            return Err(Error::invalid_inputs(format!(
                "input `decoder_input_ids`: {} positions and {new_tokens} new tokens do not fit max_target_positions {most}",
                checked.seq
            )));
        }
        Ok((checked.batch, checked.seq))
    }

    fn prompt_feeds(&self, inputs: &Inputs) -> Result<Vec<Feed>> {
        self.feeds(inputs, false)
    }

    fn token_feeds(&self, tokens: &[i64], position: usize, total: usize) -> Vec<Feed> {
        vec![
            Feed::ids("decoder_input_ids", &[tokens.len(), 1], tokens),
            Feed::ids("position", &[1], &[position.cast_signed() as i64]),
            nn::place(position, total),
            nn::visible(position, total),
        ]
    }

    fn next(&self, scope: &mut Scope, memory: &mut Memory) -> Tensor {
        let hidden = self.decode(scope, memory);
        let seq = hidden.dim(1);
        self.head(scope, hidden.slice(1, seq - 1..seq).squeeze(1))
    }
}
