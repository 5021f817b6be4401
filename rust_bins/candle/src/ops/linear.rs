//! Linear layers.

use candle_core::{Result, Tensor};

use crate::graft::graft2;
use crate::store::View;

/// `y = x Wᵀ + b`.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// The layer whose parameters are `NAME.weight` `[out, in]` and, where the architecture lists it, `NAME.bias`.
    ///
    /// # Errors
    /// When the weight is not listed.
    pub fn load(view: &View<'_>, name: &str) -> Result<Self> {
        Ok(Self { weight: view.get(&format!("{name}.weight"))?, bias: view.find(&format!("{name}.bias"))? })
    }

    /// A layer of these parameters.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `x` `[.., in]` to `[.., out]`.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight)?;
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(bias),
        }
    }
}

/// `x Wᵀ`, with `x` `[.., in]` and `w` `[out, in]`.
///
/// Candle's graph has this as a product with a transposed view, and carries every weight gradient back through that
/// view by strided additions, several times the cost of the product itself at one hundred rows. The two products of
/// the backward pass give both gradients in the layout that they are wanted in.
fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (rows, wd) = (rows(&x.detach())?, w.detach());
    let y = rows.matmul(&wd.t()?)?;
    let shape = [&x.dims()[..x.rank() - 1], &[w.dim(0)?]].concat();
    let (x_shape, tracks) = (x.dims().to_vec(), (x.track_op(), w.track_op()));
    graft2("linear", (x, w), y.reshape(shape)?, move |_, g| {
        let g = self::rows(g)?;
        Ok([
            tracks.0.then(|| g.matmul(&wd)?.reshape(x_shape.as_slice())).transpose()?,
            tracks.1.then(|| g.t()?.matmul(&rows)).transpose()?,
        ])
    })
}

/// `[.., n]` as `[rows, n]`.
fn rows(x: &Tensor) -> Result<Tensor> {
    x.reshape(((), x.dim(candle_core::D::Minus1)?))
}
