//! Tasks and boundaries of the contract, with their options.

use serde::Deserialize;

/// What a program does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// One forward pass.
    Infer,
    /// Greedy generation with a key/value cache.
    Decode {
        /// How many tokens to generate.
        new_tokens: usize,
    },
    /// Forward, loss and the gradient of every trainable parameter.
    Train,
    /// `train` plus the update: every execution is one step and changes the weights.
    Step(Optimizer),
}

impl Task {
    /// The contract's name of the task.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Decode { .. } => "decode",
            Self::Train => "train",
            Self::Step(_) => "step",
        }
    }

    /// Whether the task needs labels or a target: it computes a loss.
    pub fn has_loss(&self) -> bool {
        matches!(self, Self::Train | Self::Step(_))
    }
}

/// The optimizer of a `step`, by `PyTorch`'s definitions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Optimizer {
    /// `torch.optim.SGD` without momentum: `p -= lr * grad`.
    Sgd {
        /// Learning rate.
        lr: f64,
    },
    /// `torch.optim.AdamW`: decoupled weight decay, bias-corrected moments.
    AdamW {
        /// Learning rate.
        lr: f64,
        /// Decay rates of the first and second moment.
        betas: [f64; 2],
        /// Added to the root of the corrected second moment.
        eps: f64,
        /// Decoupled weight decay.
        weight_decay: f64,
    },
}

/// Where a sample starts and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// Inputs start in host memory, outputs end in host memory.
    Host,
    /// Inputs are resident, outputs stay on the device, which is synchronised before the clock stops.
    Device,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizers_are_read_as_the_contract_writes_them() {
        let read = serde_json::from_str::<Optimizer>;
        assert_eq!(read(r#"{"name":"sgd","lr":1}"#).unwrap(), Optimizer::Sgd { lr: 1.0 });
        assert_eq!(
            read(r#"{"name":"adamw","lr":0.1,"betas":[0.9,0.99],"eps":1e-8,"weight_decay":0.0}"#).unwrap(),
            Optimizer::AdamW { lr: 0.1, betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.0 }
        );
        assert!(read(r#"{"name":"adam","lr":0.1}"#).is_err());
        assert!(read(r#"{"name":"sgd"}"#).is_err());
    }
}
