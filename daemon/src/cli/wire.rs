//! The arguments of `netssmd replay` and `netssmd rewrite`.

use std::path::PathBuf;

use clap::Args;
use netssm_replay::pace::Speed;

use super::generate::AddressArgs;
use super::values;

/// Arguments of `netssmd replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The capture, pcap or pcapng.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Interface to send packets on.
    #[arg(long, value_name = "NAME")]
    pub interface: String,
    /// Second interface, for packets from the server side. --interface then sends only those from the client side.
    #[arg(long, value_name = "NAME")]
    pub server_interface: Option<String>,
    /// Factor on the speed of the capture, or "top" for as fast as possible.
    #[arg(long, default_value = "1.0", value_parser = values::speed)]
    pub speed: Speed,
    /// Play the capture this many times, with new addresses each time.
    #[arg(long = "loop", value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub times: u64,
    /// Send synthetic payload instead of the capture's own.
    #[arg(long)]
    pub synthetic_payload: bool,
    /// Seed of the new addresses, ports and sequence numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Do not install the nftables rules that keep this host from answering.
    #[arg(long)]
    pub no_nftables: bool,
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// Print a summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `netssmd rewrite`.
#[derive(Debug, Args)]
pub(crate) struct RewriteArgs {
    /// The capture to read, pcap or pcapng.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The capture to write: a file, a pipe, a character device, or - for standard output.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Write synthetic payload instead of the capture's own.
    #[arg(long)]
    pub synthetic_payload: bool,
    /// Seed of the new addresses, ports and sequence numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// Print a summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
