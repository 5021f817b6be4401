//! Updates of parameters by `PyTorch`'s definitions.

use std::collections::BTreeMap;

use arena_runner::Optimizer;
use candle_core::{Result, Tensor, Var};

/// An optimizer with its state.
pub struct Update {
    optimizer: Optimizer,
    /// Steps taken.
    steps: i32,
    /// First and second moments by parameter, for `AdamW`.
    moments: BTreeMap<String, (Tensor, Tensor)>,
}

impl Update {
    /// Before the first step.
    pub fn new(optimizer: Optimizer) -> Self {
        Self { optimizer, steps: 0, moments: BTreeMap::new() }
    }

    /// Takes one step, by `torch.optim.SGD` or `torch.optim.AdamW` (Loshchilov and Hutter 2019).
    ///
    /// # Errors
    /// Candle's.
    pub fn step<'a>(
        &mut self,
        parameters: impl Iterator<Item = (&'a str, &'a Var)>,
        gradients: &BTreeMap<String, Tensor>,
    ) -> Result<()> {
        self.steps += 1;
        for (name, parameter) in parameters {
            let gradient = &gradients[name];
            let p = parameter.as_detached_tensor();
            let new = match self.optimizer {
                Optimizer::Sgd { lr } => (&p - (gradient * lr)?)?,
                Optimizer::AdamW { lr, betas: [b1, b2], eps, weight_decay } => {
                    let zero = || p.zeros_like();
                    let (m, v) = match self.moments.remove(name) {
                        Some(moments) => moments,
                        None => (zero()?, zero()?),
                    };
                    let m = ((m * b1)? + (gradient * (1.0 - b1))?)?;
                    let v = ((v * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
                    let (c1, c2) = (1.0 - b1.powi(self.steps), 1.0 - b2.powi(self.steps));
                    let denominator = ((v.sqrt()? / c2.sqrt())? + eps)?;
                    let new = ((&p * (1.0 - lr * weight_decay))? - ((&m / denominator)? * (lr / c1))?)?;
                    self.moments.insert(name.to_owned(), (m, v));
                    new
                }
            };
            parameter.set(&new)?;
        }
        Ok(())
    }
}
