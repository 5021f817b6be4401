//! The devices of this build, and the one that a `load` asks for.

use arena_runner::{Backend, Error, Result};
use candle_core::Device;

/// The cargo features of this crate that are enabled.
pub const FEATURES: &[&str] = &[
    "cpu",
    "x86-v4",
    #[cfg(feature = "cuda")]
    "cuda",
];

/// Every backend of this build; no device is touched.
pub fn backends() -> Vec<Backend> {
    let backend = |id: &str, device: &str, precisions: &[&str]| Backend {
        id: id.into(),
        device: device.into(),
        precisions: precisions.iter().map(|&precision| precision.into()).collect(),
    };
    vec![
        backend("cpu", "cpu", &["f32"]),
        #[cfg(feature = "cuda")]
        backend("cuda", "the first CUDA device", &["f32", "tf32"]),
    ]
}

/// The device of a backend, which computes in that precision.
///
/// # Errors
/// `unsupported` for a backend or a precision that is not in this build; `device_unavailable`, in the driver's words.
pub fn open(backend: &str, precision: &str) -> Result<Device> {
    let known = backends().into_iter().find(|known| known.id == backend);
    if known.is_some_and(|known| !known.precisions.iter().any(|known| known == precision)) {
        return Err(Error::unsupported(format!("precision `{precision}` of backend `{backend}`")));
    }
    match backend {
        "cpu" => Ok(Device::Cpu),
        #[cfg(feature = "cuda")]
        "cuda" => cuda(precision == "tf32"),
        other => Err(Error::unsupported(format!("backend `{other}` is not in this build"))),
    }
}

/// The first CUDA device; `tf32` says whether a product's operands may be rounded to TF32.
#[cfg(feature = "cuda")]
fn cuda(tf32: bool) -> Result<Device> {
    candle_core::cuda::set_gemm_reduced_precision_f32(tf32);
    Device::new_cuda(0).map_err(|e| Error::device_unavailable(format!("candle: {e}")))
}

/// The device's own name; none for the CPU.
pub fn name(device: &Device) -> Option<String> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => cuda.cuda_stream().context().name().ok(),
        _ => None,
    }
}
