//! Matrix products by cuBLAS, which has its matrices by columns: a row-major matrix is its transpose there, so
//! `c = a b` is asked for as `c^T = b^T a^T`.

use std::ffi::c_void;

use cudarc::cublas::result::gemm_ex;
use cudarc::cublas::sys::{cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cudaDataType};

use super::super::Attempt;
use super::backend::{Memory, Runner};
use crate::engine::launch::Float;
use crate::engine::launch::Gemm;
use crate::engine::train_pass::Matmul;
use crate::error::{Error, Result};

fn kind(float: Float) -> cudaDataType {
    match float {
        Float::F32 => cudaDataType::CUDA_R_32F,
        Float::Bf16 => cudaDataType::CUDA_R_16BF,
    }
}

/// Puts a product on the runner's stream. Sums are f32; f32 operands are multiplied as f32, never as TF32.
pub(super) fn matmul(runner: &Runner, matmul: &Matmul<'_, Memory>) -> Result<()> {
    let (m, n, k) = matmul.sizes;
    let int = |value: usize| {
        i32::try_from(value).map_err(|_| Error::input("a matrix on the GPU", "sides below 2^31", value))
    };
    let (m, n, k) = (int(m)?, int(n)?, int(k)?);
    let (plain, transposed) = (cublasOperation_t::CUBLAS_OP_N, cublasOperation_t::CUBLAS_OP_T);
    // b's form and row length, then a's.
    let (of_b, lead_b, of_a, lead_a) = match matmul.form {
        Gemm::Nn => (plain, n, plain, k),
        Gemm::Nt => (transposed, k, plain, k),
        Gemm::Tn => (plain, n, transposed, m),
    };
    let (one, beta) = (1f32, if matmul.add { 1f32 } else { 0f32 });
    let blas = runner.cuda().cublas_handle();
    // A launch does this by itself; a thread may multiply first.
    runner.cuda().cuda_stream().context().bind_to_thread().to("use the device on this thread")?;
    let pointer = |memory: &Memory| memory.address() as *const c_void;
    // SAFETY: the handle is alive and works on the stream of every array's calls; the arrays have at least the sizes
    // said, which `crate::engine::train_pass` made them with; the scalars are read before the call returns (host
    // pointer mode, cuBLAS' default).
    let done = unsafe {
        gemm_ex(
            *blas.handle(),
            of_b,
            of_a,
            n,
            m,
            k,
            (&raw const one).cast(),
            pointer(matmul.b),
            kind(matmul.operands),
            lead_b,
            pointer(matmul.a),
            kind(matmul.operands),
            lead_a,
            (&raw const beta).cast(),
            pointer(matmul.to).cast_mut(),
            kind(matmul.result),
            n,
            cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    };
    done.map_err(|source| candle_core::Error::Cuda(Box::new(source)).into())
}
