//! The three forms of a matrix product that the model needs, named as BLAS names them.

/// Which operands of a product `(m, n)` of row-major matrices are stored as their transposes: N is as it is, T
/// transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gemm {
    /// `a (m, k) b (k, n)`.
    Nn,
    /// `a (m, k) b (n, k)^T`: rows times a weight matrix `(outputs, inputs)`.
    Nt,
    /// `a (k, m)^T b (k, n)`: the gradient of a weight matrix.
    Tn,
}
