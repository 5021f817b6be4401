//! `smolvla-expert`: one denoising step of `SmolVLA`'s action expert over the language model's keys and values (lerobot).

use arena_runner::architecture::Parameter;
use arena_runner::architecture::smolvla_expert::SmolVlaExpertConfig;
use arena_runner::{Inputs, Result};
use serde_json::{Map, Value};

use crate::model::Architecture;
use crate::nn;
use crate::scope::{Feed, Scope};
use crate::tensor::Tensor;

/// The model: its configuration; the parameters are the scope's.
pub struct SmolVlaExpert {
    config: SmolVlaExpertConfig,
}

/// What a layer attends with: rotary tables of its queries, and of what it sees.
#[derive(Clone, Copy)]
struct Positions {
    after_prefix: (Tensor, Tensor),
    from_zero: (Tensor, Tensor),
    mask: Tensor,
}

impl SmolVlaExpert {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `unsupported`, naming a key.
    pub fn load(config: &Map<String, Value>) -> Result<Self> {
        Ok(Self { config: SmolVlaExpertConfig::parse(config)? })
    }

    /// Actions `[B, A, hidden]` mixed with the time.
    fn embed(scope: &mut Scope) -> Tensor {
        let actions = scope.input("noisy_actions");
        let actions = nn::linear(scope, "model.action_in_proj", actions, true);
        let time = scope.input("time").expand(1, actions.dim(1));
        let mixed = nn::linear(scope, "model.action_time_mlp_in", actions.concat(time, 2), true);
        nn::linear(scope, "model.action_time_mlp_out", mixed.silu(), true)
    }

    /// Attention of layer `i`: to the prefix and the actions before, or to projections of the prefix.
    fn attention(&self, scope: &mut Scope, i: usize, name: &str, x: Tensor, positions: Positions) -> Tensor {
        let c = &self.config;
        let heads = |y: Tensor, n: usize| y.reshape(&[y.dim(0), y.dim(1), n, c.head_dim]);
        let [prefix_keys, prefix_values] =
            ["prefix_keys", "prefix_values"].map(|input| scope.input(input).slice(0, i..i + 1).squeeze(0));
        let mut project = |projection: &str, y: Tensor| nn::linear(scope, &format!("{name}.{projection}"), y, false);
        let kv = c.num_key_value_heads;
        let q = heads(project("q_proj", x), c.num_attention_heads);
        let out = if c.is_self_attention(i) {
            let k = nn::rotate(heads(project("k_proj", x), kv), positions.after_prefix);
            let v = heads(project("v_proj", x), kv);
            let q = nn::rotate(q, positions.after_prefix);
            nn::attention(q, prefix_keys.concat(k, 1), prefix_values.concat(v, 1), Some(positions.mask))
        } else {
            let flat = |t: Tensor| t.reshape(&[t.dim(0), t.dim(1), kv * c.head_dim]);
            let k = heads(project("k_proj", flat(prefix_keys)), kv);
            let v = heads(project("v_proj", flat(prefix_values)), kv);
            nn::attention(nn::rotate(q, positions.from_zero), k, v, None)
        };
        project("o_proj", out)
    }

    fn feed_forward(scope: &mut Scope, name: &str, x: Tensor) -> Tensor {
        let gate = nn::linear(scope, &format!("{name}.gate_proj"), x, false);
        let up = nn::linear(scope, &format!("{name}.up_proj"), x, false);
        nn::linear(scope, &format!("{name}.down_proj"), gate.silu() * up, false)
    }
}

impl Architecture for SmolVlaExpert {
    fn parameters(&self) -> Vec<Parameter> {
        self.config.parameters()
    }

    fn feeds(&self, inputs: &Inputs, labels: bool) -> Result<Vec<Feed>> {
        let c = &self.config;
        let checked = c.inputs(inputs, labels)?;
        let actions = [checked.batch, c.chunk_size, c.max_action_dim];
        let prefix = [c.num_hidden_layers, checked.batch, checked.prefix, c.num_key_value_heads, c.head_dim];
        // [sin, cos] of 2πt / period; the angles need f64, which luminal does not have.
        let frequencies = c.time_frequencies();
        let angles = |&t: &f32| frequencies.iter().map(move |f| f * f64::from(t)).collect::<Vec<f64>>();
        let embedding = |t: &f32| {
            let angles = angles(t);
            let (sin, cos) = (angles.iter().map(|a| a.sin()), angles.iter().map(|a| a.cos()));
            sin.chain(cos).map(|v| v as f32).collect::<Vec<f32>>()
        };
        let time: Vec<f32> = checked.timestep.iter().flat_map(embedding).collect();
        let mut feeds = vec![
            Feed::real("noisy_actions", &actions, checked.noisy_actions),
            Feed::real("time", &[checked.batch, c.hidden_size], time),
            Feed::real("prefix_keys", &prefix, checked.prefix_keys),
            Feed::real("prefix_values", &prefix, checked.prefix_values),
        ];
        feeds.extend(checked.target.map(|target| Feed::real("target", &actions, target)));
        Ok(feeds)
    }

    fn output(&self) -> &'static str {
        "velocity"
    }

    fn forward(&self, scope: &mut Scope) -> Tensor {
        let c = &self.config;
        let (actions, prefix) = (c.chunk_size, scope.input("prefix_keys").dim(2));
        let positions = Positions {
            after_prefix: nn::rotary_tables(scope, prefix, actions, c.head_dim, c.rope_theta),
            from_zero: nn::rotary_tables(scope, 0, actions, c.head_dim, c.rope_theta),
            mask: nn::causal_mask(scope, actions, prefix + actions),
        };
        let expert = "model.vlm_with_expert.lm_expert";
        let mut x = Self::embed(scope);
        for i in 0..c.num_hidden_layers {
            let layer = format!("{expert}.layers.{i}");
            let normed = nn::rms_norm(scope, &format!("{layer}.input_layernorm"), x, c.rms_norm_eps);
            x = x + self.attention(scope, i, &format!("{layer}.self_attn"), normed, positions);
            let normed = nn::rms_norm(scope, &format!("{layer}.post_attention_layernorm"), x, c.rms_norm_eps);
            x = x + Self::feed_forward(scope, &format!("{layer}.mlp"), normed);
        }
        let x = nn::rms_norm(scope, &format!("{expert}.norm"), x, c.rms_norm_eps);
        nn::linear(scope, "model.action_out_proj", x, true)
    }

    fn loss(&self, scope: &mut Scope) -> Tensor {
        let velocity = self.forward(scope);
        nn::mean_squared_error(velocity, scope.input("target"))
    }
}
