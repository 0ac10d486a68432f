// The wrappers of tensor.cuh by themselves, for fragments.rs: one warp, what its lanes hold in and out of device memory.
//
// Shapes    a (32, 4), b (32, 2) words of two bf16, c (32, 4) float, a lane's one after the other; rows (32, 8) bf16, those of four
//           matrices; plain, transposed (32, 4) words.
// Launch    one block of 32; load_matrices_once: dynamic shared memory 32 rows of 16 bytes.
#include "tensor.cuh"

KERNEL tensor_product_once(const uint32_t* a, const uint32_t* b, float* c) {
    tensor_product(c + threadIdx.x * 4, a + threadIdx.x * 4, b + threadIdx.x * 2);
}
EMULATE(tensor_product_once)

KERNEL load_matrices_once(const bf16* rows, uint32_t* plain, uint32_t* transposed) {
    SHARED_MEMORY(bf16, shared);
    for (int i = 0; i < 8; ++i) shared[threadIdx.x * 8 + i] = rows[threadIdx.x * 8 + i];
    __syncthreads();
    load_matrices<false>(plain + threadIdx.x * 4, shared + threadIdx.x * 8);
    load_matrices<true>(transposed + threadIdx.x * 4, shared + threadIdx.x * 8);
}
EMULATE(load_matrices_once)
