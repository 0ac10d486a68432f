//! nPrint's layout: the place of every header bit.
//!
//! nPrint writes a packet as one row of bits: every header it knows at its full size, in network order, and -1 for a
//! bit that the packet does not have, be it that the header is absent or that it is shorter than it could be. This
//! module keeps bytes in place of bits, and -1 as a 257th value of a byte, *absent*. Bits and fields are parts of
//! bytes. Column names are nPrint's.
//!
//! | header | bytes | bits | shorter when |
//! |---|---|---|---|
//! | ipv4 | 60 | 480 | no or fewer options |
//! | ipv6 | 40 | 320 | never; extension headers are not in nPrint |
//! | tcp | 60 | 480 | no or fewer options |
//! | udp | 8 | 64 | never |
//! | icmp | 8 | 64 | never; ICMPv4 only |
//!
//! Source: J. Holland, P. Schmitt, N. Feamster, P. Mittal, "New Directions in Automated Traffic Analysis", ACM CCS
//! 2021; the names and widths of the columns from the nPrint program. Header formats: RFC 791, 8200, 9293, 768, 792.

/// One header of the layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) name: &'static str,
    /// Full size in bytes.
    pub(super) len: usize,
    /// Fields in order: column name and bits. Together they are the header.
    pub(super) fields: &'static [(&'static str, usize)],
}

pub(super) const IPV4: usize = 0;
pub(super) const IPV6: usize = 1;
pub(super) const TCP: usize = 2;
pub(super) const UDP: usize = 3;
pub(super) const ICMP: usize = 4;

/// All headers, in nPrint's order.
pub(super) const HEADERS: [Header; 5] = [
    Header {
        name: "ipv4",
        len: 60,
        fields: &[
            ("ipv4_ver", 4),
            ("ipv4_hl", 4),
            ("ipv4_tos", 8),
            ("ipv4_tl", 16),
            ("ipv4_id", 16),
            ("ipv4_rbit", 1),
            ("ipv4_dfbit", 1),
            ("ipv4_mfbit", 1),
            ("ipv4_foff", 13),
            ("ipv4_ttl", 8),
            ("ipv4_proto", 8),
            ("ipv4_cksum", 16),
            ("ipv4_src", 32),
            ("ipv4_dst", 32),
            ("ipv4_opt", 320),
        ],
    },
    Header {
        name: "ipv6",
        len: 40,
        fields: &[
            ("ipv6_ver", 4),
            ("ipv6_tc", 8),
            ("ipv6_fl", 20),
            ("ipv6_len", 16),
            ("ipv6_nh", 8),
            ("ipv6_hl", 8),
            ("ipv6_src", 128),
            ("ipv6_dst", 128),
        ],
    },
    Header {
        name: "tcp",
        len: 60,
        fields: &[
            ("tcp_sprt", 16),
            ("tcp_dprt", 16),
            ("tcp_seq", 32),
            ("tcp_ackn", 32),
            ("tcp_doff", 4),
            ("tcp_res", 3),
            ("tcp_ns", 1),
            ("tcp_cwr", 1),
            ("tcp_ece", 1),
            ("tcp_urg", 1),
            ("tcp_ackf", 1),
            ("tcp_psh", 1),
            ("tcp_rst", 1),
            ("tcp_syn", 1),
            ("tcp_fin", 1),
            ("tcp_wsize", 16),
            ("tcp_cksum", 16),
            ("tcp_urp", 16),
            ("tcp_opt", 320),
        ],
    },
    Header {
        name: "udp",
        len: 8,
        fields: &[("udp_sport", 16), ("udp_dport", 16), ("udp_len", 16), ("udp_cksum", 16)],
    },
    Header {
        name: "icmp",
        len: 8,
        fields: &[("icmp_type", 8), ("icmp_code", 8), ("icmp_cksum", 16), ("icmp_roh", 32)],
    },
];

/// Bytes of a row.
pub(super) const LEN: usize = 60 + 40 + 60 + 8 + 8;

/// Where a header starts in a row, in bytes.
pub(super) fn start(header: usize) -> usize {
    HEADERS[..header].iter().map(|header| header.len).sum()
}

/// Part of one byte: `(byte >> shift) & (2^width - 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Byte within the header.
    pub(super) byte: usize,
    pub(super) shift: usize,
    /// Bits, 1 to 8.
    pub(super) width: usize,
}

/// The fields of a header, each as the parts of bytes that it is made of, most significant first.
pub(super) fn fields(header: &Header) -> Vec<(&'static str, Vec<Piece>)> {
    let mut at = 0;
    let field = |&(name, bits): &(&'static str, usize)| {
        let end = at + bits;
        let mut pieces = Vec::new();
        while at < end {
            let width = (8 - at % 8).min(end - at);
            pieces.push(Piece { byte: at / 8, shift: 8 - at % 8 - width, width });
            at += width;
        }
        (name, pieces)
    };
    header.fields.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_nprint_s_sizes() {
        let bits: Vec<usize> =
            HEADERS.iter().map(|header| header.fields.iter().map(|(_, bits)| bits).sum()).collect();
        assert_eq!(bits, [480, 320, 480, 64, 64]);
        assert_eq!(HEADERS.map(|header| header.len * 8).as_slice(), bits);
        assert_eq!((start(TCP), start(ICMP) + 8), (100, LEN));
    }

    #[test]
    fn fields_are_parts_of_bytes() {
        let of = |header: usize, name: &str| {
            fields(&HEADERS[header]).into_iter().find(|(field, _)| *field == name).expect("a field").1
        };
        let piece = |byte, shift, width| Piece { byte, shift, width };
        // The flags of TCP are the fourteenth byte from CWR down to FIN (RFC 9293 section 3.1).
        assert_eq!(of(TCP, "tcp_cwr"), [piece(13, 7, 1)]);
        assert_eq!(of(TCP, "tcp_syn"), [piece(13, 1, 1)]);
        assert_eq!(of(TCP, "tcp_doff"), [piece(12, 4, 4)]);
        assert_eq!(of(TCP, "tcp_wsize"), [piece(14, 0, 8), piece(15, 0, 8)]);
        assert_eq!(of(TCP, "tcp_opt").len(), 40);
        assert_eq!(of(IPV4, "ipv4_dfbit"), [piece(6, 6, 1)]);
        assert_eq!(of(IPV4, "ipv4_foff"), [piece(6, 0, 5), piece(7, 0, 8)]);
        assert_eq!(of(IPV6, "ipv6_tc"), [piece(0, 0, 4), piece(1, 4, 4)]);
        assert_eq!(of(IPV6, "ipv6_fl"), [piece(1, 0, 4), piece(2, 0, 8), piece(3, 0, 8)]);
    }
}
