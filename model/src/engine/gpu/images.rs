//! The compiled kernels, embedded by the build script.

/// Name of the file in `model/kernels` without its ending, and its fatbin; in alphabetical order.
pub(super) static IMAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// The toolkit that compiled them, 13000 being 13.0: the driver must support it.
pub(super) const TOOLKIT: &str = env!("NETSSM_CUDA_VERSION");

/// The oldest compute capability that they run on, 80 being 8.0.
pub(super) const OLDEST: &str = env!("NETSSM_CUDA_OLDEST");
