//! Regions in device memory, and their addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr, PinnedHostSlice, ValidAsZeroBits};

use super::super::{Attempt, CudaError, Gpu, allocation};
use crate::engine::step_program::{self, Region, StepProgram};
use crate::error::Result;
use crate::network::params::Params;

/// Device memory by what it holds. It is freed on drop, so a caller waits for the kernels that use its addresses first.
pub(super) struct Memory {
    owned: BTreeMap<Region, CudaSlice<u8>>,
    addresses: BTreeMap<Region, CUdeviceptr>,
}

impl Memory {
    fn new() -> Self {
        Self { owned: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    fn insert(&mut self, region: Region, slice: CudaSlice<u8>) {
        let stream = slice.stream().clone();
        // The guard notes that the buffer is read, which is over at once.
        let (address, _guard) = slice.device_ptr(&stream);
        self.addresses.insert(region, address);
        drop(_guard);
        self.owned.insert(region, slice);
    }

    /// Zeros for each of `regions`, with `rows` rows and slots.
    pub(super) fn zeros(
        gpu: &Gpu,
        stream: &Arc<CudaStream>,
        program: &StepProgram,
        regions: impl IntoIterator<Item = Region>,
        rows: usize,
    ) -> Result<Self, CudaError> {
        let mut memory = Self::new();
        for region in regions {
            let slice = gpu.zeros::<u8>(stream, "the sessions", program.bytes(region, rows, rows))?;
            memory.insert(region, slice);
        }
        Ok(memory)
    }

    /// What a region holds.
    pub(super) fn slice(&self, region: Region) -> Option<&CudaSlice<u8>> {
        self.owned.get(&region)
    }

    /// The address of a region.
    pub(super) fn address(&self, region: Region) -> Option<CUdeviceptr> {
        self.addresses.get(&region).copied()
    }
}

/// The model's parameters on the device, there when this returns.
pub(super) fn weights(gpu: &Gpu, params: &Params<Tensor>, program: &StepProgram) -> Result<Arc<Memory>> {
    let stream = gpu.context().new_stream().to("make a stream")?;
    let mut memory = Memory::new();
    for (region, bytes) in step_program::pack(program.config(), params, program.types())? {
        let slice =
            stream.clone_htod(&bytes).map_err(|source| allocation(source, "the model", bytes.len()))?;
        memory.insert(region, slice);
    }
    stream.synchronize().to("copy the model to the device")?;
    Ok(Arc::new(memory))
}

/// Memory of the host that the device copies from and to by itself.
///
/// cudarc's own accessors ask an event first, which is not allowed while a graph is captured; a half-batch knows when
/// its copies are over.
pub(super) struct Pinned<T> {
    at: *mut T,
    len: usize,
    _owned: PinnedHostSlice<T>,
}

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    /// `len` zeros.
    pub(super) fn zeros(gpu: &Gpu, len: usize) -> Result<Self, CudaError> {
        let what = "pinned memory of the host";
        // The driver refuses a buffer without bytes.
        let len = len.max(1);
        // SAFETY: it is filled below, before anything reads it.
        let owned = unsafe { gpu.context().alloc_pinned_with_flags::<T>(len, 0) };
        let mut owned = owned.map_err(|source| allocation(source, what, len * size_of::<T>()))?;
        let at = owned.as_mut_ptr().to("write to pinned memory")?;
        // SAFETY: `len` values were allocated there, and zeros are values of T.
        unsafe { std::ptr::write_bytes(at, 0, len) };
        Ok(Self { at, len, _owned: owned })
    }

    /// The values. No copy to them is in flight.
    pub(super) fn values(&self) -> &[T] {
        // SAFETY: `len` initialised values, which live as long as `_owned` does.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }

    /// The values, to write. No copy is in flight.
    pub(super) fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}
