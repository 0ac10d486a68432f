//! The kernels of `model/kernels`, compiled for the host by a C++ compiler and run thread by thread (see their README).
//!
//! [`kernels`] compiles every `.cu` once a test binary; [`Kernels::launch`] runs one as a GPU would be told to, first
//! with the threads of a block in one order, then in the other on a copy of the buffers, and wants equal results: a
//! missing barrier shows there. Buffers have guards on both sides, and results may not touch them.

#![allow(unsafe_code, reason = "the compiled kernels are a library that is loaded")]

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libloading::{Library, Symbol};
pub(crate) use netssm_model::engine::launch::Argument;
use netssm_model::engine::launch::{self, Float};

/// Sizes of a launch: blocks, threads a block, bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    pub(crate) grid: (u32, u32, u32),
    pub(crate) block: u32,
    pub(crate) shared: usize,
}

/// As `emulated::Launch` of `host/cuda_host.h`.
#[repr(C)]
struct RawLaunch {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    order: u32,
}

type Entry = unsafe extern "C" fn(*const RawLaunch, *mut *mut c_void) -> *const c_char;

/// Bytes on each side of a buffer that nothing may write. As a float they are NaN, so that reading them shows too.
const GUARD: usize = 256;
const UNTOUCHED: u8 = 0xff;

/// Values as they lie in device memory.
pub(crate) trait Value: Copy + Default + PartialEq + std::fmt::Debug {}
impl Value for f32 {}
impl Value for u8 {}
impl Value for u16 {}
impl Value for u32 {}
impl Value for u64 {}

/// Device memory of one argument: bytes with guards around them, aligned as the driver aligns.
#[derive(Clone)]
pub(crate) struct Buffer {
    words: Vec<u128>,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn of<T: Value>(values: &[T]) -> Self {
        let bytes = size_of_val(values);
        let whole = (2 * GUARD + bytes).div_ceil(16);
        let mut buffer = Self { words: vec![u128::from_ne_bytes([UNTOUCHED; 16]); whole], bytes };
        // SAFETY: the values are plain numbers without padding, and are as many bytes as the middle has.
        let from = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes) };
        buffer.all_mut()[GUARD..GUARD + bytes].copy_from_slice(from);
        buffer
    }

    /// `len` values that were never written: NaN.
    pub(crate) fn unwritten<T: Value>(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        Self { words: vec![u128::from_ne_bytes([UNTOUCHED; 16]); (2 * GUARD + bytes).div_ceil(16)], bytes }
    }

    fn all(&self) -> &[u8] {
        // SAFETY: any memory is bytes.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 16) }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        let len = self.words.len() * 16;
        // SAFETY: any memory is bytes, and any bytes are whole numbers.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), len) }
    }

    pub(crate) fn values<T: Value>(&self) -> Vec<T> {
        let mut out = vec![T::default(); self.bytes / size_of::<T>()];
        let bytes = &self.all()[GUARD..GUARD + self.bytes];
        // SAFETY: as many bytes, and any bytes are numbers.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.as_mut_ptr().cast(), bytes.len()) };
        out
    }

    /// Values in a format of a pass.
    pub(crate) fn of_floats(values: &[f32], float: Float) -> Self {
        match float {
            Float::F32 => Self::of(values),
            Float::Bf16 => Self::of(&values.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>()),
        }
    }

    /// Room for `len` values of a format.
    pub(crate) fn unwritten_floats(len: usize, float: Float) -> Self {
        match float {
            Float::F32 => Self::unwritten::<f32>(len),
            Float::Bf16 => Self::unwritten::<u16>(len),
        }
    }

    /// What [`Self::of_floats`] was given, rounded to the format.
    pub(crate) fn floats(&self, float: Float) -> Vec<f32> {
        match float {
            Float::F32 => self.values(),
            Float::Bf16 => self.values().into_iter().map(from_bf16).collect(),
        }
    }

    fn is_intact(&self) -> bool {
        let (before, rest) = self.all().split_at(GUARD);
        before.iter().chain(&rest[self.bytes..]).all(|&byte| byte == UNTOUCHED)
    }
}

pub(crate) struct Kernels {
    library: Library,
    _folder: tempfile::TempDir,
}

/// The compiled kernels. `None`, said loudly, where there is no C++ compiler; in CI that is a failure.
pub(crate) fn kernels() -> Option<&'static Kernels> {
    static COMPILED: OnceLock<Option<Kernels>> = OnceLock::new();
    COMPILED
        .get_or_init(|| {
            let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".into());
            if Command::new(&compiler).arg("--version").output().is_err() {
                let required = |name, value| std::env::var_os(name).is_some_and(|found| found == value);
                let needed = required("CI", "true") || required("NETSSMD_REQUIRE_ALL", "1");
                assert!(!needed, "required, but there is no {compiler}");
                eprintln!("SKIPPED: no {compiler}, so the kernels were not run");
                return None;
            }
            Some(compile(&compiler))
        })
        .as_ref()
}

fn compile(compiler: &str) -> Kernels {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let files_of = |folder: &Path| -> Vec<PathBuf> {
        let entries = folder.read_dir().expect("a folder of kernels");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|ext| ext == "cu"));
        files.sort();
        files
    };
    let files = [files_of(&sources), files_of(&own)].concat();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("kernels.so");
    let output = Command::new(compiler)
        .args(["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared"])
        .args(["-Wall", "-Wno-unknown-pragmas", "-Wno-maybe-uninitialized", "-x", "c++", "-I"])
        .arg(&sources)
        .args(&files)
        .arg(sources.join("host/runtime.cpp"))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("the compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // SAFETY: it was compiled a moment ago from this repository's files, and has no initialisers of its own.
    let library = unsafe { Library::new(&library) }.expect("the library that was compiled");
    Kernels { library, _folder: folder }
}

impl Kernels {
    /// Runs a launch of a list. `take` gives each of its buffers, which `put` gets back; `same` says which are one.
    pub(crate) fn launch_of<B: Copy>(
        &self,
        launch: &launch::Launch<B>,
        same: impl Fn(B, B) -> bool,
        take: impl FnMut(B) -> Buffer,
        put: impl FnMut((B, Buffer)),
    ) {
        let mut used: Vec<B> = Vec::new();
        let mut place = |buffer: B| {
            used.iter().position(|&other| same(other, buffer)).unwrap_or_else(|| {
                used.push(buffer);
                used.len() - 1
            })
        };
        let arguments: Vec<Argument<usize>> = launch
            .arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Buffer(buffer) => Argument::Buffer(place(buffer)),
                Argument::Null => Argument::Null,
                Argument::Int(value) => Argument::Int(value),
                Argument::Size(value) => Argument::Size(value),
                Argument::Float(value) => Argument::Float(value),
                Argument::Double(value) => Argument::Double(value),
            })
            .collect();
        let size = |blocks| u32::try_from(blocks).expect("a grid's size");
        let (x, y, z) = launch.grid;
        let geometry =
            Launch { grid: (size(x), size(y), size(z)), block: size(launch.block), shared: launch.shared };
        let buffers = used.iter().copied().map(take).collect();
        let after = self.launch(&launch.function, geometry, buffers, &arguments);
        used.into_iter().zip(after).for_each(put);
    }

    /// Runs a kernel and gives the buffers back as it left them.
    ///
    /// # Panics
    /// If threads wait for one another for ever, write outside of a buffer, or the result depends on their order.
    pub(crate) fn launch(
        &self,
        name: &str,
        launch: Launch,
        buffers: Vec<Buffer>,
        arguments: &[Argument<usize>],
    ) -> Vec<Buffer> {
        let mut other = buffers.clone();
        let first = self.run(name, launch, buffers, arguments, 0);
        other = self.run(name, launch, other, arguments, 1);
        for (i, (a, b)) in first.iter().zip(&other).enumerate() {
            assert!(a.all() == b.all(), "{name}: buffer {i} depends on the order of the threads");
        }
        first
    }

    fn run(
        &self,
        name: &str,
        launch: Launch,
        mut buffers: Vec<Buffer>,
        arguments: &[Argument<usize>],
        order: u32,
    ) -> Vec<Buffer> {
        let symbol = format!("emulate_{name}\0");
        // SAFETY: every function of that prefix has this signature (`EMULATE` of common.cuh).
        let entry: Symbol<'_, Entry> = unsafe { self.library.get(symbol.as_bytes()) }
            .unwrap_or_else(|error| panic!("there is no kernel {name}: {error}"));
        let bases: Vec<*mut u8> =
            buffers.iter_mut().map(|buffer| buffer.all_mut()[GUARD..].as_mut_ptr()).collect();
        // Eight bytes an argument are enough for each kind; the machine's low end comes first.
        let mut values: Vec<u64> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Buffer(i) => bases[i] as u64,
                Argument::Null => 0,
                Argument::Size(value) => value as u64,
                Argument::Int(value) => value as u64,
                Argument::Float(value) => u64::from(value.to_bits()),
                Argument::Double(value) => value.to_bits(),
            })
            .collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let raw = RawLaunch {
            grid: [launch.grid.0, launch.grid.1, launch.grid.2],
            block: [launch.block, 1, 1],
            shared: u32::try_from(launch.shared).expect("a size that a device has"),
            order,
        };
        // SAFETY: the pointers are to as many values as the kernel has parameters, of their sizes: the caller's part,
        // which is a test beside the kernel it names.
        let wrong = unsafe { entry(&raw const raw, pointers.as_mut_ptr()) };
        if !wrong.is_null() {
            // SAFETY: a string that lives until the next launch on this thread.
            let wrong = unsafe { CStr::from_ptr(wrong) }.to_string_lossy().into_owned();
            panic!("{name}: {wrong}");
        }
        for (i, buffer) in buffers.iter().enumerate() {
            assert!(buffer.is_intact(), "{name}: a write outside of buffer {i}");
        }
        buffers
    }
}

/// bf16 as its bits, to the nearest.
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Asserts that `got` is within `tolerance` of `want`, relative to the largest magnitude in it.
pub(crate) fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what}: {g} at {i}, expected {w} (scale {scale})");
    }
}
