//! Losses.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Mean cross entropy of `logits` `[N, classes]` and `labels` `[N]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).mean().neg()
}

/// Mean squared error.
pub fn mean_squared_error<const D: usize>(x: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    (x - target).square().mean()
}
