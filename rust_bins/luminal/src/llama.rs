//! `llama`: a decoder of pre-normalised blocks, grouped-query attention with rotary positions, and a gated feed-forward
//! layer (transformers `LlamaForCausalLM`).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Inputs, Result};
use serde_json::{Map, Value};

use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
pub struct Llama {
    config: LlamaConfig,
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
    fn hidden(&self, scope: &mut Scope) -> Tensor {
        let c = &self.config;
        let seq = scope.input("input_ids").dim(1);
        let rotary = nn::rotary_tables(scope, 0, seq, c.head_dim(), c.rope_theta);
        let mask = nn::causal_mask(scope, seq, seq);
        let embedding = scope.parameter("model.embed_tokens.weight");
        let mut x = scope.gather(embedding, "input_ids");
        for i in 0..c.num_hidden_layers {
            let layer = format!("model.layers.{i}");
            let normed = nn::rms_norm(scope, &format!("{layer}.input_layernorm"), x, c.rms_norm_eps);
            x = x + self.attention(scope, &format!("{layer}.self_attn"), normed, rotary, mask);
            let normed = nn::rms_norm(scope, &format!("{layer}.post_attention_layernorm"), x, c.rms_norm_eps);
            x = x + self.feed_forward(scope, &format!("{layer}.mlp"), normed);
        }
        nn::rms_norm(scope, "model.norm", x, c.rms_norm_eps)
    }

    fn attention(&self, scope: &mut Scope, name: &str, x: Tensor, rotary: (Tensor, Tensor), mask: Tensor) -> Tensor {
        let c = &self.config;
        let (batch, seq) = (x.dim(0), x.dim(1));
        let mut project = |projection: &str, heads: usize| {
            let y = nn::linear(scope, &format!("{name}.{projection}"), x, c.attention_bias);
            y.reshape(&[batch, seq, heads, c.head_dim()])
        };
        let q = nn::rotate(project("q_proj", c.num_attention_heads), rotary);
        let k = nn::rotate(project("k_proj", c.kv_heads()), rotary);
        let v = project("v_proj", c.kv_heads());
        nn::linear(scope, &format!("{name}.o_proj"), nn::attention(q, k, v, Some(mask)), c.attention_bias)
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
        let hidden = self.hidden(scope);
        self.head(scope, hidden)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let hidden = self.hidden(scope);
        let (batch, seq, width) = (hidden.dim(0), hidden.dim(1), hidden.dim(2));
        // The last position predicts nothing.
        let predicting = hidden.slice(1, 0..seq - 1).reshape(&[batch * (seq - 1), width]);
        let logits = self.head(scope, predicting);
        nn::cross_entropy(scope, logits, "labels")
    }
}
