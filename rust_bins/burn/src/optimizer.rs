//! `step`: burn's own optimizers, one state a parameter.

use arena_runner::{Error, Optimizer as Choice, Result};
use burn::optim::{AdamW, AdamWConfig, AdamWState, Optimizer, Sgd, SgdConfig};
use burn::tensor::Tensor;

use crate::parameters::Store;

/// An optimizer and what it remembers of each parameter; the first `advance` is step 1.
pub enum State {
    Sgd { rule: Sgd, lr: f64 },
    AdamW { rule: AdamW, lr: f64, moments: Vec<Option<AdamWState<1>>> },
}

impl State {
    /// The state before the first step.
    pub fn new(choice: &Choice) -> Self {
        match *choice {
            Choice::Sgd { lr } => Self::Sgd { rule: SgdConfig::new().build(), lr },
            Choice::AdamW { lr, betas: [beta_1, beta_2], eps, weight_decay } => {
                let rule = AdamWConfig::new()
                    .with_beta_1(beta_1 as f32)
                    .with_beta_2(beta_2 as f32)
                    .with_epsilon(eps as f32)
                    .with_weight_decay(weight_decay as f32)
                    .build();
                Self::AdamW { rule, lr, moments: Vec::new() }
            }
        }
    }

    /// Updates every trainable parameter by its gradient, consuming the gradients.
    ///
    /// # Errors
    /// `internal` when a parameter has no gradient.
    pub fn advance(&mut self, store: &Store, gradients: &mut Vec<(usize, Tensor<1>)>) -> Result<()> {
        let mut gradients = std::mem::take(gradients).into_iter();
        store.update(|i, slot, value| {
            let gradient = gradients.next().filter(|(at, _)| *at == i);
            let Some((_, gradient)) = gradient else {
                return Err(Error::internal(format!("no gradient of `{}`", slot.parameter.name)));
            };
            Ok(match self {
                Self::Sgd { rule, lr } => rule.step(*lr, value, gradient, None).0,
                Self::AdamW { rule, lr, moments } => {
                    if moments.len() <= i {
                        moments.resize_with(i + 1, || None);
                    }
                    let (value, next) = rule.step(*lr, value, gradient, moments[i].take());
                    moments[i] = next;
                    value
                }
            })
        })
    }
}
