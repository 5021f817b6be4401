//! The updates of `step`, as graph: `PyTorch`'s definitions of SGD and `AdamW`
//! (<https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html>).

use arena_runner::Optimizer;
use luminal::prelude::{Graph, NodeIndex, Tensor as Data};

use crate::scope::Scope;
use crate::tensor::Tensor;

/// An optimizer, how many steps it has made, and the two numbers of the next one.
pub struct Schedule {
    optimizer: Optimizer,
    steps: i32,
    /// `lr / (1 - β₁ᵗ)`.
    step_size: Tensor,
    /// `1 / √(1 - β₂ᵗ)`.
    correction: Tensor,
}

/// A parameter after the update, and its moments before and after.
pub struct Updated {
    /// The parameter.
    pub value: Tensor,
    /// First and second moment, for `AdamW`.
    pub moments: Vec<(Tensor, Tensor)>,
}

impl Schedule {
    /// Before the first step.
    pub fn new(optimizer: Optimizer, scope: &mut Scope) -> Self {
        let mut number = |name: &str| scope.table(name, &[], vec![0.0]);
        Self { optimizer, steps: 0, step_size: number("step size"), correction: number("correction") }
    }

    /// Sets the numbers of the next step.
    pub fn advance(&mut self, graph: &mut Graph) {
        self.steps += 1;
        let Optimizer::AdamW { lr, betas, .. } = self.optimizer else { return };
        let power = |beta: f64| 1.0 - beta.powi(self.steps);
        let mut set = |node: NodeIndex, value: f64| graph.set_tensor(node, 0, Data::new(vec![value as f32]));
        set(self.step_size.node(), lr / power(betas[0]));
        set(self.correction.node(), 1.0 / power(betas[1]).sqrt());
    }
}

/// SGD: `p - lr·g`. `AdamW`: `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`,
/// `p = p(1 - lr·wd) - step_size · m / (√v · correction + ε)`.
pub fn update(schedule: &Schedule, scope: &mut Scope, value: Tensor, gradient: Tensor) -> Updated {
    match schedule.optimizer {
        Optimizer::Sgd { lr } => Updated { value: value + gradient * -(lr as f32), moments: vec![] },
        Optimizer::AdamW { lr, betas, eps, weight_decay } => {
            let shape = value.shape();
            let [m, v] = ["first moment", "second moment"].map(|name| Tensor::input(scope.graph(), name, &shape));
            let [b1, b2] = betas;
            let m_new = m * b1 as f32 + gradient * (1.0 - b1) as f32;
            let v_new = v * b2 as f32 + gradient * gradient * (1.0 - b2) as f32;
            let direction = m_new / (v_new.sqrt() * schedule.correction + eps as f32);
            let decayed = value * (1.0 - lr * weight_decay) as f32;
            Updated { value: decayed - direction * schedule.step_size, moments: vec![(m, m_new), (v, v_new)] }
        }
    }
}
