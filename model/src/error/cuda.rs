//! What can be wrong with a GPU, each with what an operator needs to put it right.

use cudarc::driver::{DriverError, sys::CUresult};

/// Why the GPU could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The driver's library is installed, but no driver answers.
    #[error("no CUDA on this host: the driver answers {answer}; install NVIDIA's driver, or use the cpu")]
    NoDriver {
        /// What it said.
        answer: String,
    },
    /// The driver is older than the toolkit that the kernels were compiled with.
    #[error(
        "the driver supports CUDA {}.{}, but this program was built with {}.{}: install a newer driver",
        have / 1000, have % 1000 / 10, need / 1000, need % 1000 / 10
    )]
    OldDriver {
        /// What the driver supports, 13000 being 13.0.
        have: u32,
        /// What is needed.
        need: u32,
    },
    /// There is no device of that number.
    #[error(
        "there is no device cuda:{ordinal}: this host has {count} (CUDA_VISIBLE_DEVICES may hide others)"
    )]
    NoDevice {
        /// The number asked for.
        ordinal: usize,
        /// Devices that the driver shows.
        count: usize,
    },
    /// The device is older than the kernels support.
    #[error(
        "{name} has compute capability {}.{}, but the kernels need {}.{} or later (A100, L4, RTX 30, H100 and what came after)",
        have / 10, have % 10, need / 10, need % 10
    )]
    Capability {
        /// The device's name.
        name: String,
        /// Its capability, 86 being 8.6.
        have: u32,
        /// The oldest there are kernels for.
        need: u32,
    },
    /// What is to be kept on the device is more than is free there.
    #[error(
        "{what} needs {} MiB on the device and {} MiB are free: {advice}",
        needed.div_ceil(1 << 20), free / (1 << 20)
    )]
    Memory {
        /// What it is for.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes free.
        free: usize,
        /// What would fit.
        advice: String,
    },
    /// An allocation failed although there seemed to be room.
    #[error("out of device memory: {bytes} bytes for {what} (another program may have taken what was free)")]
    OutOfMemory {
        /// What it is for.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// A kernel is not in this build.
    #[error("there is no kernel {module}::{function} for this device")]
    NoKernel {
        /// File of `model/kernels`, without its ending.
        module: &'static str,
        /// Function.
        function: String,
    },
    /// The driver refused or failed.
    #[error("cannot {action}: {source}")]
    Driver {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Its reason.
        source: DriverError,
    },
    /// The device that was given is not a CUDA device.
    #[error("expected a cuda device, got {got}")]
    NotCuda {
        /// What it is.
        got: &'static str,
    },
}

/// Names what was attempted when a call of the driver fails.
pub(crate) trait Attempt<T> {
    /// `action` as in "cannot {action}".
    fn to(self, action: &'static str) -> Result<T, CudaError>;
}

impl<T> Attempt<T> for Result<T, DriverError> {
    fn to(self, action: &'static str) -> Result<T, CudaError> {
        self.map_err(|source| CudaError::Driver { action, source })
    }
}

/// The error of an allocation of `bytes` for `what`.
pub(crate) fn allocation(source: DriverError, what: &'static str, bytes: usize) -> CudaError {
    match source.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => CudaError::OutOfMemory { what, bytes },
        _ => CudaError::Driver { action: "allocate device memory", source },
    }
}
