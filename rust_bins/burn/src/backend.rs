//! The backends of this build, and the device that a `load` asks for.

use arena_runner::{Backend, Error, LoadSpec, Result, threads};
use burn::tensor::Device;

/// The cargo features of this crate that are enabled.
pub const FEATURES: &[&str] = &[
    "flex",
    #[cfg(feature = "vulkan")]
    "vulkan",
];

/// Every backend of this build; no device is touched.
pub fn all() -> Vec<Backend> {
    let f32_only =
        |id: &str, device: &str| Backend { id: id.into(), device: device.into(), precisions: vec!["f32".into()] };
    vec![
        f32_only("flex", "CPU"),
        #[cfg(feature = "vulkan")]
        f32_only("vulkan", "default Vulkan device"),
    ]
}

/// The device of `spec`, with rayon's pool at the threads it asks for.
///
/// # Errors
/// `unsupported` for a backend, precision or number of threads that this process does not have.
pub fn device(spec: &LoadSpec) -> Result<Device> {
    if spec.precision != "f32" {
        return Err(Error::unsupported(format!("precision `{}` is not supported, only `f32`", spec.precision)));
    }
    let device = match spec.backend.as_str() {
        "flex" => Device::flex(),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        other => return Err(Error::unsupported(format!("backend `{other}` is not in this build"))),
    };
    threads::configure(spec.threads)?;
    Ok(device)
}
