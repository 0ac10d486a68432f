//! Compiles `kernels/*.cu`, only with feature `cuda`: each to one fatbin with machine code for the capabilities of
//! [`CAPABILITIES`] and PTX of the newest, from which drivers make code for later devices. They are embedded by
//! `src/engine/gpu/images.rs`. Without the feature this does nothing; see `kernels/README.md`.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compute capabilities that have machine code, oldest first: A100, L4 and RTX 40, H100 and H200.
const CAPABILITIES: [u32; 3] = [80, 89, 90];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=kernels");
    for name in ["CUDA_HOME", "CUDA_PATH", "PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Err(what) = compile_all() {
        println!("cargo::error={what}");
        std::process::exit(1);
    }
}

fn compile_all() -> Result<(), String> {
    let nvcc = nvcc()?;
    println!("cargo::rustc-env=NETSSM_CUDA_VERSION={}", version(&nvcc)?);
    let newest = CAPABILITIES[CAPABILITIES.len() - 1];
    println!("cargo::rustc-env=NETSSM_CUDA_OLDEST={}", CAPABILITIES[0]);
    let folder = Path::new("kernels");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let entries = folder.read_dir().map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    let mut sources: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    sources.retain(|path| path.extension().is_some_and(|ext| ext == "cu"));
    sources.sort();
    let mut images = String::from("&[\n");
    for source in &sources {
        let stem = source.file_stem().and_then(|stem| stem.to_str()).ok_or("a kernel's name is not UTF-8")?;
        let fatbin = out.join(format!("{stem}.fatbin"));
        let mut command = Command::new(&nvcc);
        command.args(["-fatbin", "-std=c++17", "-O3", "--threads=0", "-Xptxas=-warn-spills", "-o"]);
        command.arg(&fatbin).arg(source);
        for capability in CAPABILITIES {
            let code = if capability == newest {
                format!("[sm_{capability},compute_{capability}]")
            } else {
                format!("sm_{capability}")
            };
            command.arg("-gencode").arg(format!("arch=compute_{capability},code={code}"));
        }
        run(&mut command).map_err(|what| format!("nvcc could not compile {}: {what}", source.display()))?;
        let path = fatbin.to_str().ok_or("OUT_DIR is not UTF-8")?;
        writeln!(images, "    ({stem:?}, include_bytes!({path:?})),").map_err(|e| e.to_string())?;
    }
    images.push(']');
    std::fs::write(out.join("images.rs"), images).map_err(|e| format!("cannot write images.rs: {e}"))
}

/// The compiler: on the PATH, or under `CUDA_HOME` or `CUDA_PATH`.
fn nvcc() -> Result<PathBuf, String> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(homes.map(|home| home.join("bin")));
    let found = folders.map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file());
    found.ok_or_else(|| {
        "feature cuda needs NVIDIA's compiler, and nvcc is neither on PATH nor under CUDA_HOME/bin: install the CUDA \
         toolkit, or build without --features cuda"
            .to_owned()
    })
}

/// The toolkit's version as the driver counts: 13000 is 13.0.
fn version(nvcc: &Path) -> Result<u32, String> {
    let text = run(Command::new(nvcc).arg("--version")).map_err(|what| format!("nvcc --version: {what}"))?;
    let number = text.split("release ").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let parsed = number.and_then(|number| {
        let (major, minor) = number.split_once('.')?;
        Some(major.parse::<u32>().ok()? * 1000 + minor.parse::<u32>().ok()? * 10)
    });
    parsed.ok_or_else(|| format!("nvcc --version does not name a release: {text}"))
}

/// Runs a command; what it wrote to its output, or to its errors if it failed. Its warnings, of registers that spill
/// for one, are Cargo's.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        let warnings = String::from_utf8_lossy(&output.stderr);
        for line in warnings.lines().filter(|line| !line.trim().is_empty()) {
            println!("cargo::warning={line}");
        }
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Cargo shows an error up to its first line break.
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | "))
}
