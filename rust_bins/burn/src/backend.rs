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

/// Whether the device computes in host memory: then both boundaries are one.
pub fn is_host(device: &Device) -> bool {
    *device == Device::flex()
}

/// The device's own name; none for the CPU.
pub fn name(device: &Device) -> Option<String> {
    #[cfg(feature = "vulkan")]
    return device.identity().map(|identity| identity.name);
    #[cfg(not(feature = "vulkan"))]
    {
        let _ = device;
        None
    }
}

/// Bytes that the framework keeps of the device's memory; none for the CPU.
pub fn bytes(device: &Device) -> Option<u64> {
    #[cfg(feature = "vulkan")]
    return device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    #[cfg(not(feature = "vulkan"))]
    {
        let _ = device;
        None
    }
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
        "vulkan" => vulkan()?,
        other => return Err(Error::unsupported(format!("backend `{other}` is not in this build"))),
    };
    threads::configure(spec.threads)?;
    Ok(device)
}

/// The device that wgpu prefers on Vulkan: a discrete GPU where there is one.
///
/// # Errors
/// `device_unavailable` without any: the framework would panic at its first use.
#[cfg(feature = "vulkan")]
fn vulkan() -> Result<Device> {
    use burn::tensor::{DeviceKind, DeviceType};

    if Device::enumerate(DeviceType::Vulkan).into_vec().is_empty() {
        return Err(Error::device_unavailable("no Vulkan device"));
    }
    Ok(Device::vulkan(DeviceKind::DefaultDevice))
}
