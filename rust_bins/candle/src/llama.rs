//! `llama`: transformers `LlamaForCausalLM`.

use arena_runner::architecture::Parameter;
use arena_runner::architecture::llama::LlamaConfig;
use arena_runner::{Inputs, Result};
use candle_core::{Device, Tensor};

use crate::decode::{Cache, Decoder};
use crate::network::{Architecture, Bound, Network};
use crate::ops::{Linear, RmsNorm, Rotary, attend, causal_mask, cross_entropy, embedding, heads};
use crate::store::View;

/// The whole model.
pub struct Llama {
    config: LlamaConfig,
    /// `[V, hidden]`.
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Linear,
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    mlp: Mlp,
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    head_dim: usize,
}

/// The gated feed-forward layer: `down(silu(gate(x)) * up(x))`.
pub struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Architecture for LlamaConfig {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters()
    }

    fn network(&self, view: &View<'_>) -> candle_core::Result<Box<dyn Network>> {
        Ok(Box::new(Llama::load(self, view)?))
    }
}

impl Llama {
    /// The model over the parameters of `view`.
    fn load(config: &LlamaConfig, view: &View<'_>) -> candle_core::Result<Self> {
        let embedding = view.get("model.embed_tokens.weight")?;
        let lm_head = if config.tie_word_embeddings {
            Linear::new(embedding.clone(), None)
        } else {
            Linear::load(view, "lm_head")?
        };
        let layers = (0..config.num_hidden_layers).map(|i| Layer::load(config, view, &format!("model.layers.{i}")));
        Ok(Self {
            config: config.clone(),
            embedding,
            layers: layers.collect::<candle_core::Result<_>>()?,
            norm: RmsNorm::load(view, "model.norm", config.rms_norm_eps)?,
            lm_head,
        })
    }

    /// `input_ids` `[B, T]` to the normalised hidden states `[B, T, hidden]`, after what `cache` holds.
    fn hidden(&self, input_ids: &Tensor, mut cache: Option<&mut Cache>) -> candle_core::Result<Tensor> {
        let t = input_ids.dim(1)?;
        let past = cache.as_ref().map_or(0, |cache| cache.length());
        let device = input_ids.device();
        let rotary = Rotary::new(self.config.rope_theta, self.config.head_dim(), past, t, device)?;
        let mask = if t > 1 { Some(causal_mask(t, past, device)?) } else { None };
        let mut x = embedding(&self.embedding, input_ids, self.config.padding_row)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &rotary, mask.as_ref(), cache.as_deref_mut().map(|cache| (cache, i)))?;
        }
        self.norm.forward(&x)
    }
}

impl Network for Llama {
    fn output_name(&self) -> &'static str {
        "logits"
    }

    fn bind(&self, inputs: &Inputs, with_loss: bool, device: &Device) -> Result<Bound> {
        let inputs = self.config.inputs(inputs, with_loss)?;
        let shape = [inputs.batch, inputs.seq];
        let bound = Bound::on(device).ids("input_ids", inputs.input_ids, &shape)?;
        let Some(labels) = inputs.labels else { return Ok(bound) };
        // The first label of a row is nobody's next one.
        let next_ids: Vec<i64> = labels.chunks(inputs.seq).flat_map(|row| &row[1..]).copied().collect();
        bound.ids("next_ids", &next_ids, &[inputs.batch, inputs.seq - 1])
    }

    fn forward(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        self.lm_head.forward(&self.hidden(inputs.get("input_ids")?, None)?)
    }

    /// The mean over the positions that have a next one.
    fn loss(&self, inputs: &Bound) -> candle_core::Result<Tensor> {
        let next_ids = inputs.get("next_ids")?;
        let hidden = self.hidden(inputs.get("input_ids")?, None)?.narrow(1, 0, next_ids.dim(1)?)?;
        let logits = self.lm_head.forward(&hidden.contiguous()?)?;
        cross_entropy(&logits.flatten(0, 1)?, &next_ids.flatten_all()?)
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }
}

impl Decoder for Llama {
    fn start(&self, inputs: &Bound, new_tokens: usize) -> candle_core::Result<(Tensor, Cache)> {
        let prompt = inputs.get("input_ids")?;
        let mut cache = Cache::new(self.config.num_hidden_layers, prompt.dim(1)? + new_tokens);
        Ok((self.advance(prompt, &mut cache)?, cache))
    }

    fn advance(&self, ids: &Tensor, cache: &mut Cache) -> candle_core::Result<Tensor> {
        let hidden = self.hidden(ids, Some(cache))?;
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?.contiguous()?;
        self.lm_head.forward(&last)?.squeeze(1)
    }
}

impl Layer {
    fn load(config: &LlamaConfig, view: &View<'_>, name: &str) -> candle_core::Result<Self> {
        let norm = |part| RmsNorm::load(view, &format!("{name}.{part}"), config.rms_norm_eps);
        let linear = |part| Linear::load(view, &format!("{name}.{part}"));
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention {
                q_proj: linear("self_attn.q_proj")?,
                k_proj: linear("self_attn.k_proj")?,
                v_proj: linear("self_attn.v_proj")?,
                o_proj: linear("self_attn.o_proj")?,
                head_dim: config.head_dim(),
            },
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(view, &format!("{name}.mlp"))?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        mask: Option<&Tensor>,
        cache: Option<(&mut Cache, usize)>,
    ) -> candle_core::Result<Tensor> {
        let x = (x + self.attention.forward(&self.input_norm.forward(x)?, rotary, mask, cache)?)?;
        &x + self.mlp.forward(&self.post_attention_norm.forward(&x)?)?
    }
}

impl Attention {
    fn forward(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        mask: Option<&Tensor>,
        cache: Option<(&mut Cache, usize)>,
    ) -> candle_core::Result<Tensor> {
        let q = rotary.rotate(&heads(&self.q_proj.forward(x)?, self.head_dim)?)?;
        let k = rotary.rotate(&heads(&self.k_proj.forward(x)?, self.head_dim)?)?;
        let v = heads(&self.v_proj.forward(x)?, self.head_dim)?;
        let (k, v) = match cache {
            None => (k, v),
            Some((cache, layer)) => cache.append(layer, &k, &v)?,
        };
        self.o_proj.forward(&attend(&q, &k, &v, mask)?)
    }
}

impl Mlp {
    /// The layer whose projections are under `NAME`.
    ///
    /// # Errors
    /// When one is not listed.
    pub fn load(view: &View<'_>, name: &str) -> candle_core::Result<Self> {
        let linear = |part| Linear::load(view, &format!("{name}.{part}"));
        Ok(Self { gate: linear("gate_proj")?, up: linear("up_proj")?, down: linear("down_proj")? })
    }

    /// `x` `[.., hidden]`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.down.forward(&(self.gate.forward(x)?.silu()? * self.up.forward(x)?)?)
    }
}
