//! Records the compiler and the cargo profile for `build` in the description.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().and_then(|out| String::from_utf8(out.stdout).ok());
    // `rustc 1.95.0 (abc 2026-01-01)`: the first two words.
    let compiler = version.map(|v| v.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    println!("cargo:rustc-env=ARENA_COMPILER={}", compiler.unwrap_or_else(|| "rustc, version not known".into()));
    println!("cargo:rustc-env=ARENA_PROFILE={}", env::var("PROFILE").unwrap_or_default());
}
