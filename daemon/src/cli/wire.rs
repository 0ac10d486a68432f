//! `netssmd replay` and `netssmd rewrite`.

use std::path::PathBuf;

use clap::Args;
use netssm_replay::pace::Speed;

use super::generate::AddressArgs;
use super::values;

/// `netssmd replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The capture, pcap or pcapng.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Interface that packets leave on.
    #[arg(long, value_name = "NAME")]
    pub interface: String,
    /// Second interface, for packets from the server side; --interface then sends those from the client side.
    #[arg(long, value_name = "NAME")]
    pub server_interface: Option<String>,
    /// Factor on the capture's time, or "top" for as fast as it goes.
    #[arg(long, default_value = "1.0", value_parser = values::speed)]
    pub speed: Speed,
    /// Play the capture so often, with new addresses each time.
    #[arg(long = "loop", value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub times: u64,
    /// Make payload up instead of sending the capture's own.
    #[arg(long)]
    pub synthetic_payload: bool,
    /// Seed of the new addresses, ports and sequence numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Do not put up the nftables rules that keep this host from answering.
    #[arg(long)]
    pub no_nftables: bool,
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// Print a summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `netssmd rewrite`
#[derive(Debug, Args)]
pub(crate) struct RewriteArgs {
    /// The capture to read, pcap or pcapng.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The capture to write: a file, a pipe, a character device, or - for standard output.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Make payload up instead of keeping the capture's own.
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
