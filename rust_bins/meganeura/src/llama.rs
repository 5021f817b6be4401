//! `llama`: transformers `LlamaForCausalLM` (Touvron et al. 2023), with grouped-query attention.

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Cache, Mask, attention, attention_to_cache};
use crate::decode::{Generative, Prompt, Start};
use crate::layout::{one_hot, swap_leading};
use crate::net::Net;
use crate::ops::{Rotary, feed_forward, rotary_tables};

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

/// Which positions a pass sees.
enum Past<'a> {
    /// Its own, whose keys and values are kept.
    Own(&'a mut Vec<(Cache, [NodeId; 2])>),
    /// One new position behind those of the caches, of this length.
    Cached {
        /// The row of the caches that it takes.
        position: NodeId,
        length: usize,
    },
}

impl Llama {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: LlamaConfig::parse(config)? })
    }

    /// The states `[T * B, hidden_size]` of every position behind the last block, time-major.
    fn forward(&self, net: &mut Net, batch: usize, seq: usize) -> NodeId {
        let tables = self.tables(net, batch, seq);
        self.decoder(net, batch, seq, tables, &mut Past::Own(&mut Vec::new()))
    }

    /// The states `[T * B, hidden_size]` behind the last block.
    fn decoder(&self, net: &mut Net, batch: usize, seq: usize, tables: Tables, past: &mut Past) -> NodeId {
        let ids = net.graph.input_u32("input_ids", &[seq * batch]);
        let mut hidden = net.embedding(ids, "model.embed_tokens.weight", self.config.padding_row);
        for layer in 0..self.config.num_hidden_layers {
            hidden = self.block(net, hidden, &format!("model.layers.{layer}"), batch, tables, past);
        }
        hidden
    }

    /// Logits of any rows of states.
    fn head(&self, net: &mut Net, hidden: NodeId) -> NodeId {
        let hidden = net.rms_norm(hidden, "model.norm", self.config.rms_norm_eps);
        let tied = self.config.tie_word_embeddings;
        let head = net.parameter(if tied { "model.embed_tokens.weight" } else { "lm_head.weight" });
        net.graph.matmul_bt(hidden, head)
    }

    fn tables(&self, net: &mut Net, batch: usize, seq: usize) -> Tables {
        let c = &self.config;
        let mut table = |heads: usize| Rotary::new(net, 0..seq, batch * heads, c.head_dim(), c.rope_theta);
        Tables { q: table(c.num_attention_heads), k: table(c.kv_heads()) }
    }

    /// Mean cross entropy of each position's logits against the next label.
    fn loss(&self, net: &mut Net, logits: NodeId) -> NodeId {
        let shape = net.dims(logits).to_vec();
        let labels = net.graph.input("labels", &shape);
        debug_assert_eq!(shape[1], self.config.vocab_size);
        net.graph.cross_entropy_loss(logits, labels)
    }

    fn block(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, tables: Tables, past: &mut Past) -> NodeId {
        let eps = self.config.rms_norm_eps;
        let normed = net.rms_norm(x, &format!("{name}.input_layernorm"), eps);
        let mixed = self.attention(net, normed, &format!("{name}.self_attn"), batch, tables, past);
        let x = net.graph.add(x, mixed);
        let normed = net.rms_norm(x, &format!("{name}.post_attention_layernorm"), eps);
        let fed = feed_forward(net, normed, &format!("{name}.mlp"), self.config.mlp_bias);
        net.graph.add(x, fed)
    }

    fn attention(&self, net: &mut Net, x: NodeId, name: &str, batch: usize, tables: Tables, past: &mut Past) -> NodeId {
        let c = &self.config;
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|p| net.linear(x, &format!("{name}.{p}"), c.attention_bias));
        let (q, k) = (tables.q.apply(net, q), tables.k.apply(net, k));
        let (heads, width) = ((c.num_attention_heads, c.kv_heads()), c.head_dim());
        let cache = |length| Cache { name: name.to_owned(), heads: batch * heads.1, width, length };
        let mixed = match past {
            Past::Own(kept) => {
                kept.push((cache(0), [k, v]));
                attention(net, [q, k, v], batch, heads, width, Mask::Causal)
            }
            Past::Cached { position, length } => attention_to_cache(net, [q, k, v], &cache(*length), *position),
        };
        net.linear(mixed, &format!("{name}.o_proj"), c.attention_bias)
    }
}

impl Architecture for Llama {
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

    fn generative(self: Rc<Self>) -> Option<Rc<dyn Generative>> {
        Some(self)
    }
}

impl Generative for Llama {
    fn prompt(&self, inputs: &Inputs, new_tokens: usize) -> Result<Prompt> {
        let inputs = self.config.inputs(inputs, false)?;
        Ok(Prompt { batch: inputs.batch, seq: inputs.seq, new_tokens })
    }

    fn start(&self, net: &mut Net, prompt: Prompt) -> Start {
        let tables = self.tables(net, prompt.batch, prompt.seq);
        let mut caches = Vec::new();
        let hidden = self.decoder(net, prompt.batch, prompt.seq, tables, &mut Past::Own(&mut caches));
        let last = net.rows_from(hidden, (prompt.seq - 1) * prompt.batch);
        for (cache, _) in &mut caches {
            cache.length = prompt.length();
        }
        Start { logits: self.head(net, last), caches, constants: vec![] }
    }

    fn next(&self, net: &mut Net, prompt: Prompt) -> NodeId {
        let (c, batch) = (&self.config, prompt.batch);
        let mut table = |name: &str, heads: usize| Rotary::fed(net, name, batch * heads, c.head_dim());
        let tables = Tables { q: table("rotary_q", c.num_attention_heads), k: table("rotary_k", c.kv_heads()) };
        let position = net.graph.input_u32("position", &[1]);
        let hidden = self.decoder(net, batch, 1, tables, &mut Past::Cached { position, length: prompt.length() });
        self.head(net, hidden)
    }

    fn next_feeds(&self, tokens: &[i64], position: usize) -> Vec<Feed> {
        let (c, batch) = (&self.config, tokens.len());
        let mut feeds = vec![Feed::ids("input_ids", tokens), Feed::ids("position", &[position as i64])];
        for (name, heads) in [("rotary_q", c.num_attention_heads), ("rotary_k", c.kv_heads())] {
            let [cos, sin] = rotary_tables(position..position + 1, batch * heads, c.head_dim(), c.rope_theta);
            feeds.extend([Feed::f32(format!("{name}.cos"), cos), Feed::f32(format!("{name}.sin"), sin)]);
        }
        feeds
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }
}
