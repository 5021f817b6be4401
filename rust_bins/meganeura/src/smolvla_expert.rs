//! `smolvla-expert`: one denoising step of the action expert of lerobot's `SmolVLA` (Shukor et al. 2025).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::smolvla_expert::{SmolVlaExpertConfig, SmolVlaExpertInputs};
use arena_runner::{Inputs, Result};
use meganeura::NodeId;
use serde_json::{Map, Value};

use crate::architecture::{Architecture, Feed, Head};
use crate::attention::{Mask, attention};
use crate::layout::swap_leading;
use crate::net::Net;
use crate::ops::{Rotary, feed_forward};

/// A decoder whose layers attend to the language model's keys and values, every few layers to the actions too.
pub struct SmolVlaExpert {
    config: SmolVlaExpertConfig,
}

/// What every layer sees besides the actions.
#[derive(Clone, Copy)]
struct Context {
    batch: usize,
    prefix: usize,
    /// Queries and keys behind the prefix, at positions S, S + 1, ...
    behind: [Rotary; 2],
    /// Queries of layers that attend to the prefix alone, at positions 0, 1, ...
    alone: Rotary,
}

impl SmolVlaExpert {
    /// The model of a public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: SmolVlaExpertConfig::parse(config)? })
    }

    /// The velocity `[A * B, D]`, time-major.
    fn forward(&self, net: &mut Net, inputs: &SmolVlaExpertInputs) -> NodeId {
        let c = &self.config;
        let (batch, prefix, actions) = (inputs.batch, inputs.prefix, c.chunk_size);
        let (q_heads, kv_heads) = (batch * c.num_attention_heads, batch * c.num_key_value_heads);
        let rotary = |net: &mut Net, first: usize, heads: usize| {
            Rotary::new(net, first..first + actions, heads, c.head_dim, c.rope_theta)
        };
        let context = Context {
            batch,
            prefix,
            behind: [rotary(net, prefix, q_heads), rotary(net, prefix, kv_heads)],
            alone: rotary(net, 0, q_heads),
        };
        let mut x = self.embed(net, actions * batch);
        for i in 0..c.num_hidden_layers {
            let layer = format!("model.vlm_with_expert.lm_expert.layers.{i}");
            let normed = net.rms_norm(x, &format!("{layer}.input_layernorm"), c.rms_norm_eps);
            let mixed = self.attention(net, normed, i, &format!("{layer}.self_attn"), context);
            x = net.graph.add(x, mixed);
            let normed = net.rms_norm(x, &format!("{layer}.post_attention_layernorm"), c.rms_norm_eps);
            let fed = feed_forward(net, normed, &format!("{layer}.mlp"), false);
            x = net.graph.add(x, fed);
        }
        let x = net.rms_norm(x, "model.vlm_with_expert.lm_expert.norm", c.rms_norm_eps);
        net.linear(x, "model.action_out_proj", true)
    }

    /// Mean squared error.
    fn loss(net: &mut Net, velocity: NodeId) -> NodeId {
        let target = net.graph.input("target", net.dims(velocity).to_vec().as_slice());
        net.graph.mse_loss(velocity, target)
    }

    /// Actions and time, each row a position of a sample.
    fn embed(&self, net: &mut Net, rows: usize) -> NodeId {
        let (width, hidden) = (self.config.max_action_dim, self.config.hidden_size);
        let actions = net.graph.input("noisy_actions", &[rows, width]);
        let actions = net.linear(actions, "model.action_in_proj", true);
        let time = net.graph.input("time_features", &[rows, hidden]);
        let both = net.join_columns(actions, time);
        let mixed = net.linear(both, "model.action_time_mlp_in", true);
        let mixed = net.graph.silu(mixed);
        net.linear(mixed, "model.action_time_mlp_out", true)
    }

    fn attention(&self, net: &mut Net, x: NodeId, i: usize, name: &str, context: Context) -> NodeId {
        let c = &self.config;
        let (batch, prefix) = (context.batch, context.prefix);
        let width = c.num_key_value_heads * c.head_dim;
        let heads = (c.num_attention_heads, c.num_key_value_heads);
        let prefix_keys = net.graph.input(&format!("prefix_keys.{i}"), &[prefix * batch, width]);
        let prefix_values = net.graph.input(&format!("prefix_values.{i}"), &[prefix * batch, width]);
        let project = |net: &mut Net, x: NodeId, part: &str| net.linear(x, &format!("{name}.{part}"), false);
        let q = project(net, x, "q_proj");
        let mixed = if c.is_self_attention(i) {
            let q = context.behind[0].apply(net, q);
            let k = project(net, x, "k_proj");
            let k = context.behind[1].apply(net, k);
            let v = project(net, x, "v_proj");
            // The framework's causal attention starts queries and keys at the same position: queries of zeros stand
            // where the prefix is, and what they attend to is cut off again.
            let none = net.filled(0.0, &[prefix * batch, c.num_attention_heads * c.head_dim]);
            let q = net.join_rows(none, q);
            let [k, v] = [(prefix_keys, k), (prefix_values, v)].map(|(prefix, own)| net.join_rows(prefix, own));
            let mixed = attention(net, [q, k, v], batch, heads, c.head_dim, Mask::Causal);
            net.rows_from(mixed, prefix * batch)
        } else {
            let q = context.alone.apply(net, q);
            let k = project(net, prefix_keys, "k_proj");
            let v = project(net, prefix_values, "v_proj");
            attention(net, [q, k, v], batch, heads, c.head_dim, Mask::None)
        };
        project(net, mixed, "o_proj")
    }
}

impl Architecture for SmolVlaExpert {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn infer(&self, net: &mut Net, inputs: &Inputs) -> Result<Head> {
        let inputs = self.config.inputs(inputs, false)?;
        let velocity = self.forward(net, &inputs);
        let node = net.by_sample(velocity, inputs.batch);
        let shape = vec![inputs.batch, self.config.chunk_size, self.config.max_action_dim];
        Ok(Head { name: "velocity", node, shape })
    }

    fn train(&self, net: &mut Net, inputs: &Inputs) -> Result<NodeId> {
        let inputs = self.config.inputs(inputs, true)?;
        let velocity = self.forward(net, &inputs);
        Ok(Self::loss(net, velocity))
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let c = &self.config;
        let inputs = c.inputs(inputs, labels)?;
        let (batch, prefix, actions) = (inputs.batch, inputs.prefix, c.chunk_size);
        let by_time = |values: &[f32]| swap_leading(values, batch, actions, c.max_action_dim);
        let frequencies = c.time_frequencies();
        let row = |&t: &f32| {
            let angles: Vec<f64> = frequencies.iter().map(|f| f * f64::from(t)).collect();
            let (sin, cos) = (angles.iter().map(|a| a.sin() as f32), angles.iter().map(|a| a.cos() as f32));
            sin.chain(cos).collect::<Vec<_>>()
        };
        let sample_rows: Vec<f32> = inputs.timestep.iter().flat_map(row).collect();
        let mut feeds = vec![
            Feed::f32("noisy_actions", by_time(inputs.noisy_actions)),
            Feed::f32("time_features", sample_rows.repeat(actions)),
        ];
        let width = c.num_key_value_heads * c.head_dim;
        for (name, values) in [("prefix_keys", inputs.prefix_keys), ("prefix_values", inputs.prefix_values)] {
            for (i, layer) in values.chunks_exact(batch * prefix * width).enumerate() {
                feeds.push(Feed::f32(format!("{name}.{i}"), swap_leading(layer, batch, prefix, width)));
            }
        }
        feeds.extend(inputs.target.map(|target| Feed::f32("target", by_time(target))));
        Ok(feeds)
    }
}
