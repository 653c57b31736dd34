//! Passes the version of the compiler to the crate, for `coredns_build_info`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(compiler).arg("--version").output().map(|output| output.stdout);
    let version = String::from_utf8(printed.unwrap_or_default()).unwrap_or_default();
    // `rustc 1.90.0 (1159e78c4 2025-09-14)`
    let version: Vec<&str> = version.split_whitespace().take(2).collect();
    println!("cargo:rustc-env=PORTOLAN_COMPILER={}", version.join(" "));
}
