//! `llama`: pre-norm decoder with rotary positions, grouped-query attention and a gated feed-forward layer.

use std::rc::Rc;

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Inputs, Program, Result};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::decode::{Decode, Generative};
use crate::ops::{KeyValues, Linear, Rotary, Visible, attention, cross_entropy, embedding, heads, rms_norm};
use crate::parameters::{Handles, Table};
use crate::program::{Architecture, Flat, Loaded};

/// The model on one set of parameters.
pub struct Llama {
    config: Rc<LlamaConfig>,
    /// `[V, hidden]`.
    embed_tokens: Tensor<2>,
    layers: Vec<Layer>,
    norm: Tensor<1>,
    lm_head: Linear,
}

struct Layer {
    input_layernorm: Tensor<1>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: Tensor<1>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// The inputs on the device.
pub struct Batch {
    /// `[B, T]`.
    input_ids: Tensor<2, Int>,
    /// `[B * (T - 1)]`: the label of position `t + 1` for each position `t`.
    targets: Option<Tensor<1, Int>>,
    rotary: Rotary,
    visible: Visible,
}

/// The parameters as they are held on the device: every projection as `[in, out]`.
pub fn table(config: &LlamaConfig) -> Table {
    let embedding = |parameter: &Parameter| parameter.name == "model.embed_tokens.weight";
    Table::new(config.parameters(), |parameter| !embedding(parameter))
}

impl Architecture for Llama {
    type Config = LlamaConfig;
    type Batch = Batch;
    const OUTPUT: &'static str = "logits";

    fn batch(config: &LlamaConfig, inputs: &Inputs, targets: bool, device: &Device) -> Result<Batch> {
        batch(config, inputs, targets, 0, device)
    }

    fn load(config: &Rc<LlamaConfig>, p: &Handles) -> Self {
        let linear = |name: &str| Linear::load(p, name);
        let layer = |i: usize| {
            let at = |name: &str| format!("model.layers.{i}.{name}");
            Layer {
                input_layernorm: p.get(&at("input_layernorm.weight")),
                q_proj: linear(&at("self_attn.q_proj")),
                k_proj: linear(&at("self_attn.k_proj")),
                v_proj: linear(&at("self_attn.v_proj")),
                o_proj: linear(&at("self_attn.o_proj")),
                post_attention_layernorm: p.get(&at("post_attention_layernorm.weight")),
                gate_proj: linear(&at("mlp.gate_proj")),
                up_proj: linear(&at("mlp.up_proj")),
                down_proj: linear(&at("mlp.down_proj")),
            }
        };
        let embed_tokens: Tensor<2> = p.get("model.embed_tokens.weight");
        let lm_head = if config.tie_word_embeddings {
            Linear { weight: embed_tokens.clone().transpose(), bias: None }
        } else {
            linear("lm_head")
        };
        Self {
            config: Rc::clone(config),
            embed_tokens,
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: p.get("model.norm.weight"),
            lm_head,
        }
    }

    fn infer(&self, batch: &Batch) -> Flat {
        let hidden = self.forward(batch.input_ids.clone(), batch, 0, None);
        self.lm_head.forward(hidden).into()
    }

    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let hidden = self.forward(batch.input_ids.clone(), batch, 0, None);
        let [b, t, width] = hidden.dims();
        // The last position predicts nothing: it is cut before the largest product, not after it.
        let hidden = hidden.narrow(1, 0, t - 1).reshape([b * (t - 1), width]);
        let targets = batch.targets.clone().expect("a batch with targets");
        cross_entropy(self.lm_head.forward(hidden), targets)
    }

    fn decode(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Box<dyn Program>> {
        Ok(Box::new(Decode::new(loaded, inputs, new_tokens)?))
    }
}

impl Generative for Llama {
    /// One a layer, and the number of positions read.
    type Cache = (Vec<KeyValues>, usize);

    fn prompt(loaded: &Loaded<Self>, inputs: &Inputs, new_tokens: usize) -> Result<Batch> {
        batch(&loaded.config, inputs, false, new_tokens, &loaded.device)
    }

    fn start(&self, batch: &Batch) -> (Self::Cache, Tensor<2>) {
        let mut cache = (vec![KeyValues::default(); self.layers.len()], 0);
        let logits = self.next(batch, &mut cache, batch.input_ids.clone());
        (cache, logits)
    }

    fn next(&self, batch: &Batch, (cache, read): &mut Self::Cache, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [b, t] = tokens.dims();
        let hidden = self.forward(tokens, batch, *read, Some(cache));
        *read += t;
        self.lm_head.forward(hidden.narrow(1, t - 1, 1).reshape([b, self.config.hidden_size]))
    }
}

impl Llama {
    /// The normed hidden states `[B, T, hidden]` of `input_ids` `[B, T]`, which stand at positions `start..`.
    fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        batch: &Batch,
        start: usize,
        mut cache: Option<&mut Vec<KeyValues>>,
    ) -> Tensor<3> {
        let eps = self.config.rms_norm_eps;
        let t = input_ids.dims()[1];
        let mut x = embedding(self.embed_tokens.clone(), input_ids, self.config.padding_row);
        let rotary = batch.rotary.at(start, t);
        for (i, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_mut().map(|cache| &mut cache[i]);
            let h = rms_norm(x.clone(), layer.input_layernorm.clone(), eps);
            x = x + layer.attend(h, &self.config, &rotary, batch.visible.clone(), cache);
            let h = rms_norm(x.clone(), layer.post_attention_layernorm.clone(), eps);
            x = x + layer.feed(h);
        }
        rms_norm(x, self.norm.clone(), eps)
    }
}

impl Layer {
    fn attend(
        &self,
        x: Tensor<3>,
        config: &LlamaConfig,
        rotary: &Rotary,
        visible: Visible,
        cache: Option<&mut KeyValues>,
    ) -> Tensor<3> {
        let q = rotary.forward(self.q_proj.forward(x.clone()));
        let mut k = rotary.forward(self.k_proj.forward(x.clone()));
        let mut v = heads(self.v_proj.forward(x), config.kv_heads());
        if let Some(cache) = cache {
            (k, v) = cache.extend(k, v);
        }
        self.o_proj.forward(attention(q, k, v, visible))
    }

    fn feed(&self, x: Tensor<3>) -> Tensor<3> {
        self.down_proj.forward(silu(self.gate_proj.forward(x.clone())) * self.up_proj.forward(x))
    }
}

fn batch(config: &LlamaConfig, inputs: &Inputs, targets: bool, more: usize, device: &Device) -> Result<Batch> {
    let inputs = config.inputs(inputs, targets)?;
    let (b, t) = (inputs.batch, inputs.seq);
    let targets = inputs.labels.map(|labels| {
        let shifted: Vec<i64> = labels.chunks_exact(t).flat_map(|row| row[1..].iter().copied()).collect();
        Tensor::from_data(TensorData::new(shifted, [b * (t - 1)]), device)
    });
    Ok(Batch {
        input_ids: Tensor::from_data(TensorData::new(inputs.input_ids.to_vec(), [b, t]), device),
        targets,
        rotary: Rotary::new(0..t + more, config.head_dim(), config.rope_theta, device),
        visible: Visible::causal(t, t, inputs.labels.is_some(), device),
    })
}
