//! `llama`: a decoder of pre-normalised blocks, grouped-query attention with rotary positions, and a gated feed-forward
//! layer (transformers `LlamaForCausalLM`).

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Error, Inputs, Result};
use serde_json::{Map, Value};

use crate::decode::{Decoder, Memory};
use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
#[derive(Clone)]
pub struct Llama {
    config: LlamaConfig,
}

/// What every attention layer shares: rotary tables and mask.
#[derive(Clone, Copy)]
struct Positions {
    rotary: (Tensor, Tensor),
    mask: Tensor,
}

impl Llama {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `unsupported`, naming a key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: LlamaConfig::parse(config)? })
    }

    /// Hidden states `[B, T, hidden]` after the last norm.
    fn hidden(&self, scope: &mut Scope, memory: &mut Memory) -> Tensor {
        let c = &self.config;
        let positions = self.positions(scope, memory);
        let embedding = scope.parameter("model.embed_tokens.weight");
        let mut x = scope.gather(embedding, "input_ids", self.config.padding_row);
        for i in 0..c.num_hidden_layers {
            let layer = format!("model.layers.{i}");
            let normed = nn::rms_norm(scope, &format!("{layer}.input_layernorm"), x, c.rms_norm_eps);
            x = x + self.attention(scope, &format!("{layer}.self_attn"), normed, positions, memory);
            let normed = nn::rms_norm(scope, &format!("{layer}.post_attention_layernorm"), x, c.rms_norm_eps);
            x = x + self.feed_forward(scope, &format!("{layer}.mlp"), normed);
        }
        nn::rms_norm(scope, "model.norm", x, c.rms_norm_eps)
    }

    fn positions(&self, scope: &mut Scope, memory: &Memory) -> Positions {
        if memory.is_later() {
            let rotary = (scope.input("cos"), scope.input("sin"));
            return Positions { rotary, mask: scope.input("mask") };
        }
        let c = &self.config;
        let seq = scope.input("input_ids").dim(1);
        let rotary = nn::rotary_tables(scope, 0, seq, c.head_dim(), c.rope_theta);
        Positions { rotary, mask: nn::causal_mask(scope, seq, seq) }
    }

    fn attention(&self, scope: &mut Scope, name: &str, x: Tensor, positions: Positions, memory: &mut Memory) -> Tensor {
        let c = &self.config;
        let (batch, seq) = (x.dim(0), x.dim(1));
        let mut project = |projection: &str, heads: usize| {
            let y = nn::linear(scope, &format!("{name}.{projection}"), x, c.attention_bias);
            y.reshape(&[batch, seq, heads, c.head_dim()])
        };
        let q = nn::rotate(project("q_proj", c.num_attention_heads), positions.rotary);
        let k = nn::rotate(project("k_proj", c.kv_heads()), positions.rotary);
        let v = project("v_proj", c.kv_heads());
        let k = memory.extend(scope, &format!("{name}.keys"), k);
        let v = memory.extend(scope, &format!("{name}.values"), v);
        nn::linear(scope, &format!("{name}.o_proj"), nn::attention(q, k, v, Some(positions.mask)), c.attention_bias)
    }

    fn feed_forward(&self, scope: &mut Scope, name: &str, x: Tensor) -> Tensor {
        let bias = self.config.mlp_bias;
        let gate = nn::linear(scope, &format!("{name}.gate_proj"), x, bias);
        let up = nn::linear(scope, &format!("{name}.up_proj"), x, bias);
        nn::linear(scope, &format!("{name}.down_proj"), gate.silu() * up, bias)
    }

    /// Logits `[.., V]` of hidden states.
    fn head(&self, scope: &mut Scope, hidden: Tensor) -> Tensor {
        let name = if self.config.tie_word_embeddings { "model.embed_tokens" } else { "lm_head" };
        nn::linear(scope, name, hidden, false)
    }
}

impl Architecture for Llama {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let checked = self.config.inputs(inputs, labels)?;
        let mut feeds = vec![Feed::ids("input_ids", &[checked.batch, checked.seq], checked.input_ids)];
        if let Some(labels) = checked.labels {
            // Position t predicts token t + 1.
            let next = labels.chunks_exact(checked.seq).flat_map(|row| row[1..].iter().copied());
            feeds.push(Feed::classes("labels", next));
        }
        Ok(feeds)
    }

    fn output(&self) -> &'static str {
        "logits"
    }

    fn forward(&self, scope: &mut Scope) -> Tensor {
        let hidden = self.hidden(scope, &mut Memory::none());
        self.head(scope, hidden)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let hidden = self.hidden(scope, &mut Memory::none());
        let (batch, seq, width) = (hidden.dim(0), hidden.dim(1), hidden.dim(2));
        // The last position predicts nothing.
        let predicting = hidden.slice(1, 0..seq - 1).reshape(&[batch * (seq - 1), width]);
        let logits = self.head(scope, predicting);
        nn::cross_entropy(scope, logits, "labels")
    }

    fn decoder(&self) -> Option<Rc<dyn Decoder>> {
        Some(Rc::new(self.clone()))
    }
}

impl Decoder for Llama {
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<(usize, usize)> {
        let checked = self.config.inputs(inputs, false)?;
        if new_tokens == 0 || checked.seq == 0 {
            return Err(Error::invalid_inputs("input `input_ids`: decoding needs a prompt and at least one new token"));
        }
        Ok((checked.batch, checked.seq))
    }

    fn prompt_feeds(&self, inputs: &Inputs) -> Result<Vec<Feed>> {
        self.feeds(inputs, false)
    }

    fn token_feeds(&self, tokens: &[i64], position: usize, total: usize) -> Vec<Feed> {
        let c = &self.config;
        let (cos, sin) = nn::rotary_values(position, 1, c.head_dim(), c.rope_theta);
        vec![
            Feed::ids("input_ids", &[tokens.len(), 1], tokens),
            Feed::real("cos", &[1, 1, c.head_dim()], cos),
            Feed::real("sin", &[1, 1, c.head_dim()], sin),
            nn::place(position, total),
            nn::visible(position, total),
        ]
    }

    fn next(&self, scope: &mut Scope, memory: &mut Memory) -> Tensor {
        let hidden = self.hidden(scope, memory);
        let seq = hidden.dim(1);
        self.head(scope, hidden.slice(1, seq - 1..seq).squeeze(1))
    }
}
