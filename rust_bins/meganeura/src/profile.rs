//! Where a graph spends its time on the device, for work on this runner: printed to the log where the environment has
//! `MEGANEURA_GPU_TIMING=1`, which no measurement passes on.

use std::collections::BTreeMap;

use meganeura::Session;
use meganeura::profiler::{CaptureOptions, capture_session_profile};
use meganeura::runtime::GpuOptions;

/// Executions that are timed dispatch by dispatch.
const SAMPLES: usize = 5;
/// Lines of the longest kinds of dispatches.
const LINES: usize = 30;

/// Executes the graph a few times, one timed pass a dispatch, and prints what took how long. Nothing, unless the
/// environment asks for it.
pub fn report(session: &mut Session, what: &str) {
    if !GpuOptions::from_env().timing {
        return;
    }
    let options = CaptureOptions { samples: SAMPLES, unprofiled_median_ms: None, include_pipeline_statistics: false };
    let profile = match capture_session_profile(session, |_| (), options) {
        Ok(profile) => profile,
        Err(error) => {
            eprintln!("profile of {what}: {error:?}");
            return;
        }
    };
    let (plan, measured) = (&profile.plan, &profile.measurement);
    eprintln!(
        "profile of {what}: {} dispatches in {} groups, {:.2} ms on the device, {:.2} ms by the clock",
        plan.dispatch_count, plan.barrier_group_count, measured.gpu_total_median_ms, measured.profiled_wall_median_ms
    );
    let mut kinds: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for dispatch in &profile.dispatches {
        let kind = format!("{} {} {:?}", dispatch.phase, dispatch.pipeline, dispatch.workgroups);
        let (count, total_ms) = kinds.entry(kind).or_default();
        *count += 1;
        *total_ms += dispatch.median_ms;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|(_, (_, a)), (_, (_, b))| b.total_cmp(a));
    for (kind, (count, total_ms)) in kinds.iter().take(LINES) {
        eprintln!("{total_ms:10.3} ms {count:5} x {kind}");
    }
}
