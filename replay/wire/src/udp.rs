//! UDP. The Repr is etherparse's header, which keeps every bit.

pub use etherparse::UdpHeader as Repr;

use crate::frame::Layer;
use crate::header::{Header, Wire};
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

impl Wire for Repr {
    const LAYER: Layer = Layer::Udp;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        match Repr::from_slice(bytes) {
            Ok((header, _)) => Header::Whole(header),
            Err(error) => Header::cut(bytes, error.required_len),
        }
    }

    fn emit_len(&self) -> usize {
        Repr::LEN
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 8] = [0xd5, 0x39, 0, 53, 0, 40, 0x12, 0x34];

    #[test]
    fn reads_builds_and_sets() {
        let built = Repr { source_port: 54585, destination_port: 53, length: 40, checksum: 0x1234 };
        assert_eq!(Header::parse(&BYTES), Header::Whole(built.clone()));
        let mut out = vec![0xee];
        Wire::emit(&built, &mut out);
        assert_eq!(out[1..], BYTES);
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_dst_port(5353);
        view.set_length(7);
        let view = View::new(&bytes).unwrap();
        let fields = (view.src_port(), view.dst_port(), view.length(), view.checksum());
        assert_eq!(fields, (54585, 5353, 7, 0x1234));
    }

    #[test]
    fn a_cut_header_keeps_its_bytes() {
        assert_eq!(Header::<Repr>::parse(&BYTES[..5]), Header::Cut { bytes: BYTES[..5].to_vec(), need: 8 });
    }
}
