//! The UDP header (RFC 768).

use crate::view::views;

views! {
    8;
    /// Source port.
    src_port, set_src_port: u16 = 0..2;
    /// Destination port.
    dst_port, set_dst_port: u16 = 2..4;
    /// Length of header and data in bytes, as it stands there.
    length, set_length: u16 = 4..6;
    /// Checksum; over IPv4, 0 means none.
    checksum, set_checksum: u16 = 6..8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 8] = [0xd5, 0x39, 0, 53, 0, 40, 0x12, 0x34];

    #[test]
    fn views_read_and_set_in_place() {
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_dst_port(5353);
        view.set_length(7);
        let view = View::new(&bytes).unwrap();
        let fields = (view.src_port(), view.dst_port(), view.length(), view.checksum());
        assert_eq!(fields, (54585, 5353, 7, 0x1234));
        assert!(View::new(&BYTES[..7]).is_none());
    }
}
