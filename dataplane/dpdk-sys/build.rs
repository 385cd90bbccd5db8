// SPDX-License-Identifier: MIT OR Apache-2.0
//! Binds the system's libdpdk: finds it by pkg-config, generates the bindings
//! of the symbols listed here with bindgen, compiles the shim for DPDK's static
//! inline functions, and links the shared libraries in use.
//!
//! The drivers (PMDs), buses and mempool handlers are not linked: EAL dlopens
//! them from the folder that the distribution compiled into it. What is missing
//! on the machine is named together with the command that installs it.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

const OLDEST: &str = "22.11";
const INSTALL: &str = "sudo apt-get install libdpdk-dev libclang-dev clang gcc pkg-config";

/// Everything the `dpdk` crate calls; nothing else is bound.
const FUNCTIONS: &[&str] = &[
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_init",
    "rte_eal_remote_launch",
    "rte_eal_wait_lcore",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_rss_hash_update",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_link_get_nowait",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_queue_setup",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_get_tsc_hz",
    "rte_mempool_avail_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create_by_ops",
    "rte_strerror",
    "shim_.*",
];

const CONSTANTS: &[&str] = &[
    "RTE_MBUF_F_EXTERNAL",
    "RTE_MBUF_F_INDIRECT",
    "RTE_MAX_LCORE",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PKTMBUF_HEADROOM",
];

/// The shared libraries that define the functions above.
const LIBRARIES: &[&str] = &["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"];

fn main() {
    for file in ["build.rs", "wrapper.h", "src/shim.c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    if let Err(why) = bind() {
        // Fails the build with this line alone, without the noise of a panic.
        println!("cargo::error={why}");
    }
}

fn bind() -> Result<(), String> {
    let dpdk = || {
        let mut config = pkg_config::Config::new();
        config.cargo_metadata(false);
        config
    };
    let Ok(found) = dpdk().atleast_version(OLDEST).probe("libdpdk") else {
        let there = dpdk().probe("libdpdk").map_or("none".into(), |old| old.version);
        return Err(format!(
            "libdpdk {OLDEST} or later is needed; pkg-config finds {there}; install it with: {INSTALL}"
        ));
    };
    clang_sys::load().map_err(|e| {
        format!("libclang is needed by bindgen: {}; install it with: {INSTALL}", one_line(&e))
    })?;
    let flags = compiler_flags()?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo")?);
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(&flags)
        .use_core()
        .generate_comments(false)
        .layout_tests(true)
        .derive_default(true)
        .prepend_enum_name(false)
        .wrap_unsafe_ops(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        // The owner of a device is an opaque handle to us.
        .opaque_type("rte_device|rte_mempool_(ops|cache|memhdr_list|objhdr_list)|rte_memzone")
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    let bindings = builder
        .generate()
        .map_err(|e| format!("bindgen could not read DPDK's headers: {}; try: {INSTALL}", one_line(&e)))?;
    fs::write(out.join("bindings.rs"), bindings.to_string())
        .map_err(|e| format!("cannot write bindings.rs: {e}"))?;

    let mut shim = cc::Build::new();
    shim.file("src/shim.c").opt_level(2).warnings(true);
    for flag in &flags {
        shim.flag(flag);
    }
    shim.try_compile("fedgate_dpdk_shim")
        .map_err(|e| format!("the C shim does not compile: {}; try: {INSTALL}", one_line(&e)))?;

    for path in &found.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::metadata=version={}", found.version);
    Ok(())
}

/// The flags the headers want, among them `-include rte_config.h` and
/// `-march`, which the pkg-config crate has no field for.
fn compiler_flags() -> Result<Vec<String>, String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let run = Command::new(&tool)
        .args(["--cflags", "libdpdk"])
        .output()
        .map_err(|e| format!("cannot run {tool}: {e}; install it with: {INSTALL}"))?;
    if !run.status.success() {
        return Err(format!("{tool} --cflags libdpdk failed: {}", String::from_utf8_lossy(&run.stderr)));
    }
    Ok(String::from_utf8_lossy(&run.stdout).split_whitespace().map(str::to_owned).collect())
}

/// Cargo's error instruction takes one line.
fn one_line(error: &impl ToString) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
