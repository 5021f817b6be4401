//! Losses.

use candle_core::{D, Result, Tensor};

use crate::graft::graft1;

/// The mean over rows of `-log softmax(logits)[label]`: `logits` `[N, V]`, `labels` ids `[N]`.
///
/// Candle's own form passes over the logits once for each of eight recorded operations, and again for each backward.
/// Here its softmax `p` serves both passes: `log p[label] = x[label] - max(x) + log max(p)`, where the last term is well
/// conditioned because `max(p) >= 1 / V`; the gradient is `(p - [label]) / N`.
///
/// # Errors
/// Candle's.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let n = logits.dim(0)?;
    let labels = labels.reshape((n, 1))?;
    let x = logits.detach();
    let p = candle_nn::ops::softmax_last_dim(&x)?;
    let log_p = ((x.gather(&labels, 1)? - x.max_keepdim(D::Minus1)?)? + p.max_keepdim(D::Minus1)?.log()?)?;
    let loss = log_p.mean_all()?.neg()?;
    graft1("cross_entropy", logits, loss, move |_, g| {
        let scale = f64::from(g.to_scalar::<f32>()?) / n as f64;
        let one_hot = Tensor::full(-(scale as f32), (n, 1), g.device())?;
        p.affine(scale, 0.0)?.scatter_add(&labels, &one_hot, 1)
    })
}

/// The mean of `(x - target)²`.
///
/// # Errors
/// Candle's.
pub fn mean_squared_error(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    (x - target)?.sqr()?.mean_all()
}
