//! What only a real GPU can show, against the CPU. Needs feature `cuda`; without a device each test says that it did
//! not run, or fails where `NETSSMD_REQUIRE_GPU` is set. One program, so that `make gpu-kit` packs candle's kernels
//! once.
#![cfg(feature = "cuda")]

mod step;
#[path = "../support/mod.rs"]
mod support;
mod train;

use candle_core::Device;
use netssm_model::engine::gpu::Gpu;

/// The first GPU, or a loud word that there is none.
fn gpu() -> Option<Device> {
    match Gpu::check(0) {
        Ok(()) => Some(Device::new_cuda(0).expect("a GPU that was checked")),
        Err(error) => {
            assert!(
                std::env::var_os("NETSSMD_REQUIRE_GPU").is_none(),
                "NETSSMD_REQUIRE_GPU is set, but {error}"
            );
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}
