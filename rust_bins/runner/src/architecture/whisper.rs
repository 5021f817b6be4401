//! `whisper`: transformers `WhisperForConditionalGeneration`, encoder and decoder.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Parameter, config};
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// Frames per encoder position: the stride of the second convolution.
const FRAMES_PER_POSITION: usize = 2;
/// Width of both convolutions.
const KERNEL: usize = 3;

/// The keys of transformers' `WhisperConfig` that change the numbers.
///
/// Fixed in the architecture, not in the configuration: both convolutions have width 3 and padding 1, the second a
/// stride of 2; layer norms add 1e-5; `k_proj` has no bias, every other projection has one; GELU is the exact one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WhisperConfig {
    /// Rows of the decoder's embedding.
    pub vocab_size: usize,
    /// Mel bins: channels of the input features.
    pub num_mel_bins: usize,
    /// Width of the residual stream of both halves.
    pub d_model: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Heads of the encoder's attention.
    pub encoder_attention_heads: usize,
    /// Heads of the decoder's attention, to itself and to the encoder.
    pub decoder_attention_heads: usize,
    /// Width of the encoder's feed-forward layers.
    pub encoder_ffn_dim: usize,
    /// Width of the decoder's feed-forward layers.
    pub decoder_ffn_dim: usize,
    /// Positions of the encoder: exactly this many come out of the convolutions.
    pub max_source_positions: usize,
    /// Positions of the decoder: at most this many.
    pub max_target_positions: usize,
    /// Whether the output projection is the decoder's embedding.
    #[serde(default = "default_tie_word_embeddings")]
    pub tie_word_embeddings: bool,
    /// `pad_token_id`: the row of the embedding that gets no gradient as an input (a tied output projection does).
    #[serde(skip)]
    pub padding_row: Option<usize>,
}

/// `WhisperConfig`'s `pad_token_id` where the configuration names none, and the vocabulary has such a row.
const DEFAULT_PADDING_ROW: usize = 50_256;

fn default_tie_word_embeddings() -> bool {
    true
}

/// Keys of the public configuration that do not change the numbers of the tasks here: ids and filters of
/// `generate`, what `forward` returns beside the logits, augmentation of a classifier.
const NEUTRAL: &[&str] = &[
    "init_std",
    "use_cache",
    "is_encoder_decoder",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_decoder_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "max_length",
    "median_filter_width",
    "use_weighted_layer_sum",
    "classifier_proj_size",
    "num_hidden_layers",
    "output_hidden_states",
    "output_attentions",
    "return_dict",
    "chunk_size_feed_forward",
    "id2label",
    "label2id",
    "problem_type",
    "mask_time_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_feature_prob",
    "mask_feature_length",
    "mask_feature_min_masks",
];

impl WhisperConfig {
    /// Added to the variance in every layer norm (`torch.nn.LayerNorm`'s default, which the configuration cannot set).
    pub const LAYER_NORM_EPS: f64 = 1e-5;

    /// Reads the public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key, when a key is unknown or has a value that the runners do not honour.
    pub fn parse(map: &Map<String, Value>) -> Result<Self> {
        let mut map = map.clone();
        config::require(&mut map, "activation_function", "gelu")?;
        config::require(&mut map, "scale_embedding", false)?;
        config::require(&mut map, "apply_spec_augment", false)?;
        for key in ["dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop"] {
            config::require(&mut map, key, 0.0)?;
        }
        let named = map.contains_key("pad_token_id");
        let padding_row = config::take_padding_row(&mut map)?;
        let mut parsed = Self { padding_row, ..config::strict("whisper", map, NEUTRAL)? };
        if !named && DEFAULT_PADDING_ROW < parsed.vocab_size {
            parsed.padding_row = Some(DEFAULT_PADDING_ROW);
        }
        for (key, heads) in [
            ("encoder_attention_heads", parsed.encoder_attention_heads),
            ("decoder_attention_heads", parsed.decoder_attention_heads),
        ] {
            if heads == 0 || !parsed.d_model.is_multiple_of(heads) {
                return Err(Error::unsupported(format!(
                    "whisper: d_model {} is not a multiple of {key} {heads}",
                    parsed.d_model
                )));
            }
        }
        Ok(parsed)
    }

    /// Frames of the input features.
    pub fn frames(&self) -> usize {
        self.max_source_positions * FRAMES_PER_POSITION
    }

    /// Every parameter in the checkpoint's names; the encoder's positions are fixed sinusoids and are not trained; a
    /// tied `proj_out` does not appear.
    pub fn parameters(&self) -> Vec<Parameter> {
        let d = self.d_model;
        let mut all = Vec::new();
        affine(&mut all, "model.encoder.conv1", &[d, self.num_mel_bins, KERNEL]);
        affine(&mut all, "model.encoder.conv2", &[d, d, KERNEL]);
        all.push(Parameter::frozen("model.encoder.embed_positions.weight", [self.max_source_positions, d]));
        for i in 0..self.encoder_layers {
            let layer = format!("model.encoder.layers.{i}");
            self.attention(&mut all, &layer, "self_attn");
            self.feed_forward(&mut all, &layer, self.encoder_ffn_dim);
        }
        affine(&mut all, "model.encoder.layer_norm", &[d]);
        all.push(Parameter::new("model.decoder.embed_tokens.weight", [self.vocab_size, d]));
        all.push(Parameter::new("model.decoder.embed_positions.weight", [self.max_target_positions, d]));
        for i in 0..self.decoder_layers {
            let layer = format!("model.decoder.layers.{i}");
            self.attention(&mut all, &layer, "self_attn");
            self.attention(&mut all, &layer, "encoder_attn");
            self.feed_forward(&mut all, &layer, self.decoder_ffn_dim);
        }
        affine(&mut all, "model.decoder.layer_norm", &[d]);
        if !self.tie_word_embeddings {
            all.push(Parameter::new("proj_out.weight", [self.vocab_size, d]));
        }
        all
    }

    /// The four projections of an attention and the norm before it.
    fn attention(&self, all: &mut Vec<Parameter>, layer: &str, name: &str) {
        let square = [self.d_model, self.d_model];
        all.push(Parameter::new(format!("{layer}.{name}.k_proj.weight"), square));
        for projection in ["v_proj", "q_proj", "out_proj"] {
            affine(all, &format!("{layer}.{name}.{projection}"), &square);
        }
        affine(all, &format!("{layer}.{name}_layer_norm"), &[self.d_model]);
    }

    /// The two feed-forward projections and the norm before them.
    fn feed_forward(&self, all: &mut Vec<Parameter>, layer: &str, width: usize) {
        affine(all, &format!("{layer}.fc1"), &[width, self.d_model]);
        affine(all, &format!("{layer}.fc2"), &[self.d_model, width]);
        affine(all, &format!("{layer}.final_layer_norm"), &[self.d_model]);
    }

    /// The inputs of `infer` (and, with `labels`, of `train`), checked: shapes, and ids within the vocabulary.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, labels: bool) -> Result<WhisperInputs<'a>> {
        let (shape, input_features) = inputs.f32("input_features")?;
        let (bins, frames) = (self.num_mel_bins, self.frames());
        let &[batch, ..] = shape else {
            return Err(Error::invalid_inputs("input `input_features` has no dimensions"));
        };
        if shape != [batch, bins, frames] {
            return Err(Error::invalid_inputs(format!(
                "input `input_features` has shape {shape:?}, expected [batch, {bins}, {frames}]"
            )));
        }
        let (ids_shape, decoder_input_ids) = inputs.i64("decoder_input_ids")?;
        let seq = ids_shape.last().copied().unwrap_or_default();
        if ids_shape != [batch, seq] || seq == 0 || seq > self.max_target_positions {
            return Err(Error::invalid_inputs(format!(
                "input `decoder_input_ids` has shape {ids_shape:?}, expected [{batch}, 1..={}]",
                self.max_target_positions
            )));
        }
        config::ids_within("decoder_input_ids", decoder_input_ids, self.vocab_size)?;
        let labels = if labels {
            let (labels_shape, labels) = inputs.i64("labels")?;
            if labels_shape != ids_shape {
                return Err(Error::invalid_inputs(format!(
                    "input `labels` has shape {labels_shape:?}, expected {ids_shape:?}"
                )));
            }
            config::ids_within("labels", labels, self.vocab_size)?;
            Some(labels)
        } else {
            None
        };
        Ok(WhisperInputs { batch, seq, input_features, decoder_input_ids, labels })
    }
}

/// A weight of that shape and a bias as long as its first dimension.
fn affine(all: &mut Vec<Parameter>, name: &str, shape: &[usize]) {
    all.push(Parameter::new(format!("{name}.weight"), shape));
    all.push(Parameter::new(format!("{name}.bias"), [shape[0]]));
}

/// The inputs of a `whisper` task.
#[derive(Debug, Clone, Copy)]
pub struct WhisperInputs<'a> {
    /// B.
    pub batch: usize,
    /// T, positions of the decoder.
    pub seq: usize,
    /// `[B, num_mel_bins, frames]`.
    pub input_features: &'a [f32],
    /// `[B, T]`.
    pub decoder_input_ids: &'a [i64],
    /// `[B, T]`, for `train` and `step`: the label of each position itself, not shifted.
    pub labels: Option<&'a [i64]>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Map<String, Value> {
        // The public configuration of openai/whisper-tiny, the keys that it sets.
        let json = json!({
            "activation_function": "gelu", "activation_dropout": 0.0, "attention_dropout": 0.0, "d_model": 384,
            "decoder_attention_heads": 6, "decoder_ffn_dim": 1536, "decoder_layerdrop": 0.0, "decoder_layers": 4,
            "dropout": 0.0, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536, "encoder_layerdrop": 0.0,
            "encoder_layers": 4, "is_encoder_decoder": true, "max_length": 448, "max_source_positions": 1500,
            "max_target_positions": 448, "model_type": "whisper", "num_hidden_layers": 4, "num_mel_bins": 80,
            "scale_embedding": false, "use_cache": true, "vocab_size": 51865,
        });
        json.as_object().expect("an object").clone()
    }

    #[test]
    fn counts_the_public_model() {
        let parameters = WhisperConfig::parse(&config()).expect("supported").parameters();
        let count: usize = parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(count, 37_760_640);
        let frozen: Vec<_> = parameters.iter().filter(|p| !p.trainable).map(|p| p.name.as_str()).collect();
        assert_eq!(frozen, ["model.encoder.embed_positions.weight"]);
    }

    #[test]
    fn untied_has_an_output_projection() {
        let mut map = config();
        map.insert("tie_word_embeddings".into(), false.into());
        let parameters = WhisperConfig::parse(&map).expect("supported").parameters();
        assert!(parameters.iter().any(|p| p.name == "proj_out.weight" && p.shape == [51865, 384]));
    }

    #[test]
    fn names_what_it_does_not_honour() {
        for (key, value) in [
            ("activation_function", json!("relu")),
            ("scale_embedding", json!(true)),
            ("dropout", json!(0.1)),
            ("encoder_attention_heads", json!(5)),
            ("rotary", json!(true)),
        ] {
            let mut map = config();
            map.insert(key.into(), value);
            let error = WhisperConfig::parse(&map).expect_err(key);
            assert_eq!(error.code, crate::Code::Unsupported);
            assert!(error.message.contains(key), "{error}");
        }
    }
}
