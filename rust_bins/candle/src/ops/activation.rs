//! Activations whose gradient candle has slightly wrong.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::{Result, Tensor};

use crate::graft::graft1;

/// `x Φ(x)`, exactly. Candle's `gelu_erf` has the constant `1 / sqrt(2 π)` of its derivative with six digits only.
///
/// # Errors
/// Candle's.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let xd = x.detach();
    graft1("gelu", x, xd.gelu_erf()?, move |_, g| {
        let cumulative = (((&xd * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
        let density = ((xd.sqr()? * -0.5)?.exp()? * (1.0 / (2.0 * PI).sqrt()))?;
        g * (cumulative + (&xd * density)?)?
    })
}

/// `max(x, 0)`. Candle's derivative is one at zero; `PyTorch`'s is zero.
///
/// # Errors
/// Candle's.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    graft1("relu", x, x.detach().relu()?, |y, g| g * y.gt(0f32)?.to_dtype(g.dtype())?)
}
