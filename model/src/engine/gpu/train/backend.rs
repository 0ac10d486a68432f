//! Device memory and launches for [`crate::engine::train_pass`], on the stream of a candle device.
//!
//! Memory is always a candle tensor, so that what a pass leaves is one already, and what it reads need not be copied.
//! Its address is taken once: candle never moves a storage, and the tensor is kept as long as the address is.

use candle_core::cuda_backend::{CudaDevice, CudaStorage};
use candle_core::{DType, Device, Storage, Tensor};
use cudarc::driver::DevicePtr;
use cudarc::driver::sys::CUdeviceptr;

use super::super::{CudaError, Gpu, launcher};
use super::matmul;
use crate::engine::launch::{Float, Launch};
use crate::engine::train_pass::{Backend, Matmul};
use crate::error::{Error, Result};

/// A device with its kernels. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    gpu: Gpu,
    device: Device,
    cuda: CudaDevice,
}

/// An array on the device. Kernels write it through its address whatever the reference says; all of them run in order
/// on one stream, on which it is freed too.
#[derive(Debug)]
pub(crate) struct Memory {
    tensor: Tensor,
    address: CUdeviceptr,
}

impl Memory {
    pub(super) fn address(&self) -> CUdeviceptr {
        self.address
    }

    /// The array as a flat tensor, which shares its memory: for arrays that no kernel writes any more.
    pub(super) fn tensor(&self) -> Result<Tensor> {
        Ok(self.tensor.flatten_all()?)
    }
}

fn dtype(float: Float) -> DType {
    match float {
        Float::F32 => DType::F32,
        Float::Bf16 => DType::BF16,
    }
}

impl Runner {
    /// The kernels on `device`.
    ///
    /// # Errors
    /// As [`Gpu::of`].
    pub(crate) fn new(device: &Device) -> Result<Self, CudaError> {
        let gpu = Gpu::of(device)?;
        match device {
            Device::Cuda(cuda) => Ok(Self { gpu, device: device.clone(), cuda: cuda.clone() }),
            _ => Err(CudaError::NotCuda { got: "another" }),
        }
    }

    pub(super) fn cuda(&self) -> &CudaDevice {
        &self.cuda
    }

    /// A contiguous f32, bf16 or u32 tensor of this device as memory of a pass, which may not write it.
    pub(super) fn borrow(&self, tensor: &Tensor) -> Result<Memory> {
        let tensor = tensor.detach().contiguous()?;
        let address = self.address(&tensor)?;
        Ok(Memory { tensor, address })
    }

    fn address(&self, tensor: &Tensor) -> Result<CUdeviceptr> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            return Err(CudaError::NotCuda { got: "a tensor elsewhere" }.into());
        };
        let stream = self.cuda.cuda_stream();
        let base = match tensor.dtype() {
            DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
            DType::BF16 => storage.as_cuda_slice::<half::bf16>()?.device_ptr(&stream).0,
            DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(&stream).0,
            other => {
                return Err(Error::input("an array on the device", "f32, bf16 or u32", format!("{other:?}")));
            }
        };
        let offset = layout.start_offset() * tensor.dtype().size_in_bytes();
        Ok(base + offset as CUdeviceptr)
    }

    fn keep(&self, tensor: Tensor) -> Result<Memory> {
        let address = self.address(&tensor)?;
        Ok(Memory { tensor, address })
    }

    fn unwritten<T>(&self, what: &'static str, len: usize) -> Result<Tensor>
    where
        T: candle_core::cuda_backend::CudaDType + cudarc::driver::DeviceRepr,
    {
        // The driver refuses a buffer without bytes.
        let len = len.max(1);
        let stream = self.cuda.cuda_stream();
        // SAFETY: the values are plain numbers, and whoever asks for room writes it before it is read.
        let slice = unsafe { stream.alloc::<T>(len) };
        let slice = slice.map_err(|source| super::super::allocation(source, what, len * size_of::<T>()))?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, self.cuda.clone()));
        Ok(Tensor::from_storage(storage, len, candle_core::op::BackpropOp::none(), false))
    }
}

impl Backend for Runner {
    type Buffer = Memory;

    fn alloc(&self, what: &'static str, float: Float, len: usize) -> Result<Memory> {
        self.keep(match float {
            Float::F32 => self.unwritten::<f32>(what, len)?,
            Float::Bf16 => self.unwritten::<half::bf16>(what, len)?,
        })
    }

    fn zeros(&self, _what: &'static str, len: usize) -> Result<Memory> {
        self.keep(Tensor::zeros(len.max(1), DType::F32, &self.device)?)
    }

    fn copy(&self, _what: &'static str, from: &Memory, len: usize) -> Result<Memory> {
        self.keep(from.tensor()?.narrow(0, 0, len)?.copy()?)
    }

    fn upload_u32(&self, _what: &'static str, values: &[u32]) -> Result<Memory> {
        let values = if values.is_empty() { &[0][..] } else { values };
        self.keep(Tensor::from_slice(values, values.len(), &self.device)?)
    }

    fn upload_f32(&self, _what: &'static str, values: &[f32]) -> Result<Memory> {
        let values = if values.is_empty() { &[0.0][..] } else { values };
        self.keep(Tensor::from_slice(values, values.len(), &self.device)?)
    }

    fn download(&self, from: &Memory, len: usize) -> Result<Vec<f32>> {
        Ok(from.tensor()?.narrow(0, 0, len)?.to_dtype(dtype(Float::F32))?.to_vec1()?)
    }

    fn launch(&self, launch: &Launch<&Memory>) -> Result<()> {
        let function = launcher::function(&self.gpu, launch)?;
        // SAFETY: arguments and geometry are those of `crate::engine::train_pass`, whose launches the tests run on the
        // host with guards around every array; the arrays live until the kernel is done, because they are freed in
        // order on its stream.
        unsafe { launcher::launch(&self.cuda.cuda_stream(), &function, launch, |memory| Ok(memory.address)) }
    }

    fn matmul(&self, matmul: &Matmul<'_, Memory>) -> Result<()> {
        matmul::matmul(self, matmul)
    }
}
