//! The Vulkan device: found at load, never replaced by another kind of device.

use std::sync::Arc;

use arena_runner::{Error, Result};
use blade_graphics::{Context, DeviceReport, DeviceReportStatus};
use meganeura::runtime::GpuOptions;
use meganeura::{Graph, Mode, SessionConfig};

use crate::program::guard;

/// Lavapipe's own setting of its pool, read by the driver when the device is created.
const LAVAPIPE_THREADS: &str = "LP_NUM_THREADS";

/// Opens the device that the environment variable `MEGANEURA_DEVICE_ID` names (a Vulkan device id, decimal or 0x-hex)
/// or, without it, the first usable hardware device, or else the first usable software one.
///
/// # Errors
/// `device_unavailable` without a loader, a driver or a usable device, saying what each device lacks; `unsupported`
/// when the device is the CPU and its pool was not started with `threads` threads.
pub fn open(threads: usize) -> Result<Arc<Context>> {
    let reports = Context::enumerate().map_err(|error| {
        Error::device_unavailable(format!("no vulkan device: {error}; install a driver (mesa-vulkan-drivers)"))
    })?;
    let wanted = GpuOptions::from_env().device_id;
    let report = choose(&reports, wanted)?;
    if report.information.is_software_emulated {
        check_pool(std::env::var(LAVAPIPE_THREADS).ok().as_deref(), threads, &report.information.device_name)?;
    }
    let options = GpuOptions { device_id: Some(report.device_id), timing: GpuOptions::from_env().timing };
    let context = meganeura::init_gpu_context_with(options).map_err(|error| {
        Error::device_unavailable(format!("vulkan device `{}`: {error}", report.information.device_name))
    })?;
    let device = context.device_information();
    eprintln!("device: {} ({}, {})", device.device_name, device.driver_name, device.driver_info);
    let context = Arc::new(context);
    guard("the first execution on the device", || wake(&context))?;
    Ok(context)
}

/// Executes one small convolution, whose result nobody reads.
///
/// Seen on Lavapipe: when the very first dispatch on a fresh device is the framework's `Conv2dGemm`, it leaves its
/// output untouched, all zeros; every later one is right (`docs/framework-notes/meganeura.md`).
fn wake(context: &Arc<Context>) {
    let mut graph = Graph::new();
    let (channels, side, taps) = (4, 8, 3);
    let image = graph.input("image", &[channels * side * side]);
    let kernel = graph.parameter("kernel", &[channels * channels * taps * taps]);
    let [channels, side, taps] = [channels, side, taps].map(|extent| extent as u32);
    let convolved = graph.conv2d_hw(image, kernel, 1, channels, side, side, channels, taps, taps, 1, 1, 1);
    graph.set_outputs(vec![convolved]);
    let config = SessionConfig { mode: Mode::Inference, gpu: Some(Arc::clone(context)), ..SessionConfig::default() };
    let (mut session, _) = meganeura::build(&graph, config);
    session.step();
    session.wait();
}

fn choose(reports: &[DeviceReport], wanted: Option<u32>) -> Result<&DeviceReport> {
    let usable = |report: &&DeviceReport| {
        matches!(report.status, DeviceReportStatus::Available { .. }) && wanted.is_none_or(|id| id == report.device_id)
    };
    let best = reports.iter().filter(usable).min_by_key(|report| report.information.is_software_emulated);
    best.ok_or_else(|| {
        let seen: Vec<String> = reports
            .iter()
            .map(|report| {
                let why = match &report.status {
                    DeviceReportStatus::Available { .. } => "usable",
                    DeviceReportStatus::Rejected(reason) => reason.as_str(),
                };
                format!("`{}` (id {:#x}: {why})", report.information.device_name, report.device_id)
            })
            .collect();
        let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        match wanted {
            Some(id) => Error::device_unavailable(format!("no usable vulkan device has id {id:#x}; present: {seen}")),
            None => Error::device_unavailable(format!("no usable vulkan device; present: {seen}")),
        }
    })
}

/// A device that is the CPU computes with the threads of its driver's pool, which only the environment can set.
fn check_pool(pool: Option<&str>, threads: usize, device: &str) -> Result<()> {
    if pool.and_then(|text| text.trim().parse().ok()) == Some(threads) {
        return Ok(());
    }
    let found = pool.map_or("unset".to_owned(), |text| format!("`{text}`"));
    Err(Error::unsupported(format!(
        "threads {threads}: `{device}` reads its thread count when the process starts; set {LAVAPIPE_THREADS}={threads} \
         (it is {found})"
    )))
}

#[cfg(test)]
mod tests {
    use arena_runner::Code;

    use super::*;

    fn report(device_id: u32, is_software_emulated: bool, usable: bool) -> DeviceReport {
        let status = if usable {
            DeviceReportStatus::Available { is_default: false, caps: blade_graphics::Capabilities::default() }
        } else {
            DeviceReportStatus::Rejected("too old".into())
        };
        let information = blade_graphics::DeviceInformation { is_software_emulated, ..Default::default() };
        DeviceReport { device_id, information, status }
    }

    #[test]
    fn hardware_comes_before_software() {
        let reports = [report(1, true, true), report(2, false, false), report(3, false, true)];
        assert_eq!(choose(&reports, None).unwrap().device_id, 3);
        assert_eq!(choose(&reports, Some(1)).unwrap().device_id, 1);
    }

    #[test]
    fn no_usable_device_is_an_error_that_names_what_is_there() {
        let error = choose(&[report(2, false, false)], None).err().unwrap();
        assert_eq!(error.code, Code::DeviceUnavailable);
        assert!(error.message.contains("too old"), "{error}");
        assert_eq!(choose(&[], Some(7)).err().unwrap().code, Code::DeviceUnavailable);
    }

    #[test]
    fn the_pool_must_have_the_threads_that_are_asked_for() {
        assert!(check_pool(Some("2"), 2, "llvmpipe").is_ok());
        for pool in [None, Some("4"), Some("many")] {
            let error = check_pool(pool, 2, "llvmpipe").unwrap_err();
            assert_eq!(error.code, Code::Unsupported);
            assert!(error.message.contains("LP_NUM_THREADS=2"), "{error}");
        }
    }
}
