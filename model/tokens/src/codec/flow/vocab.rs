//! The alphabet of the flow codec: 1,024 ids in classes, each class one run of ids with one meaning.
//!
//! A class belongs to one place of the grammar, or to places with a mandatory token between them. So the next token
//! alone tells a reader whether an optional field is there. [`BYTE`] is an exception: bytes stand only where they are
//! mandatory.
//!
//! Ids are stable: [`vocab_hash`] is stored with every corpus and checkpoint.

use sha2::{Digest, Sha256};

/// Grammar ids; labels follow from here on.
pub const GRAMMAR_SIZE: u16 = 1024;

/// A run of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Lowest id.
    pub first: u16,
    /// How many.
    pub len: u16,
    /// Name in the grammar.
    pub name: &'static str,
}

impl Class {
    /// The id of member `index`; indices beyond the class stay at its last id.
    pub const fn at(self, index: usize) -> u16 {
        let last = self.len - 1;
        self.first + if index > last as usize { last } else { index as u16 }
    }

    /// The member that `token` is.
    pub const fn index(self, token: u16) -> Option<usize> {
        if token >= self.first && token - self.first < self.len {
            Some((token - self.first) as usize)
        } else {
            None
        }
    }

    /// Whether `token` is a member.
    pub const fn has(self, token: u16) -> bool {
        self.index(token).is_some()
    }
}

/// Where class `index` begins.
const fn first(lens: &[u16], index: usize) -> u16 {
    let (mut at, mut sum) = (0, 0);
    while at < index {
        sum += lens[at];
        at += 1;
    }
    sum
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident: $len:expr;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Place { $($name),* }
        const LENS: &[u16] = &[$($len),*];
        $($(#[$doc])* pub const $name: Class =
            Class { first: first(LENS, Place::$name as usize), len: $len, name: stringify!($name) };)*
        /// Every class in the order of ids.
        pub const CLASSES: &[Class] = &[$($name),*];
        /// Ids that mean something.
        pub const USED: u16 = first(LENS, LENS.len());
    };
}

classes! {
    /// Literal bytes and small numbers, wherever the grammar asks for one.
    BYTE: 256;
    /// Padding of training batches; never in a stream.
    PAD: 1;
    /// End of the session.
    EOS: 1;
    /// Direction of the capture: outward, inward, local, other.
    DIR: 4;
    /// Link-rate class, powers of four from below 64 kbit/s.
    RATE: 8;
    /// Exact gap of 0 to 15 microseconds.
    TIME_EXACT: 16;
    /// Gap in quarter octaves from 16 microseconds on.
    TIME_COARSE: 104;
    /// A gap outside the other two, in the side table.
    TIME_SIDE: 1;
    /// Sixteenth of a coarse bin.
    TIME_FINE: 16;
    /// A known flow, sent in its initiator's direction.
    FLOW_FORTH: 32;
    /// A known flow, sent against its initiator's direction.
    FLOW_BACK: 32;
    /// A known flow beyond the ranks above (forth, back); a byte follows.
    FLOW_FAR: 2;
    /// A new flow: TCP, UDP, ICMP, IGMP, another IP protocol, a link-layer protocol.
    NEW: 6;
    /// A frame that the grammar cannot carry, byte by byte.
    ESC: 1;
    /// ARP: request, reply, and one with unusual fields.
    ARP: 3;
    /// A known host.
    HOST: 40;
    /// A known host beyond these; two bytes follow.
    HOST_FAR: 1;
    /// A new host by address class.
    HOST_NEW: 12;
    /// A well-known port by its place in the table.
    PORT: 50;
    /// A port from 32768 on, in the side table. In a new ICMP flow: the flow has an identifier.
    PORT_HIGH: 1;
    /// A port from 1024 to 32767, in the side table.
    PORT_MID: 1;
    /// A port below 1024; two bytes follow.
    PORT_LOW: 1;
    /// TCP flags (13) by payload length class (8).
    SHAPE: 104;
    /// Payload length class of everything else.
    LENGTH: 8;
    /// Literal length, upper part; a byte with the lower five bits follows.
    LEN_HIGH: 48;
    /// Literal length from 1536 on; two bytes follow.
    LEN_LONG: 1;
    /// VLAN tags differ from the flow's.
    VLAN: 1;
    /// MAC addresses differ from those expected.
    MAC: 1;
    /// The capture length cut the header elsewhere than expected; a byte says how many bytes are missing.
    SNAP: 1;
    /// Sequence number: retransmission 0-7, gap 8-11, hole 12-15, keep-alive, literal, fresh.
    SEQ: 19;
    /// Acknowledgement: same, all, boundary 2-13, literal.
    ACK: 15;
    /// Window: edge, recent 1-4, step 5-20, recent step 21-24, byte down, byte up, literal.
    WIN: 28;
    /// SYN options: recent 0-3, layout 4-19, template, literal.
    SYN_OPTIONS: 22;
    /// Options of other segments: none, timestamps.
    OPTIONS: 2;
    /// Options as literal bytes.
    OPTIONS_LITERAL: 1;
    /// Number of SACK blocks.
    SACK: 4;
    /// A SACK block: extended, new, literal, one of the previous list 3-6.
    SACK_BLOCK: 7;
    /// Timestamp value against the clock: -12..-1, 1..12, literal.
    TS_VALUE: 25;
    /// Timestamp echo: same, last, next 2-9, literal.
    TS_ECHO: 11;
    /// Urgent pointer.
    URGENT: 1;
    /// IP identification: mode 0-4, step 5-12, random.
    IP_ID: 14;
    /// Time to live or hop limit.
    TTL: 1;
    /// Type of service or traffic class.
    TOS: 1;
    /// Fragment field.
    FRAGMENT: 1;
    /// Flow label.
    FLOW_LABEL: 1;
    /// IPv4 options.
    IP_OPTIONS: 1;
    /// UDP length field.
    UDP_LENGTH: 1;
    /// Padding to the least Ethernet frame, switched on or off.
    PADDING: 1;
    /// Length on the wire.
    WIRE_LEN: 1;
    /// IPv4 checksum: mode switched, literal.
    IP_CHECKSUM: 2;
    /// Transport checksum: right, pseudo-header only, zero, literal.
    CHECKSUM: 4;
    /// ICMP or IGMP type and code; ARP target MAC.
    ICMP_TYPE: 1;
    /// ICMP: the first word behind the checksum.
    ICMP_WORD: 1;
    /// ICMP: the second word behind the checksum.
    ICMP_SEQUENCE: 1;
    /// Payload profile: generic, DNS, gQUIC, QUIC, RTP, STUN.
    PROFILE: 6;
    /// A template byte that differs, by position; a byte follows.
    DIFF: 12;
    /// A window against its template: fresh from place 0-9 on, one of the last 10-12, a well-known one 13-20.
    DIFF_ALL: 21;
    /// A byte of a longer template differs: position and value follow.
    DIFF_AT: 1;
    /// DNS flags by table 0-7, literal, then one of the last shapes of a message.
    DNS_FLAGS: 15;
    /// A DNS count that differs: questions, answers, authorities, additional records; a byte follows.
    DNS_COUNTS: 4;
    /// A DNS id that is not the expected one: fresh, or of a query that waits.
    DNS_ID: 4;
    /// Packet or RTP sequence number against the expected one: 1-10, -1..-6, literal.
    PACKET_NUMBER: 17;
    /// QUIC: flags, version, connection id length, kept prefix, byte order of the packet number.
    QUIC: 5;
    /// RTP: control packet, flags, source 2-4, type, marker, timestamp step before, literal, control length, reporter.
    RTP: 11;
    /// STUN: message type, length, transaction 2-4.
    STUN: 5;
}

const _: () = assert!(USED <= GRAMMAR_SIZE);

/// Whether a token closes the open packet: it begins another one or ends the session.
pub const fn closes(token: u16) -> bool {
    TIME_EXACT.has(token) || TIME_COARSE.has(token) || TIME_SIDE.has(token) || EOS.has(token)
}

/// Whether a token tells time.
pub const fn is_time(token: u16) -> bool {
    TIME_EXACT.has(token) || TIME_COARSE.has(token) || TIME_SIDE.has(token) || TIME_FINE.has(token)
}

/// The name of a token, for reports: its class and its place in it.
pub fn name(token: u16) -> String {
    let class = CLASSES.iter().find(|class| class.has(token));
    class.map_or_else(|| format!("?{token}"), |class| format!("{}{}", class.name, token - class.first))
}

/// Hash of the names and sizes of all classes: same hash, same alphabet.
pub fn vocab_hash() -> String {
    let mut hash = Sha256::new();
    for class in CLASSES {
        hash.update(format!("{}:{};", class.name, class.len));
    }
    hex::encode(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_lie_end_to_end_and_names_are_unique() {
        let mut next = 0;
        for class in CLASSES {
            assert_eq!(class.first, next, "{}", class.name);
            next += class.len;
        }
        assert_eq!(next, USED);
        let names: std::collections::HashSet<_> = CLASSES.iter().map(|class| class.name).collect();
        assert_eq!(names.len(), CLASSES.len());
    }

    #[test]
    fn ids_and_members_are_inverse() {
        for token in 0..USED {
            let class = CLASSES.iter().find(|class| class.has(token)).expect("every used id has a class");
            assert_eq!(class.at(class.index(token).expect("it is in there")), token);
        }
        assert_eq!(name(SEQ.at(18)), "SEQ18");
        assert_eq!(name(USED), format!("?{USED}"));
        assert_eq!(SEQ.at(99), SEQ.at(18));
    }
}
