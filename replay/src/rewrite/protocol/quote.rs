//! The addresses of the packet that an ICMP error quotes.
//!
//! A quote is rewritten with the same map as the packet it comes from. One that [`Quoted::read`] does not read is
//! replaced: see `errors`.

use std::net::IpAddr;

use netssm_wire::flow::FiveTuple;
use netssm_wire::quote::Quoted;

use super::addresses::Addresses;
use crate::rewrite::dropped::Dropped;

/// Visits the addresses of a quote that [`Quoted::read`] reads.
pub(crate) fn visit_quote(quote: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    match Quoted::read(quote) {
        Some(Quoted { tuple: FiveTuple { src: IpAddr::V4(_), .. }, .. }) => {
            addresses.v4_at(&mut quote[12..16])?;
            addresses.v4_at(&mut quote[16..20])
        }
        Some(_) => {
            addresses.v6_at(&mut quote[8..24])?;
            addresses.v6_at(&mut quote[24..40])
        }
        None => Ok(()),
    }
}
