//! How this executable was built, for the description.

use crate::model::Build;

/// The compiler and the profile of this build, with the enabled cargo `features` of the runner's own crate (which only
/// the runner knows).
pub fn build_info(features: &[&str]) -> Build {
    Build {
        compiler: env!("ARENA_COMPILER").into(),
        profile: env!("ARENA_PROFILE").into(),
        features: features.iter().map(|&feature| feature.into()).collect(),
    }
}
