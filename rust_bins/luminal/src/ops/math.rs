//! Elementwise functions over slices, written so that the compiler vectorises them.
//!
//! `std`'s `exp2` is a call an element. The two functions here have no branches and no calls; the tests hold their
//! errors against `f64`.

/// A function of one number, applied to slices under the widest vector instructions of the machine.
#[inline]
pub fn map(dst: &mut [f32], src: &[f32], f: impl Fn(f32) -> f32) {
    struct Op<'a, F>(&'a mut [f32], &'a [f32], F);
    impl<F: Fn(f32) -> f32> pulp::WithSimd for Op<'_, F> {
        type Output = ();
        #[inline(always)]
        #[allow(clippy::inline_always)] // what makes the loop inherit the instruction set
        fn with_simd<S: pulp::Simd>(self, _: S) {
            for (d, &x) in self.0.iter_mut().zip(self.1) {
                *d = (self.2)(x);
            }
        }
    }
    arch().dispatch(Op(dst, src, f));
}

/// The same for a function of two numbers.
#[inline]
pub fn zip(dst: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) {
    struct Op<'a, F>(&'a mut [f32], &'a [f32], &'a [f32], F);
    impl<F: Fn(f32, f32) -> f32> pulp::WithSimd for Op<'_, F> {
        type Output = ();
        #[inline(always)]
        #[allow(clippy::inline_always)]
        fn with_simd<S: pulp::Simd>(self, _: S) {
            for ((d, &x), &y) in self.0.iter_mut().zip(self.1).zip(self.2) {
                *d = (self.3)(x, y);
            }
        }
    }
    arch().dispatch(Op(dst, a, b, f));
}

/// A sum in `f64`: gradients of norms cancel to a thousandth of their terms.
pub fn sum_of(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let chunks = values.chunks_exact(16);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(v)).sum();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(v);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// The largest of all.
pub fn max_of(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().copied().fold(rest, f32::max)
}

/// The instruction set, found once.
fn arch() -> pulp::Arch {
    static ARCH: std::sync::OnceLock<pulp::Arch> = std::sync::OnceLock::new();
    *ARCH.get_or_init(pulp::Arch::new)
}

/// `2^x`: the nearest integer goes to the exponent, the rest in `[-1/2, 1/2]` to the Taylor polynomial of degree 7
/// (truncation error 5e-9, relative). Results below the smallest normal number are zero.
#[inline(always)]
#[allow(clippy::inline_always)]
pub fn exp2(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to an integer without a call.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -127.0 { -127.0 } else { x };
    let clamped = if clamped > 128.0 { 128.0 } else { clamped };
    let shifted = clamped + ROUND;
    let whole = shifted - ROUND;
    let f = clamped - whole;
    let mut p = 1.525_273_4e-5_f32;
    p = p * f + 1.540_353e-4;
    p = p * f + 1.333_355_8e-3;
    p = p * f + 9.618_129e-3;
    p = p * f + 5.550_411e-2;
    p = p * f + 2.402_265e-1;
    p = p * f + std::f32::consts::LN_2;
    p = p * f + 1.0;
    // The integer sits in the low bits of `shifted`; half of it goes into each of two scales, so that 2^128 does not overflow
    // before the product does.
    let n = shifted.to_bits().cast_signed().wrapping_sub(ROUND.to_bits().cast_signed());
    let half = n >> 1;
    let scale = |e: i32| f32::from_bits((e.wrapping_add(127) << 23).cast_unsigned());
    let y = p * scale(half) * scale(n.wrapping_sub(half));
    let y = if x < -126.0 { 0.0 } else { y };
    if x.is_nan() { x } else { y }
}

/// `erf(x)`: an odd rational function of degree 13 over 8 on `[-4, 4]`, beyond which `f32` is one. The coefficients are the
/// minimax fit that XLA and Eigen document for `f32` (`generic_fast_erf_float`).
#[inline(always)]
#[allow(clippy::inline_always)]
pub fn erf(x: f32) -> f32 {
    let c = if x < -4.0 { -4.0 } else { x };
    let c = if c > 4.0 { 4.0 } else { c };
    let s = c * c;
    let mut p = -2.726_142_3e-10_f32;
    p = p * s + 2.770_681_4e-8;
    p = p * s + -2.101_024e-6;
    p = p * s + -5.692_506_4e-5;
    p = p * s + -7.349_906_3e-4;
    p = p * s + -2.954_6e-3;
    p = p * s + -1.609_603_3e-2;
    let mut q = -1.456_607_2e-5_f32;
    q = q * s + -2.133_740_6e-4;
    q = q * s + -1.682_827e-3;
    q = q * s + -7.373_329e-3;
    q = q * s + -1.426_473_9e-2;
    c * p / q
}

#[cfg(test)]
mod tests {
    use super::{erf, exp2};

    #[test]
    fn exp2_is_right_to_two_units_in_the_last_place() {
        for i in -1_260_000..1_279_999 {
            let x = i as f32 / 10_000.0;
            let exact = f64::from(x).exp2();
            let error = (f64::from(exp2(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp2({x}) is off by {error:e}");
        }
        assert_eq!(exp2(f32::NEG_INFINITY).to_bits(), 0.0_f32.to_bits());
        assert!(exp2(128.5).is_infinite() && exp2(f32::INFINITY).is_infinite() && exp2(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_right_to_eight_units_in_the_last_place() {
        for i in -60_000..60_000 {
            let x = i as f32 / 10_000.0;
            let exact = libm::erf(f64::from(x));
            let error = (f64::from(erf(x)) - exact).abs();
            assert!(error <= 4.0 * f64::from(f32::EPSILON) * exact.abs(), "erf({x}) is off by {error:e}");
        }
        assert!(erf(f32::NAN).is_nan());
    }
}
