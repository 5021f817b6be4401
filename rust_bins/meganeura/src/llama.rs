//! `llama`: transformers `LlamaForCausalLM` (Touvron et al. 2023), with grouped-query attention.

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Mask, attention};
use crate::layout::{Layout, one_hot, swap_leading};
use crate::net::Net;
use crate::ops::{Rotary, feed_forward};

/// A decoder of pre-norm blocks.
pub struct Llama {
    config: LlamaConfig,
}

/// The rotary tables of queries and keys.
#[derive(Clone, Copy)]
struct Tables {
    q: Rotary,
    k: Rotary,
}

impl Llama {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: LlamaConfig::parse(config)? })
    }

    /// Logits `[T * B, V]` of every position, time-major.
    fn forward(&self, net: &mut Net, batch: usize, seq: usize) -> NodeId {
        let c = &self.config;
        let ids = net.graph.input_u32("input_ids", &[seq * batch]);
        let embedding = net.parameter("model.embed_tokens.weight");
        let tables = Tables {
            q: Rotary::new(net, 0..seq, batch * c.num_attention_heads, c.head_dim(), c.rope_theta),
            k: Rotary::new(net, 0..seq, batch * c.kv_heads(), c.head_dim(), c.rope_theta),
        };
        let mut hidden = net.graph.embedding(ids, embedding);
        for layer in 0..c.num_hidden_layers {
            hidden = self.block(net, hidden, &format!("model.layers.{layer}"), batch, tables);
        }
        let hidden = net.rms_norm(hidden, "model.norm", c.rms_norm_eps);
        let head = if c.tie_word_embeddings { embedding } else { net.parameter("lm_head.weight") };
        net.graph.matmul_bt(hidden, head)
    }

    /// Mean cross entropy of each position's logits against the next label.
    fn loss(&self, net: &mut Net, logits: NodeId) -> NodeId {
        let shape = net.dims(logits).to_vec();
        let labels = net.graph.input("labels", &shape);
        debug_assert_eq!(shape[1], self.config.vocab_size);
        net.graph.cross_entropy_loss(logits, labels)
    }

    fn block(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, tables: Tables) -> NodeId {
        let eps = self.config.rms_norm_eps;
        let normed = net.rms_norm(x, &format!("{name}.input_layernorm"), eps);
        let mixed = self.attention(net, normed, &format!("{name}.self_attn"), batch, tables);
        let x = net.graph.add(x, mixed);
        let normed = net.rms_norm(x, &format!("{name}.post_attention_layernorm"), eps);
        let fed = feed_forward(net, normed, &format!("{name}.mlp"), self.config.mlp_bias);
        net.graph.add(x, fed)
    }

    fn attention(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, tables: Tables) -> NodeId {
        let c = &self.config;
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|p| net.linear(x, &format!("{name}.{p}"), c.attention_bias));
        let (q, k) = (tables.q.apply(net, q), tables.k.apply(net, k));
        let heads = (c.num_attention_heads, c.kv_heads());
        let mixed = attention(net, [q, k, v], batch, heads, c.head_dim(), Mask::Causal);
        net.linear(mixed, &format!("{name}.o_proj"), c.attention_bias)
    }
}

impl Architecture for Llama {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let node = self.forward(net, inputs.batch, inputs.seq);
        let layout = Layout::TimeMajor { batch: inputs.batch, time: inputs.seq, width: self.config.vocab_size };
        Ok(Head { name: "logits", node, layout })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let logits = self.forward(net, inputs.batch, inputs.seq);
        Ok(self.loss(net, logits))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let inputs = self.config.inputs(inputs, labels)?;
        let (batch, seq) = (inputs.batch, inputs.seq);
        let mut feeds = vec![Feed::ids("input_ids", &swap_leading(inputs.input_ids, batch, seq, 1))];
        if let Some(labels) = inputs.labels {
            // Position t is scored against label t + 1 and the last position not at all. The framework divides by all
            // T rows, so each of the T - 1 that count weighs T / (T - 1).
            let next = swap_leading(labels, batch, seq, 1).into_iter().skip(batch).map(|id| usize::try_from(id).ok());
            let next: Vec<_> = next.chain(std::iter::repeat_n(None, batch)).collect();
            let weight = seq as f64 / (seq - 1) as f64;
            feeds.push(Feed::f32("labels", one_hot(next.into_iter(), self.config.vocab_size, weight as f32)));
        }
        Ok(feeds)
    }
}
