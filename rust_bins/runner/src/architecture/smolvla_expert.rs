//! `smolvla-expert`: one denoising step of the action expert of lerobot's `SmolVLA` (Shukor et al. 2025).

use std::f64::consts::TAU;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Parameter, config};
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// The keys that change the numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SmolVlaExpertConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers, of the expert and of the prefix's keys and values.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads, of the expert and of the prefix.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Layer `i` attends to itself when this divides `i`, and otherwise to the prefix alone.
    pub self_attn_every_n_layers: usize,
    /// Number of actions.
    pub chunk_size: usize,
    /// Width of an action.
    pub max_action_dim: usize,
    /// Added to the mean square in every RMS norm.
    #[serde(default = "default_rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f64,
    /// Shortest period of the time embedding.
    #[serde(default = "default_min_period")]
    pub min_period: f64,
    /// Longest period of the time embedding.
    #[serde(default = "default_max_period")]
    pub max_period: f64,
}

fn default_rms_norm_eps() -> f64 {
    1e-5
}

fn default_rope_theta() -> f64 {
    10_000.0
}

fn default_min_period() -> f64 {
    4e-3
}

fn default_max_period() -> f64 {
    4.0
}

impl SmolVlaExpertConfig {
    /// Reads the public configuration.
    ///
    /// # Errors
    /// `unsupported`, naming the key, when a key is unknown or has a value that the runners do not honour.
    pub fn parse(map: &Map<String, Value>) -> Result<Self> {
        let mut map = map.clone();
        config::require(&mut map, "hidden_act", "silu")?;
        let parsed: Self = config::strict("smolvla-expert", map, &[])?;
        for (key, value) in parsed.sizes() {
            if value == 0 {
                return Err(Error::unsupported(format!("smolvla-expert: {key} is 0")));
            }
        }
        for (key, value) in parsed.reals() {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::unsupported(format!("smolvla-expert: {key} {value} is not positive")));
            }
        }
        let (heads, kv_heads) = (parsed.num_attention_heads, parsed.num_key_value_heads);
        if heads % kv_heads != 0 {
            return Err(Error::unsupported(format!(
                "smolvla-expert: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
            )));
        }
        for (key, value) in [("hidden_size", parsed.hidden_size), ("head_dim", parsed.head_dim)] {
            if value % 2 != 0 {
                return Err(Error::unsupported(format!("smolvla-expert: {key} {value} is not even")));
            }
        }
        Ok(parsed)
    }

    fn sizes(&self) -> [(&'static str, usize); 9] {
        [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("self_attn_every_n_layers", self.self_attn_every_n_layers),
            ("chunk_size", self.chunk_size),
            ("max_action_dim", self.max_action_dim),
        ]
    }

    fn reals(&self) -> [(&'static str, f64); 4] {
        [
            ("rms_norm_eps", self.rms_norm_eps),
            ("rope_theta", self.rope_theta),
            ("min_period", self.min_period),
            ("max_period", self.max_period),
        ]
    }

    /// Whether layer `i` attends to the actions too (keys and values of its own appended to the prefix's), and not to
    /// the prefix alone.
    pub fn is_self_attention(&self, i: usize) -> bool {
        i.is_multiple_of(self.self_attn_every_n_layers)
    }

    /// `2 pi / period`, `hidden_size / 2` of them, the periods geometric from `min_period` to `max_period`. The time
    /// embedding is `[sin, cos]` of a time step times these; in float64, as in lerobot, since the angles are large.
    pub fn time_frequencies(&self) -> Vec<f64> {
        let half = self.hidden_size / 2;
        let share = |i: usize| if half > 1 { i as f64 / (half - 1) as f64 } else { 0.0 };
        (0..half).map(|i| TAU / (self.min_period * (self.max_period / self.min_period).powf(share(i)))).collect()
    }

    /// Every parameter, all of them trainable, under lerobot's names. Where a layer attends to the prefix alone, its
    /// `k_proj` and `v_proj` take the prefix's keys and values instead of hidden states.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (h, f, a) = (self.hidden_size, self.intermediate_size, self.max_action_dim);
        let (q, kv) = (self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim);
        let mut all = Vec::new();
        for (name, out, inp) in [
            ("action_in_proj", h, a),
            ("action_out_proj", a, h),
            ("action_time_mlp_in", h, 2 * h),
            ("action_time_mlp_out", h, h),
        ] {
            all.push(Parameter::new(format!("model.{name}.weight"), [out, inp]));
            all.push(Parameter::new(format!("model.{name}.bias"), [out]));
        }
        let expert = "model.vlm_with_expert.lm_expert";
        for i in 0..self.num_hidden_layers {
            let source = if self.is_self_attention(i) { h } else { kv };
            for (name, out, inp) in [
                ("self_attn.q_proj", q, h),
                ("self_attn.k_proj", kv, source),
                ("self_attn.v_proj", kv, source),
                ("self_attn.o_proj", h, q),
                ("mlp.gate_proj", f, h),
                ("mlp.up_proj", f, h),
                ("mlp.down_proj", h, f),
            ] {
                all.push(Parameter::new(format!("{expert}.layers.{i}.{name}.weight"), [out, inp]));
            }
            all.push(Parameter::new(format!("{expert}.layers.{i}.input_layernorm.weight"), [h]));
            all.push(Parameter::new(format!("{expert}.layers.{i}.post_attention_layernorm.weight"), [h]));
        }
        all.push(Parameter::new(format!("{expert}.norm.weight"), [h]));
        all
    }

    /// The inputs of `infer` (and, with `target`, of `train`), with their shapes checked.
    ///
    /// # Errors
    /// `invalid_inputs`, naming the tensor.
    pub fn inputs<'a>(&self, inputs: &'a Inputs, target: bool) -> Result<SmolVlaExpertInputs<'a>> {
        let (actions, width) = (self.chunk_size, self.max_action_dim);
        let (shape, noisy_actions) = inputs.f32("noisy_actions")?;
        let batch = match *shape {
            [batch, a, d] if batch > 0 && (a, d) == (actions, width) => batch,
            _ => return Err(shaped("noisy_actions", shape, &format!("[batch, {actions}, {width}]"))),
        };
        let (shape, timestep) = inputs.f32("timestep")?;
        if shape != [batch] {
            return Err(shaped("timestep", shape, &format!("[{batch}]")));
        }
        let (layers, heads, dim) = (self.num_hidden_layers, self.num_key_value_heads, self.head_dim);
        let (prefix_shape, prefix_keys) = inputs.f32("prefix_keys")?;
        let prefix = match *prefix_shape {
            [l, b, prefix, h, width] if prefix > 0 && (l, b, h, width) == (layers, batch, heads, dim) => prefix,
            _ => {
                let expected = format!("[{layers}, {batch}, prefix, {heads}, {dim}]");
                return Err(shaped("prefix_keys", prefix_shape, &expected));
            }
        };
        let (shape, prefix_values) = inputs.f32("prefix_values")?;
        if shape != prefix_shape {
            return Err(shaped("prefix_values", shape, &format!("{prefix_shape:?}")));
        }
        let target = if target {
            let (shape, target) = inputs.f32("target")?;
            if shape != [batch, actions, width] {
                return Err(shaped("target", shape, &format!("[{batch}, {actions}, {width}]")));
            }
            Some(target)
        } else {
            None
        };
        Ok(SmolVlaExpertInputs { batch, prefix, noisy_actions, timestep, prefix_keys, prefix_values, target })
    }
}

fn shaped(name: &str, shape: &[usize], expected: &str) -> Error {
    Error::invalid_inputs(format!("input `{name}` has shape {shape:?}, expected {expected}"))
}

/// The inputs of a `smolvla-expert` task: B samples of A actions of width D, S prefix positions, L layers of H heads of
/// width E.
#[derive(Debug, Clone, Copy)]
pub struct SmolVlaExpertInputs<'a> {
    /// B.
    pub batch: usize,
    /// S.
    pub prefix: usize,
    /// `[B, A, D]`.
    pub noisy_actions: &'a [f32],
    /// `[B]`.
    pub timestep: &'a [f32],
    /// `[L, B, S, H, E]`, rotated.
    pub prefix_keys: &'a [f32],
    /// `[L, B, S, H, E]`.
    pub prefix_values: &'a [f32],
    /// `[B, A, D]`, for `train` and `step`.
    pub target: Option<&'a [f32]>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(changes: &Value) -> Result<SmolVlaExpertConfig> {
        let mut config = json!({"hidden_size": 720, "intermediate_size": 2048, "num_hidden_layers": 16,
            "num_attention_heads": 15, "num_key_value_heads": 5, "head_dim": 64, "self_attn_every_n_layers": 2,
            "chunk_size": 50, "max_action_dim": 32});
        for (key, value) in changes.as_object().expect("an object") {
            config[key] = value.clone();
        }
        SmolVlaExpertConfig::parse(config.as_object().expect("an object"))
    }

    #[test]
    fn counts_the_public_model() {
        let parameters = parse(&json!({})).unwrap().parameters();
        let count: usize = parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(count, 99_849_312);
    }

    #[test]
    fn periods_run_from_the_shortest_to_the_longest() {
        let frequencies = parse(&json!({})).unwrap().time_frequencies();
        assert_eq!(frequencies.len(), 360);
        assert!((TAU / frequencies[0] - 4e-3).abs() < 1e-12 && (TAU / frequencies[359] - 4.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        for (change, key) in [
            (json!({"hidden_act": "gelu"}), "hidden_act"),
            (json!({"attention_mode": "cross_attn"}), "attention_mode"),
            (json!({"self_attn_every_n_layers": 0}), "self_attn_every_n_layers"),
            (json!({"num_key_value_heads": 4}), "num_key_value_heads"),
            (json!({"hidden_size": 721}), "hidden_size"),
            (json!({"min_period": -1.0}), "min_period"),
        ] {
            let error = parse(&change).unwrap_err();
            assert!(error.message.contains(key), "{change}: {error}");
            assert_eq!(error.code, crate::Code::Unsupported);
        }
    }
}
