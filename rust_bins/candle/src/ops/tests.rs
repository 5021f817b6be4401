//! Every grafted gradient against finite differences, and what candle's own would have been.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::conv::convolve;
use super::norm::{GroupNorm, LayerNorm, RmsNorm};
use super::{Linear, Rotary, add_to_channels, attend, causal_mask, cross_entropy, gelu, max_pool_3x3, relu};

/// Values in a fixed, irregular order within -1 .. 1, so that no two windows tie.
fn values(shape: &[usize], seed: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| (((i as u32 + 1) * 7919 + seed * 104_729) % 10_007) as f32 / 5_003.5 - 1.0;
    Tensor::from_vec((0..n).map(value).collect(), shape, &Device::Cpu).expect("as many values as the shape")
}

/// A scalar of `y` in which every element has another weight.
fn weighted(y: &Tensor) -> Result<Tensor> {
    (y * values(y.dims(), 99))?.sum_all()
}

/// Checks the gradient of `weighted(f)` for each argument by central differences.
fn check(shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const H: f64 = 5e-3;
    let tensors: Vec<_> = shapes.iter().zip(1..).map(|(shape, seed)| values(shape, seed)).collect();
    let vars: Vec<_> = tensors.iter().map(|t| Var::from_tensor(t).expect("a variable")).collect();
    let tracked: Vec<_> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let grads = weighted(&f(&tracked).expect("forward")).and_then(|y| y.backward()).expect("backward");
    for (at, var) in vars.iter().enumerate() {
        let grad = grads.get(var).unwrap_or_else(|| panic!("no gradient for argument {at}"));
        assert_eq!(grad.dims(), var.dims());
        let grad: Vec<f32> = grad.flatten_all().and_then(|g| g.to_vec1()).expect("values");
        let base: Vec<f32> = tensors[at].flatten_all().and_then(|t| t.to_vec1()).expect("values");
        for (i, &actual) in grad.iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = base.clone();
                moved[i] = (f64::from(moved[i]) + by) as f32;
                let mut arguments = tensors.clone();
                arguments[at] = Tensor::from_vec(moved, shapes[at], &Device::Cpu).expect("as before");
                let y = f(&arguments).and_then(|y| weighted(&y.to_dtype(DType::F32)?)).expect("forward");
                f64::from(y.to_scalar::<f32>().expect("a scalar"))
            };
            let expected = (moved(H) - moved(-H)) / (2.0 * H);
            let off = (f64::from(actual) - expected).abs();
            assert!(off < 2e-3 * expected.abs().max(1.0), "argument {at} at {i}: {actual}, expected {expected}");
        }
    }
}

#[test]
fn linear() {
    check(&[&[2, 3, 4], &[5, 4], &[5]], |a| Linear::new(a[1].clone(), Some(a[2].clone())).forward(&a[0]));
}

#[test]
fn convolutions_of_every_stride_and_padding() {
    for (size, kernel, stride, padding) in [
        ((5, 6), (3, 3), 1, (1, 1)),
        ((6, 5), (3, 3), 2, (1, 1)),
        ((5, 4), (1, 1), 2, (0, 0)),
        ((1, 7), (1, 3), 2, (0, 1)),
    ] {
        check(&[&[2, 2, size.0, size.1], &[3, 2, kernel.0, kernel.1]], |a| convolve(&a[0], &a[1], stride, padding));
    }
}

#[test]
fn convolution_is_candles_own() {
    let (x, w) = (values(&[2, 3, 9, 8], 1), values(&[4, 3, 3, 3], 2));
    for stride in [1, 2] {
        let ours = convolve(&x, &w, stride, (1, 1)).unwrap();
        let theirs = x.conv2d(&w, 1, stride, 1, 1).unwrap();
        let off = (ours - theirs).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(off < 1e-5, "stride {stride}: {off}");
    }
}

#[test]
fn norms() {
    check(&[&[3, 4], &[4]], |a| RmsNorm::new(a[1].clone(), 1e-5).forward(&a[0]));
    check(&[&[3, 4], &[4], &[4]], |a| LayerNorm::new(a[1].clone(), a[2].clone(), 1e-5).forward(&a[0]));
    check(&[&[2, 4, 2, 3], &[4], &[4]], |a| GroupNorm::new(a[1].clone(), a[2].clone(), 2, 1e-5).forward(&a[0]));
}

#[test]
fn grouped_attention_behind_rotations() {
    check(&[&[1, 4, 3, 4], &[1, 2, 3, 4], &[1, 2, 3, 4]], |a| {
        let rotary = Rotary::new(100.0, 4, 2, 3, &Device::Cpu)?;
        attend(&rotary.rotate(&a[0])?, &rotary.rotate(&a[1])?, &a[2], Some(&causal_mask(3, 0, &Device::Cpu)?))
    });
}

#[test]
fn activations_and_channels() {
    check(&[&[2, 7]], |a| gelu(&a[0]));
    check(&[&[2, 7]], |a| relu(&a[0]));
    check(&[&[2, 3, 2, 2], &[3], &[2, 3]], |a| add_to_channels(&add_to_channels(&a[0], &a[1])?, &a[2]));
}

#[test]
fn overlapping_pooling() {
    check(&[&[1, 2, 5, 6]], |a| max_pool_3x3(&a[0]));
}

#[test]
fn cross_entropy_of_rows() {
    let labels = Tensor::new(&[2u32, 0, 4], &Device::Cpu).unwrap();
    check(&[&[3, 5]], |a| cross_entropy(&a[0], &labels));
}

/// Why there are grafts at all: if these fail, candle has learned the gradient and the graft can go.
#[test]
fn candles_own_kernels_have_no_gradient() {
    let x = Var::from_tensor(&values(&[2, 4], 1)).unwrap();
    let w = Tensor::ones(4, DType::F32, &Device::Cpu).unwrap();
    for y in [candle_nn::ops::softmax_last_dim(&x), candle_nn::ops::rms_norm(&x, &w, 1e-5)] {
        assert!(weighted(&y.unwrap()).unwrap().backward().unwrap().get(&x).is_none());
    }
    let image = Var::from_tensor(&values(&[1, 1, 7, 7], 1)).unwrap();
    assert!(image.max_pool2d_with_stride(3, 2).unwrap().sum_all().unwrap().backward().is_err());
    let zero = Var::from_tensor(&Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap()).unwrap();
    let grads = zero.relu().unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&zero).unwrap().to_vec1::<f32>().unwrap(), [1.0]);
}
