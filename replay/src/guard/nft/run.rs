//! Runs the nft program.
//!
//! The nftables crate has a runner too, but it lets nft write its complaints to our own standard error and
//! returns them empty; an operator should read them in the error. So its types build the JSON and this file
//! runs it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nftables::batch::Batch;
use nftables::schema::{NfListObject, Nftables, Table};
use nftables::types::NfFamily;
use serde_json::Value;

use super::NftError;

/// Where nft is when `PATH` does not say: distributions keep it out of ordinary users' paths.
const PLACES: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft"];

/// The nft program.
#[derive(Clone, Debug)]
pub(super) struct Nft {
    program: PathBuf,
}

impl Nft {
    /// By `PATH`, else in the usual places.
    pub(super) fn find() -> Nft {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|dir| dir.join("nft"));
        let known = PLACES.iter().map(PathBuf::from);
        let found = on_path.chain(known).find(|p| p.is_file());
        Nft { program: found.unwrap_or_else(|| PathBuf::from("nft")) }
    }

    #[cfg(test)]
    pub(super) fn at(program: &str) -> Nft {
        Nft { program: program.into() }
    }

    /// Applies commands in one transaction: all of them or none.
    pub(super) fn apply(&self, commands: &Nftables<'_>, what: &'static str) -> Result<(), NftError> {
        let json = serde_json::to_vec(commands).map_err(|source| NftError::Answer { what, source })?;
        self.run(&["-j", "-f", "-"], &json, what).map(drop)
    }

    /// `nft -j list ...`.
    pub(super) fn list(&self, what_of: &[&str], what: &'static str) -> Result<Value, NftError> {
        let arguments: Vec<&str> = ["-j", "list"].iter().chain(what_of).copied().collect();
        let output = self.run(&arguments, &[], what)?;
        serde_json::from_slice(&output.stdout).map_err(|source| NftError::Answer { what, source })
    }

    /// Names of all tables of family netdev.
    pub(super) fn tables(&self) -> Result<Vec<String>, NftError> {
        let listed = self.list(&["tables", "netdev"], "listing tables")?;
        let objects = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names = objects.iter().filter_map(|o| o["table"]["name"].as_str().map(str::to_owned));
        Ok(names.collect())
    }

    /// Deletes a table of family netdev; one that is not there is fine.
    pub(super) fn delete_table(&self, name: &str) -> Result<(), NftError> {
        let mut batch = Batch::new();
        let table = Table { family: NfFamily::NetDev, name: name.to_owned().into(), handle: None };
        batch.delete(NfListObject::Table(table));
        match self.apply(&batch.to_nftables(), "removing the rules") {
            Err(NftError::Failed { message, .. }) if says_missing(&message) => Ok(()),
            other => other,
        }
    }

    fn run(&self, arguments: &[&str], input: &[u8], what: &'static str) -> Result<Output, NftError> {
        let output = feed(&self.program, arguments, input).map_err(NftError::NoProgram)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(explain(what, &String::from_utf8_lossy(&output.stderr)))
    }
}

/// What nft's complaint means.
fn explain(what: &'static str, told: &str) -> NftError {
    if told.contains("Operation not permitted") || told.contains("you must be root") {
        return NftError::Privilege;
    }
    // The first line says it; those after point into the JSON.
    let first = told.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
    NftError::Failed { what, message: first.to_owned() }
}

/// Whether a complaint is that the object does not exist.
pub(super) fn says_missing(message: &str) -> bool {
    message.contains("No such file or directory")
}

fn feed(program: &Path, arguments: &[&str], input: &[u8]) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C") // its messages are matched above
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(error); // a broken pipe is told better by the exit status
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_apart() {
        // As nft 1.0.6 prints them.
        let denied = "internal:0:0-0: Error: Could not process rule: Operation not permitted\n";
        assert!(matches!(explain("x", denied), NftError::Privilege));
        let missing = "Error: No such file or directory\nlist table netdev nope\n                  ^^^^\n";
        let NftError::Failed { message, .. } = explain("x", missing) else { panic!("{missing}") };
        assert!(says_missing(&message), "{message}");
        let other =
            explain("putting up the rules", "\ninternal:0:0-0: Error: Could not process rule: File exists\n");
        assert_eq!(
            other.to_string(),
            "nft failed while putting up the rules: internal:0:0-0: Error: Could not process rule: File exists"
        );
    }
}
