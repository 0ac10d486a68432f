//! A device for training passes: the kernels compiled for the host, products by candle on the CPU.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use candle_core::{Device, Tensor};
use netssm_model::engine::launch::{Float, Gemm, Launch};
use netssm_model::engine::train_pass::{Backend, Matmul};
use netssm_model::error::Result;

use crate::emulated::{Buffer, Kernels};

/// Bytes in use, now and at most.
#[derive(Default)]
pub(crate) struct Use {
    now: Cell<usize>,
    pub(crate) most: Cell<usize>,
}

/// Memory that counts itself. A launch takes the buffers out and puts them back.
pub(crate) struct Memory {
    buffer: RefCell<Option<Buffer>>,
    bytes: usize,
    counted: Rc<Use>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.counted.now.set(self.counted.now.get() - self.bytes);
    }
}

impl Memory {
    fn values(&self, float: Float) -> Vec<f32> {
        self.buffer.borrow().as_ref().expect("not in a launch").floats(float)
    }
}

pub(crate) struct Emulated<'k> {
    kernels: &'k Kernels,
    pub(crate) counted: Rc<Use>,
}

impl<'k> Emulated<'k> {
    pub(crate) fn new(kernels: &'k Kernels) -> Self {
        Self { kernels, counted: Rc::default() }
    }

    fn keep(&self, buffer: Buffer, bytes: usize) -> Memory {
        let now = self.counted.now.get() + bytes;
        self.counted.now.set(now);
        self.counted.most.set(self.counted.most.get().max(now));
        Memory { buffer: RefCell::new(Some(buffer)), bytes, counted: self.counted.clone() }
    }

    /// Values in a format, as a pass would have them.
    pub(crate) fn of(&self, values: &[f32], float: Float) -> Memory {
        self.keep(Buffer::of_floats(values, float), values.len() * float.size())
    }

    /// The values of a buffer that a pass left.
    pub(crate) fn values_of(&self, memory: &Memory, float: Float) -> Vec<f32> {
        memory.values(float)
    }
}

impl Backend for Emulated<'_> {
    type Buffer = Memory;

    fn alloc(&self, _what: &'static str, float: Float, len: usize) -> Result<Memory> {
        Ok(self.keep(Buffer::unwritten_floats(len, float), len * float.size()))
    }

    fn zeros(&self, _what: &'static str, len: usize) -> Result<Memory> {
        Ok(self.keep(Buffer::of(&vec![0f32; len]), len * 4))
    }

    fn copy(&self, _what: &'static str, from: &Memory, len: usize) -> Result<Memory> {
        Ok(self.keep(Buffer::of(&from.values(Float::F32)[..len]), len * 4))
    }

    fn upload_u32(&self, _what: &'static str, values: &[u32]) -> Result<Memory> {
        Ok(self.keep(Buffer::of(values), values.len() * 4))
    }

    fn upload_f32(&self, _what: &'static str, values: &[f32]) -> Result<Memory> {
        Ok(self.keep(Buffer::of(values), values.len() * 4))
    }

    fn download(&self, from: &Memory, len: usize) -> Result<Vec<f32>> {
        Ok(from.values(Float::F32)[..len].to_vec())
    }

    fn launch(&self, launch: &Launch<&Memory>) -> Result<()> {
        let take = |memory: &Memory| memory.buffer.borrow_mut().take().expect("in one launch");
        let put = |(memory, buffer): (&Memory, Buffer)| *memory.buffer.borrow_mut() = Some(buffer);
        self.kernels.launch_of(launch, |a, b| std::ptr::eq(a, b), take, put);
        Ok(())
    }

    fn matmul(&self, matmul: &Matmul<'_, Memory>) -> Result<()> {
        let (m, n, k) = matmul.sizes;
        let matrix = |memory: &Memory, rows: usize, cols: usize| -> Result<Tensor> {
            let mut values = memory.values(matmul.operands);
            values.truncate(rows * cols);
            Ok(Tensor::from_vec(values, (rows, cols), &Device::Cpu)?)
        };
        let out = match matmul.form {
            Gemm::Nt => matrix(matmul.a, m, k)?.matmul(&matrix(matmul.b, n, k)?.t()?)?,
            Gemm::Nn => matrix(matmul.a, m, k)?.matmul(&matrix(matmul.b, k, n)?)?,
            Gemm::Tn => matrix(matmul.a, k, m)?.t()?.matmul(&matrix(matmul.b, k, n)?)?,
        };
        let out = out.flatten_all()?.to_vec1::<f32>()?;
        let buffer = match matmul.result {
            Float::F32 => {
                let mut values = matmul.to.values(Float::F32);
                for (to, from) in values.iter_mut().zip(out) {
                    *to = if matmul.add { *to + from } else { from };
                }
                Buffer::of(&values)
            }
            Float::Bf16 => Buffer::of_floats(&out, Float::Bf16),
        };
        *matmul.to.buffer.borrow_mut() = Some(buffer);
        Ok(())
    }
}
