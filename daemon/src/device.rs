//! Opens the device that the model runs on, and the CPU threads.

use anyhow::Context;
use candle_core::Device;

use crate::exit::{Failure, Outcome};
use crate::profile::DeviceChoice;

/// Opens the device. `auto` is a GPU if this build and this host have one, else the CPU. A GPU that is asked for by
/// number must exist: the CPU never replaces it.
///
/// # Errors
/// A configuration error that says what is missing.
pub(crate) fn open(choice: DeviceChoice) -> Outcome<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(n) => cuda(n),
        DeviceChoice::Auto if cfg!(feature = "cuda") => Ok(cuda(0).unwrap_or_else(|failure| {
            // A build with GPU support may run on a host without a GPU. There `auto` means the CPU.
            let (Failure::Usage(error) | Failure::Config(error) | Failure::Run(error)) = failure;
            tracing::info!(error = format!("{error:#}"), "no usable GPU: the CPU is used");
            Device::Cpu
        })),
        DeviceChoice::Auto => Ok(Device::Cpu),
    }
}

#[cfg(feature = "cuda")]
fn cuda(n: usize) -> Outcome<Device> {
    // Checked first, because candle panics where these checks give errors.
    netssm_model::engine::gpu::Gpu::check(n)
        .with_context(|| format!("open device cuda:{n}"))
        .map_err(Failure::Config)?;
    Device::new_cuda(n).with_context(|| format!("open device cuda:{n}")).map_err(Failure::Config)
}

#[cfg(not(feature = "cuda"))]
fn cuda(n: usize) -> Outcome<Device> {
    Err(Failure::Config(anyhow::anyhow!(
        "device cuda:{n} was asked for, but this build has no GPU support: build with --features cuda, or use cpu"
    )))
}

/// The threads for the model. A `count` of 0 means one per core. The model computes on the pool that it is called in.
///
/// # Errors
/// If the threads cannot be started.
pub(crate) fn threads(count: usize) -> Outcome<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("model-{i}"))
        .build()
        .context("start the model's threads")
        .map_err(Failure::Run)
}

/// Name of the device, for logs.
pub(crate) fn describe(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert!(matches!(open(DeviceChoice::Cpu), Ok(Device::Cpu)));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_that_this_build_cannot_use_is_a_clear_error() {
        let Err(Failure::Config(error)) = open(DeviceChoice::Cuda(1)) else { panic!("no error") };
        assert!(error.to_string().contains("build with --features cuda"), "{error}");
        assert!(matches!(open(DeviceChoice::Auto), Ok(Device::Cpu)));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_gpu_that_is_not_there_is_a_clear_error() {
        let Err(Failure::Config(error)) = open(DeviceChoice::Cuda(999)) else { panic!("no error") };
        let text = format!("{error:#}");
        assert!(text.starts_with("open device cuda:999: ") && text.len() > 60, "{text}");
    }
}
