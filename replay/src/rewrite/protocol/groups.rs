//! Group membership: the common shape of IGMP version 3 (RFC 3376) and MLD version 2 (RFC 3810), and their older
//! forms.
//!
//! A query names one group and may list sources; a report has records of a group, its sources, and auxiliary
//! data, which no version defines and which is cleared here. Where captured bytes end early, the counts are set
//! to what is there, and the rest is zeros, which both RFCs tell receivers to ignore.

use super::addresses::Addresses;
use crate::rewrite::dropped::Dropped;

/// IP version of the addresses inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IGMP.
    V4,
    /// MLD.
    V6,
}

impl Family {
    /// Bytes of an address.
    fn size(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    fn visit(self, bytes: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
        match self {
            Family::V4 => addresses.v4_at(bytes),
            Family::V6 => addresses.v6_at(bytes),
        }
    }

    /// Offset of a query's or old report's group.
    fn group_at(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 8,
        }
    }

    /// Offset of a new query's source list; its length is in the two bytes before.
    fn sources_at(self) -> usize {
        self.group_at() + self.size() + 4
    }

    /// The group that a made-up record is for: multicast DNS.
    fn some_group(self) -> &'static [u8] {
        match self {
            Family::V4 => &[224, 0, 0, 251],
            Family::V6 => &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb],
        }
    }
}

/// Offset of a report's records; their number is in the two bytes before.
const RECORDS_AT: usize = 8;
/// Record type "change to exclude mode": joins a group.
const CHANGE_TO_EXCLUDE: u8 = 4;

fn count_at(message: &[u8], at: usize) -> usize {
    message.get(at..at + 2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])))
}

/// Visits a query, or a report or leave message of the versions before.
pub(crate) fn visit_query(
    message: &mut [u8],
    family: Family,
    addresses: &mut dyn Addresses,
) -> Result<(), Dropped> {
    let (at, size) = (family.group_at(), family.size());
    family.visit(message.get_mut(at..at + size).unwrap_or_default(), addresses)?;
    for source in sources(message, family) {
        family.visit(&mut message[source..source + size], addresses)?;
    }
    Ok(())
}

/// Offsets of a query's sources that are whole.
fn sources(message: &[u8], family: Family) -> impl Iterator<Item = usize> + use<> {
    let (at, size) = (family.sources_at(), family.size());
    let room = message.len().saturating_sub(at) / size;
    let count = if message.len() >= at { count_at(message, at - 2).min(room) } else { 0 };
    (0..count).map(move |i| at + i * size)
}

/// Makes the end of a query whose first `have` bytes are there.
pub(crate) fn finish_query(message: &mut [u8], family: Family, have: usize) {
    let (at, have) = (family.sources_at(), have.min(message.len()));
    if message.len() >= at {
        let count = sources(&message[..have], family).count();
        message[at - 2..at].copy_from_slice(&(count as u16).to_be_bytes()); // at most what a u16 said
        // Before "suppress" and robustness are four reserved bits, one of which RFC 9279 lets announce an extension
        // after the sources, where nothing of the session is left.
        message[at - 4] &= 0x0f;
        message[at + count * family.size()..].fill(0);
    } else if let Some(padding) = message.get_mut(at - 4..) {
        // Of the version before, and too long for it.
        padding.fill(0);
    }
}

/// Where a whole record of a report lies: its group, its sources, its end.
fn record(message: &[u8], at: usize, family: Family) -> Option<(usize, usize, usize)> {
    let head = message.get(at..at + 4)?;
    let (aux, count) = (usize::from(head[1]) * 4, count_at(head, 2));
    let sources = at + 4 + family.size();
    let end = sources + count * family.size() + aux;
    (end <= message.len()).then_some((sources, sources + count * family.size(), end))
}

/// Visits a report of the newer versions.
pub(crate) fn visit_report(
    message: &mut [u8],
    family: Family,
    addresses: &mut dyn Addresses,
) -> Result<(), Dropped> {
    let mut at = RECORDS_AT;
    for _ in 0..count_at(message, RECORDS_AT - 2) {
        let Some((_, aux, end)) = record(message, at, family) else { break };
        for address in message[at + 4..aux].chunks_exact_mut(family.size()) {
            family.visit(address, addresses)?;
        }
        message[aux..end].fill(0);
        at = end;
    }
    Ok(())
}

/// Makes the end of a report whose first `have` bytes are there: what the whole records leave becomes records of
/// a well-known group, whose auxiliary data takes the rest.
pub(crate) fn finish_report(message: &mut [u8], family: Family, have: usize) {
    let have = have.min(message.len());
    let (mut at, mut records) = (RECORDS_AT, 0u16);
    for _ in 0..count_at(message, RECORDS_AT - 2) {
        let Some((_, _, end)) = record(&message[..have], at, family) else { break };
        (at, records) = (end, records + 1);
    }
    let group = family.some_group();
    let head = 4 + group.len();
    message[at..].fill(0);
    while message.len() - at >= head {
        // Auxiliary data is counted in words of 4 bytes, at most 255.
        let words = ((message.len() - at - head) / 4).min(255);
        message[at..at + 2].copy_from_slice(&[CHANGE_TO_EXCLUDE, words as u8]);
        message[at + 4..at + head].copy_from_slice(group);
        (at, records) = (at + head + words * 4, records.saturating_add(1));
    }
    message[RECORDS_AT - 2..RECORDS_AT].copy_from_slice(&records.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a report back; gives the number of records and how many bytes follow them.
    fn read(message: &[u8], family: Family) -> (usize, usize) {
        let (mut at, count) = (RECORDS_AT, count_at(message, RECORDS_AT - 2));
        for number in 0..count {
            at = record(message, at, family).unwrap_or_else(|| panic!("record {number} of {count} is cut")).2;
        }
        (count, message.len() - at)
    }

    #[test]
    fn reports_of_any_length_are_records_to_their_end() {
        for family in [Family::V4, Family::V6] {
            for have in [8, 9, 16, 36, 60] {
                for len in have..1500 {
                    let mut message = vec![0u8; len];
                    message[7] = 2;
                    finish_report(&mut message, family, have);
                    let (count, rest) = read(&message, family);
                    assert!(
                        rest < 4 + family.size() && (count > 0 || len < 8 + 4 + family.size()),
                        "{have} of {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn whole_records_stay_and_cut_ones_are_replaced() {
        let mut message =
            vec![0x22, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 1, 224, 0, 0, 9, 10, 0, 0, 1, 4, 0, 0, 1, 224];
        let have = message.len();
        message.resize(36, 0xee);
        finish_report(&mut message, Family::V4, have);
        assert_eq!(message[..20], [0x22, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 1, 224, 0, 0, 9, 10, 0, 0, 1]);
        assert_eq!(message[20..], [4, 2, 0, 0, 224, 0, 0, 251, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_query_lists_the_sources_that_are_there() {
        let mut query = vec![0x11, 0, 0, 0, 224, 0, 0, 9, 0, 0, 0, 3, 10, 0, 0, 1, 10, 0, 0, 2, 10, 0];
        let have = query.len();
        query.resize(30, 0xee);
        finish_query(&mut query, Family::V4, have);
        assert_eq!(query[10..12], [0, 2]);
        assert!(query[20..].iter().all(|b| *b == 0));
        let mut older = [0x11, 0, 0, 0, 224, 0, 0, 9, 0xee, 0xee, 0xee];
        finish_query(&mut older, Family::V4, 11);
        assert_eq!(older, [0x11, 0, 0, 0, 224, 0, 0, 9, 0, 0, 0]);
    }
}
