//! Ethernet II with 802.1Q and 802.1ad tags.

use etherparse::{EtherType, Ethernet2Header, SingleVlanHeader};

use crate::MacAddr;
use crate::frame::{Layer, Tags, ethertype};
use crate::header::{Header, Wire};
use crate::view::views;

views! {
    14;
    /// Destination address.
    dst, set_dst: MacAddr = 0..6;
    /// Source address.
    src, set_src: MacAddr = 6..12;
    /// Ethertype, tag protocol identifier of the first tag, or 802.3 length.
    ethertype, set_ethertype: u16 = 12..14;
}

/// An Ethernet header with its tags, outermost first.
///
/// As on the wire, each part names what follows: `link.ether_type` is the first tag's protocol identifier if
/// there is one, and the last tag's `ether_type` is the frame's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    link: Ethernet2Header,
    tags: Vec<SingleVlanHeader>,
}

impl Repr {
    /// A header without tags. A tag protocol identifier as `ethertype` would promise a tag, so use
    /// [`Repr::push_tag`].
    pub fn new(src: MacAddr, dst: MacAddr, ethertype: u16) -> Option<Repr> {
        let ether_type = EtherType(ethertype);
        (!is_tag(ethertype)).then(|| Repr {
            link: Ethernet2Header { source: src.0, destination: dst.0, ether_type },
            tags: Vec::new(),
        })
    }

    /// Puts a tag in front of the others. `false` when `tpid` is no tag protocol identifier or there are two
    /// already.
    pub fn push_tag(&mut self, tpid: u16, tci: u16) -> bool {
        let room = is_tag(tpid) && self.tags.len() < Tags::MAX;
        if room {
            let [a, b] = tci.to_be_bytes();
            let [c, d] = self.link.ether_type.0.to_be_bytes();
            self.tags.insert(0, SingleVlanHeader::from_bytes([a, b, c, d]));
            self.link.ether_type = EtherType(tpid);
        }
        room
    }

    /// Source address.
    pub fn src(&self) -> MacAddr {
        MacAddr(self.link.source)
    }

    /// Destination address.
    pub fn dst(&self) -> MacAddr {
        MacAddr(self.link.destination)
    }

    /// Tags, outermost first; each names the type of what follows it.
    pub fn tags(&self) -> &[SingleVlanHeader] {
        &self.tags
    }

    /// What the frame carries: the type after the tags.
    pub fn ethertype(&self) -> u16 {
        self.tags.last().map_or(self.link.ether_type, |tag| tag.ether_type).0
    }
}

fn is_tag(kind: u16) -> bool {
    matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD)
}

impl Wire for Repr {
    const LAYER: Layer = Layer::Ethernet;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        let Ok((link, mut rest)) = Ethernet2Header::from_slice(bytes) else {
            return Header::cut(bytes, Ethernet2Header::LEN);
        };
        let mut repr = Repr { link, tags: Vec::new() };
        while is_tag(repr.ethertype()) && repr.tags.len() < Tags::MAX {
            let Ok((tag, after)) = SingleVlanHeader::from_slice(rest) else {
                return Header::cut(bytes, repr.emit_len() + SingleVlanHeader::LEN);
            };
            repr.tags.push(tag);
            rest = after;
        }
        Header::Whole(repr)
    }

    fn emit_len(&self) -> usize {
        Ethernet2Header::LEN + self.tags.len() * SingleVlanHeader::LEN
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.link.to_bytes());
        for tag in &self.tags {
            out.extend_from_slice(&tag.to_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 802.1ad outer tag 100 with priority 5, 802.1Q inner tag 7 with the drop bit, then IPv4.
    const QINQ: [u8; 22] =
        [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xa8, 0xa0, 100, 0x81, 0x00, 0x10, 7, 0x08, 0x00];

    fn built() -> Repr {
        let mut repr =
            Repr::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), ethertype::IPV4).unwrap();
        assert!(repr.push_tag(ethertype::VLAN, 0x1007));
        assert!(repr.push_tag(ethertype::QINQ, 0xa064));
        repr
    }

    #[test]
    fn reads_and_builds_two_tags() {
        let Header::Whole(read) = Repr::parse(&QINQ) else { panic!("not whole") };
        assert_eq!(read, built());
        assert_eq!((read.ethertype(), read.tags()[0].vlan_id.value()), (ethertype::IPV4, 100));
        assert_eq!((read.tags()[0].pcp.value(), read.tags()[1].drop_eligible_indicator), (5, true));
        let mut out = vec![0xee; 3];
        built().emit(&mut out);
        assert_eq!(&out[3..], QINQ);
    }

    #[test]
    fn a_third_tag_is_a_type_and_a_tag_type_needs_a_tag() {
        let mut repr = built();
        assert!(!repr.push_tag(ethertype::VLAN, 1));
        assert!(!repr.push_tag(ethertype::IPV4, 1));
        assert_eq!(Repr::new(MacAddr::ZERO, MacAddr::ZERO, ethertype::QINQ_OLD), None);
        let mut three = QINQ.to_vec();
        three[20..22].copy_from_slice(&[0x81, 0]);
        three.extend([0, 1, 8, 0]);
        let read = Repr::parse(&three);
        assert_eq!((read.emit_len(), read.whole().map(Repr::ethertype)), (22, Some(0x8100)));
    }

    #[test]
    fn cut_headers_keep_their_bytes() {
        for len in 0..QINQ.len() {
            let read = Repr::parse(&QINQ[..len]);
            let need = if len < 14 {
                14
            } else if len < 18 {
                18
            } else {
                22
            };
            assert_eq!(read, Header::Cut { bytes: QINQ[..len].to_vec(), need });
            let mut out = Vec::new();
            read.emit(&mut out);
            assert_eq!(out, &QINQ[..len]);
        }
    }

    #[test]
    fn views_set_in_place() {
        let mut bytes = QINQ;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_src(MacAddr::BROADCAST);
        view.set_ethertype(ethertype::IPV6);
        assert_eq!((view.view().src(), view.view().ethertype()), (MacAddr::BROADCAST, ethertype::IPV6));
        assert_eq!((view.view().dst(), view.rest_mut().len()), (MacAddr([2, 0, 0, 0, 0, 2]), 8));
        assert!(View::new(&bytes[..13]).is_none());
    }
}
