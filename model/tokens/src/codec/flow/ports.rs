//! The table of ports that have a token, in the order of the alphabet.

use super::vocab::PORT;

/// Ports with a token of their own. Only append to this list: places are ids.
pub const PORTS: [u16; 50] = [
    53, 80, 443, 22, 123, 5353, 1900, 67, 68, 137, 138, 5355, 3478, 8080, 21, 23, 25, 110, 143, 993, 995,
    587, 465, 445, 139, 135, 389, 3389, 5060, 5061, 1935, 853, 500, 4500, 1194, 8443, 8801, 5222, 5223, 5228,
    4070, 554, 161, 514, 179, 6881, 3074, 19302, 3702, 27036,
];

const _: () = assert!(PORTS.len() == PORT.len as usize);

/// How many of the ports from 1024 to 32767 have no token.
pub(super) const MID_PORTS: u64 = {
    let (mut at, mut count) = (0, 32_768 - 1_024);
    while at < PORTS.len() {
        if PORTS[at] >= 1_024 && PORTS[at] < 32_768 {
            count -= 1;
        }
        at += 1;
    }
    count
};

/// The place of a port in the table.
pub(super) fn place(port: u16) -> Option<usize> {
    PORTS.iter().position(|&known| known == port)
}

/// The `index`th port from 1024 to 32767 without a token.
pub(super) fn mid_port(index: u64) -> u16 {
    let mut port = 1_024 + (index % MID_PORTS) as u16;
    // Each port of the table at or below the answer moves it up by one. The table is in ascending order here, so one
    // pass is enough.
    let mut known: arrayvec::ArrayVec<u16, 50> =
        PORTS.iter().copied().filter(|port| (1_024..32_768).contains(port)).collect();
    known.sort_unstable();
    for taken in known {
        if taken <= port {
            port += 1;
        }
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mid_ports_are_all_the_others() {
        let ports: std::collections::BTreeSet<_> = (0..MID_PORTS).map(mid_port).collect();
        assert_eq!(ports.len() as u64, MID_PORTS);
        assert!(ports.iter().all(|&port| (1_024..32_768).contains(&port) && place(port).is_none()));
    }

    #[test]
    fn no_port_stands_twice() {
        let ports: std::collections::BTreeSet<_> = PORTS.iter().collect();
        assert_eq!(ports.len(), PORTS.len());
    }
}
