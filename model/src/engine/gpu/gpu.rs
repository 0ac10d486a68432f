//! A device with its driver and capability checked, and the kernels loaded on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr};
use cudarc::driver::{ValidAsZeroBits, sys};
use cudarc::nvrtc::Ptx;

use super::images;
use crate::error::{Attempt, CudaError, allocation};

const NO_DEVICE: [sys::CUresult; 2] =
    [sys::CUresult::CUDA_ERROR_NO_DEVICE, sys::CUresult::CUDA_ERROR_OPERATING_SYSTEM];

/// A GPU that this build's kernels run on. Clones share it.
#[derive(Clone, Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    modules: Arc<Mutex<BTreeMap<&'static str, Arc<CudaModule>>>>,
}

impl Gpu {
    /// Checks that this host can run the kernels on device `ordinal`, before anything else touches the driver: its
    /// version, the number of devices, the capability.
    ///
    /// # Errors
    /// [`CudaError`] that says which of these is missing and what would help.
    pub fn check(ordinal: usize) -> Result<(), CudaError> {
        Self::open(ordinal).map(|_| ())
    }

    /// Opens device `ordinal` after the checks of [`Self::check`].
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn open(ordinal: usize) -> Result<Self, CudaError> {
        let need = number(images::TOOLKIT);
        let have = driver_version()?;
        if have < need {
            return Err(CudaError::OldDriver { have, need });
        }
        let count = match CudaContext::device_count() {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            // The driver's ways of saying none: no device, or no kernel module that would know of one.
            Err(error) if NO_DEVICE.contains(&error.0) => 0,
            Err(source) => return Err(CudaError::Driver { action: "count the devices", source }),
        };
        if ordinal >= count {
            return Err(CudaError::NoDevice { ordinal, count });
        }
        let context = CudaContext::new(ordinal).to("open the device")?;
        let (major, minor) = context.compute_capability().to("ask for the compute capability")?;
        let have = u32::try_from(major * 10 + minor).unwrap_or(0);
        let need = number(images::OLDEST);
        if have < need {
            let name = context.name().to("ask for the device's name")?;
            return Err(CudaError::Capability { name, have, need });
        }
        Ok(Self { context, modules: Arc::default() })
    }

    /// The GPU behind a candle device, with the same context.
    ///
    /// # Errors
    /// [`CudaError::NotCuda`], else as [`Self::check`].
    pub fn of(device: &Device) -> Result<Self, CudaError> {
        match device {
            Device::Cuda(cuda) => Self::open(cuda.cuda_stream().context().ordinal()),
            Device::Cpu => Err(CudaError::NotCuda { got: "the cpu" }),
            Device::Metal(_) => Err(CudaError::NotCuda { got: "metal" }),
        }
    }

    /// The context, shared with candle's device of the same number.
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// The kernel `function` of `model/kernels/{module}.cu`.
    ///
    /// # Errors
    /// [`CudaError::NoKernel`] if this build has none of that name, [`CudaError::Driver`] if the driver cannot load it.
    pub fn function(&self, module: &'static str, function: &str) -> Result<CudaFunction, CudaError> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match modules.get(module) {
            Some(loaded) => loaded.clone(),
            None => {
                let missing = || CudaError::NoKernel { module, function: function.to_owned() };
                let (_, image) =
                    images::IMAGES.iter().find(|(name, _)| *name == module).ok_or_else(missing)?;
                let ptx = Ptx::from_binary(image.to_vec());
                let loaded = self.context.load_module(ptx).to("load kernels on the device")?;
                modules.insert(module, loaded.clone());
                loaded
            }
        };
        loaded
            .load_function(function)
            .map_err(|_| CudaError::NoKernel { module, function: function.to_owned() })
    }

    /// Bytes (free, in all) on the device.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.context.mem_get_info().to("ask for free device memory")
    }

    /// `len` zeros for `what`.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Driver`].
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        stream: &Arc<CudaStream>,
        what: &'static str,
        len: usize,
    ) -> Result<CudaSlice<T>, CudaError> {
        // The driver refuses a buffer without bytes.
        let len = len.max(1);
        stream.alloc_zeros(len).map_err(|source| allocation(source, what, len * size_of::<T>()))
    }
}

/// A number that the build script wrote.
fn number(text: &str) -> u32 {
    text.parse().unwrap_or(u32::MAX)
}

/// The newest CUDA that the driver supports, 13000 being 13.0.
fn driver_version() -> Result<u32, CudaError> {
    let mut version = 0;
    // SAFETY: the pointer is to a live integer; this call may come before the driver's initialisation.
    let status = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    match u32::try_from(version) {
        Ok(version) if status == sys::CUresult::CUDA_SUCCESS && version > 0 => Ok(version),
        // A stub of the library, as build machines have, knows no version.
        _ => Err(CudaError::NoDriver { answer: format!("{status:?}, version {version}") }),
    }
}
