//! Launching a kernel: the one place where its parameters become what the driver reads.

use cudarc::driver::sys::{CUdeviceptr, CUfunction_attribute};
use cudarc::driver::{CudaFunction, CudaStream, LaunchConfig, PushKernelArg};

use super::{Attempt, CudaError, Gpu};
use crate::engine::launch::{Argument, Launch};
use crate::error::{Error, Result};

/// Shared memory that a block gets without being asked about it.
const SHARED_WITHOUT_ASKING: usize = 48 * 1024;

/// A parameter as the kernel takes it; the driver reads it through a pointer while it launches.
enum Value {
    Address(CUdeviceptr),
    Int(i32),
    Size(u64),
    Float(f32),
    Double(f64),
}

/// A launch's kernel, allowed the shared memory that it needs.
///
/// # Errors
/// [`CudaError::NoKernel`], [`CudaError::Driver`].
pub(super) fn function<B>(gpu: &Gpu, launch: &Launch<B>) -> Result<CudaFunction, CudaError> {
    let function = gpu.function(launch.module, &launch.function)?;
    if launch.shared > SHARED_WITHOUT_ASKING {
        let bytes = i32::try_from(launch.shared).unwrap_or(i32::MAX);
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, bytes).to("give a kernel its shared memory")?;
    }
    Ok(function)
}

/// Puts a launch of `function` on a stream; `address` gives a buffer's.
///
/// # Errors
/// Those of `address`; [`Error::Input`] for a size that the device does not count to; [`CudaError::Driver`].
///
/// # Safety
/// Parameters and geometry are those that the kernel has, and every buffer has the size that it reads and writes, until
/// the kernel is done.
pub(super) unsafe fn launch<B>(
    stream: &CudaStream,
    function: &CudaFunction,
    launch: &Launch<B>,
    address: impl Fn(&B) -> Result<CUdeviceptr>,
) -> Result<()> {
    let size = |value: usize| {
        u32::try_from(value).map_err(|_| Error::input("a launch on the GPU", "sizes below 2^32", value))
    };
    let (x, y, z) = launch.grid;
    if x == 0 || y == 0 || z == 0 {
        return Ok(());
    }
    let value = |argument: &Argument<B>| -> Result<Value> {
        Ok(match argument {
            Argument::Buffer(buffer) => Value::Address(address(buffer)?),
            Argument::Null => Value::Address(0),
            Argument::Int(value) => Value::Int(
                i32::try_from(*value).map_err(|_| Error::input("a size on the GPU", "below 2^31", value))?,
            ),
            Argument::Size(value) => Value::Size(*value as u64),
            Argument::Float(value) => Value::Float(*value),
            Argument::Double(value) => Value::Double(*value),
        })
    };
    let values = launch.arguments.iter().map(value).collect::<Result<Vec<_>>>()?;
    let mut builder = stream.launch_builder(function);
    for value in &values {
        match value {
            Value::Address(value) => builder.arg(value),
            Value::Int(value) => builder.arg(value),
            Value::Size(value) => builder.arg(value),
            Value::Float(value) => builder.arg(value),
            Value::Double(value) => builder.arg(value),
        };
    }
    let config = LaunchConfig {
        grid_dim: (size(x)?, size(y)?, size(z)?),
        block_dim: (size(launch.block)?, 1, 1),
        shared_mem_bytes: size(launch.shared)?,
    };
    // SAFETY: the caller's promise.
    unsafe { builder.launch(config) }.to("launch a kernel")?;
    Ok(())
}
