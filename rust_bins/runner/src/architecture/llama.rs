//! `llama`: transformers `LlamaForCausalLM`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Parameter, config};
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// The keys of transformers' `LlamaConfig` that change the numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LlamaConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; as many as query heads when absent.
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; `hidden_size / num_attention_heads` when absent.
    pub head_dim: Option<usize>,
    /// Added to the mean square in every RMS norm.
    #[serde(default = "default_rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f64,
    /// Whether the output projection is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether the four attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the three feed-forward projections have biases.
    #[serde(default)]
    pub mlp_bias: bool,
    /// `pad_token_id`: the row of the embedding that gets no gradient as an input (a tied output projection does).
    #[serde(skip)]
    pub padding_row: Option<usize>,
}

fn default_rms_norm_eps() -> f64 {
    1e-6
}

fn default_rope_theta() -> f64 {
    10_000.0
}

/// Keys of the public configuration that do not change the numbers of the tasks here.
const NEUTRAL: &[&str] =
    &["max_position_embeddings", "initializer_range", "use_cache", "bos_token_id", "eos_token_id", "is_llama_config"];

impl LlamaConfig {
    /// Reads the public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key, when a key is unknown or has a value that the runners do not honour.
    pub fn parse(map: &Map<String, Value>) -> Result<Self> {
        let mut map = map.clone();
        config::take_rope_parameters(&mut map)?;
        config::require(&mut map, "hidden_act", "silu")?;
        config::require(&mut map, "attention_dropout", 0.0)?;
        config::require(&mut map, "pretraining_tp", 1)?;
        config::require(&mut map, "rope_interleaved", false)?;
        let padding_row = config::take_padding_row(&mut map)?;
        let parsed = Self { padding_row, ..config::strict("llama", map, NEUTRAL)? };
        let (heads, kv_heads) = (parsed.num_attention_heads, parsed.kv_heads());
        if heads == 0 || kv_heads == 0 || heads % kv_heads != 0 {
            return Err(Error::unsupported(format!(
                "llama: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
            )));
        }
        if parsed.head_dim() == 0 || !parsed.head_dim().is_multiple_of(2) {
            return Err(Error::unsupported(format!("llama: head_dim {} is not even", parsed.head_dim())));
        }
        Ok(parsed)
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Every parameter, all of them trainable, in the checkpoint's order; a tied `lm_head` does not appear.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (h, f) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.num_attention_heads * self.head_dim(), self.kv_heads() * self.head_dim());
        let mut all = vec![Parameter::new("model.embed_tokens.weight", [self.vocab_size, h])];
        for i in 0..self.num_hidden_layers {
            let layer = format!("model.layers.{i}");
            for (name, out, inp, bias) in [
                ("self_attn.q_proj", q, h, self.attention_bias),
                ("self_attn.k_proj", kv, h, self.attention_bias),
                ("self_attn.v_proj", kv, h, self.attention_bias),
                ("self_attn.o_proj", h, q, self.attention_bias),
                ("mlp.gate_proj", f, h, self.mlp_bias),
                ("mlp.up_proj", f, h, self.mlp_bias),
                ("mlp.down_proj", h, f, self.mlp_bias),
            ] {
                all.push(Parameter::new(format!("{layer}.{name}.weight"), [out, inp]));
                if bias {
                    all.push(Parameter::new(format!("{layer}.{name}.bias"), [out]));
                }
            }
            all.push(Parameter::new(format!("{layer}.input_layernorm.weight"), [h]));
            all.push(Parameter::new(format!("{layer}.post_attention_layernorm.weight"), [h]));
        }
        all.push(Parameter::new("model.norm.weight", [h]));
        if !self.tie_word_embeddings {
            all.push(Parameter::new("lm_head.weight", [self.vocab_size, h]));
        }
        all
    }

    /// The inputs of `infer` (and, with `labels`, of `train`), checked: shapes, and ids within the vocabulary.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, labels: bool) -> Result<LlamaInputs<'a>> {
        let (shape, input_ids) = inputs.i64("input_ids")?;
        let &[batch, seq] = shape else {
            return Err(Error::invalid_inputs(format!("input `input_ids` has shape {shape:?}, expected [batch, seq]")));
        };
        config::ids_within("input_ids", input_ids, self.vocab_size)?;
        let labels = if labels {
            let (labels_shape, labels) = inputs.i64("labels")?;
            if labels_shape != shape {
                return Err(Error::invalid_inputs(format!(
                    "input `labels` has shape {labels_shape:?}, expected {shape:?}"
                )));
            }
            if seq < 2 {
                return Err(Error::invalid_inputs("input `labels` needs at least two positions a row"));
            }
            config::ids_within("labels", labels, self.vocab_size)?;
            Some(labels)
        } else {
            None
        };
        Ok(LlamaInputs { batch, seq, input_ids, labels })
    }
}

/// The inputs of a `llama` task.
#[derive(Debug, Clone, Copy)]
pub struct LlamaInputs<'a> {
    /// B.
    pub batch: usize,
    /// T.
    pub seq: usize,
    /// `[B, T]`.
    pub input_ids: &'a [i64],
    /// `[B, T]`, for `train` and `step`.
    pub labels: Option<&'a [i64]>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(changes: &Value) -> Result<LlamaConfig> {
        let mut config = json!({"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "model_type": "llama", "torch_dtype": "bfloat16",
            "hidden_act": "silu", "pad_token_id": null, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5}});
        for (key, value) in changes.as_object().expect("an object") {
            config[key] = value.clone();
        }
        LlamaConfig::parse(config.as_object().expect("an object"))
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = parse(&json!({})).unwrap();
        assert_eq!((config.head_dim(), config.kv_heads()), (8, 2));
        assert_eq!((config.rope_theta, config.rms_norm_eps), (1e5, 1e-6));
        assert!(!config.tie_word_embeddings);
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        for (change, key) in [
            (json!({"hidden_act": "gelu"}), "hidden_act"),
            (json!({"sliding_window": 4}), "sliding_window"),
            (json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}), "rope_scaling"),
            (json!({"attention_dropout": 0.1}), "attention_dropout"),
            (json!({"vocab_size": "97"}), "configuration"),
            (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
            (json!({"num_key_value_heads": 0}), "num_key_value_heads"),
            (json!({"head_dim": 7}), "head_dim"),
        ] {
            let error = parse(&change).unwrap_err();
            assert!(error.message.contains(key), "{change}: {error}");
            assert_eq!(error.code, crate::Code::Unsupported);
        }
    }

    #[test]
    fn a_tied_output_projection_is_no_parameter() {
        let tied = parse(&json!({"tie_word_embeddings": true})).unwrap().parameters();
        let untied = parse(&json!({"tie_word_embeddings": false, "attention_bias": true})).unwrap().parameters();
        assert_eq!(tied.len(), 1 + 2 * 9 + 1);
        assert_eq!(untied.len(), 1 + 2 * 13 + 2);
        assert_eq!(untied.last(), Some(&Parameter::new("lm_head.weight", [97, 32])));
    }
}
