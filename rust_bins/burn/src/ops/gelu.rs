//! The exact GELU (Hendrycks and Gimpel 2016).

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Tensor, activation};

use crate::backend::is_host;

/// `x Φ(x)`, where `Φ` is the normal distribution's.
///
/// On a GPU burn's own has the derivative of another function, of the approximation by `tanh`: up to 8.7e-4 off. On a
/// tape it is composed there. Flex has an exact one.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !x.device().is_autodiff() || is_host(&x.device().inner()) {
        return activation::gelu(x);
    }
    composed(x)
}

/// Of the error function, whose derivative is its own on every backend.
fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let share = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * share
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// `x`, `x Φ(x)` and its derivative `Φ(x) + x φ(x)`, from an error function of double precision.
    const EXACT: [(f32, f32, f32); 6] = [
        (-3.0, -0.004_049_694, -0.011_945_647),
        (-1.5, -0.100_210_8, -0.127_469_2),
        (-0.5, -0.154_268_77, 0.132_504_88),
        (0.25, 0.149_676_57, 0.695_373_35),
        (1.0, 0.841_344_8, 1.083_315_5),
        (2.5, 2.484_475_8, 1.037_611_1),
    ];

    /// Values and derivatives of a function at the points of the table.
    fn differentiated(device: &Device, function: impl Fn(Tensor<1>) -> Tensor<1>) -> [Vec<f32>; 2] {
        let points = TensorData::new(EXACT.map(|(x, ..)| x).to_vec(), [EXACT.len()]);
        let x = Tensor::<1>::from_data(points, device).require_grad();
        let y = function(x.clone());
        let values = |tensor: Tensor<1>| tensor.into_data().try_into_vec::<f32>().unwrap();
        let gradients = y.clone().sum().backward();
        [values(y.inner()), values(x.grad(&gradients).unwrap())]
    }

    #[test]
    fn values_and_derivatives_are_exact() {
        let device = Device::flex().autodiff();
        for function in [gelu::<1>, composed::<1>] {
            let [values, derivatives] = differentiated(&device, function);
            for ((&(x, value, derivative), found), slope) in EXACT.iter().zip(values).zip(derivatives) {
                assert!((found - value).abs() < 1e-6, "{x}: {found}");
                assert!((slope - derivative).abs() < 1e-6, "{x}: {slope}");
            }
        }
    }
}
