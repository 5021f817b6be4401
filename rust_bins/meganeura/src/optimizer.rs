//! `step`: the framework's own optimizers, by `PyTorch`'s definitions.

use arena_runner::Optimizer;
use meganeura::Session;

/// A step count at which the framework's own bias corrections are one in float32 (for any decay below 0.99999).
const LATE: u32 = 1 << 24;

/// An optimizer and how many steps it has taken.
pub struct Schedule {
    optimizer: Optimizer,
    taken: i32,
}

impl Schedule {
    /// An optimizer that has taken no step.
    pub fn new(optimizer: Optimizer) -> Self {
        Self { optimizer, taken: 0 }
    }

    /// Sets the session up for the next step.
    ///
    /// The framework's SGD is `p -= lr * g` and its `AdamW` is `PyTorch`'s, but it computes the bias corrections
    /// `1 - beta^t` on the device, where a float32 `pow` next to one leaves them four digits. So they are made here in
    /// float64 and folded into the step: with `c1 = 1 - beta1^t` and `c2 = 1 - beta2^t`,
    /// `lr (m / c1) / (sqrt(v / c2) + eps)` is `lr' m / (sqrt(v) + eps')` for `lr' = lr sqrt(c2) / c1` and
    /// `eps' = eps sqrt(c2)`; the decoupled decay `lr * decay` keeps its size with `decay' = decay * lr / lr'`. The
    /// device also takes `1 - beta` of the rounded `beta`, so that its moments are too large by a factor that `c` can
    /// hold.
    pub fn prepare(&mut self, session: &mut Session) {
        self.taken += 1;
        match self.optimizer {
            Optimizer::Sgd { lr } => session.set_learning_rate(lr as f32),
            Optimizer::AdamW { lr, betas, eps, weight_decay } => {
                let [c1, c2] = betas.map(|beta| {
                    let rounded = f64::from(beta as f32);
                    (1.0 - beta.powi(self.taken)) * (1.0 - rounded) / (1.0 - beta)
                });
                let factor = c2.sqrt() / c1;
                session.set_adam((lr * factor) as f32, betas[0] as f32, betas[1] as f32, (eps * c2.sqrt()) as f32);
                session.set_weight_decay((weight_decay / factor) as f32);
                session.set_adam_step_count(LATE);
            }
        }
    }
}
