//! The Ethernet II header. Tags (802.1Q, 802.1ad) are found by [`Layout`](crate::frame::Layout).

use crate::MacAddr;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ethertype;

    /// 802.1ad outer tag 100 with priority 5, 802.1Q inner tag 7 with the drop bit, then IPv4.
    const QINQ: [u8; 22] =
        [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xa8, 0xa0, 100, 0x81, 0x00, 0x10, 7, 0x08, 0x00];

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
