//! Decides when a test may be skipped.
//!
//! Some tests need root or another program. Where that is missing, the test prints `SKIPPED: <why>` and returns. With
//! `NETSSMD_REQUIRE_ALL=1`, which CI sets, it fails instead. So a green run in CI means that every test ran.

use std::path::{Path, PathBuf};

/// Says that the running test cannot run here. Always returns `false`, so that a test can write `if !need::root() {
/// return }`.
///
/// # Panics
/// If `NETSSMD_REQUIRE_ALL=1`.
#[must_use]
pub fn skipped(why: &str) -> bool {
    assert!(
        std::env::var("NETSSMD_REQUIRE_ALL").as_deref() != Ok("1"),
        "NETSSMD_REQUIRE_ALL=1, but this test cannot run: {why}"
    );
    eprintln!("SKIPPED: {why}");
    false
}

/// Whether the test may make network namespaces. If not, says that it is skipped.
#[must_use]
pub fn root() -> bool {
    nix::unistd::geteuid().is_root() || skipped("making network namespaces needs root")
}

/// Whether `program` is installed. If not, says that the test is skipped.
#[must_use]
pub fn tool(program: &str) -> bool {
    find(program).is_some() || skipped(&format!("{program} is not installed"))
}

/// The path of `program`, on the PATH or in the system's sbin folders.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The folder with the captures that are kept outside the repository: `NETSSMD_DATA`, or `../shared/data` beside the
/// checkout. If there is none, says that the test is skipped.
#[must_use]
pub fn data() -> Option<PathBuf> {
    let beside = workspace().join("../shared/data");
    let found = std::env::var_os("NETSSMD_DATA").map_or(beside, PathBuf::from);
    if found.join("MANIFEST.tsv").is_file() {
        return Some(found);
    }
    let _ = skipped(&format!("no captures at {} (set NETSSMD_DATA)", found.display()));
    None
}

/// The root of the checkout.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}
