//! Numbers of what a session has, one type each, so that a flow's is never taken for a host's.
//!
//! They count from 0 in order of first appearance and index the survey's lists. Each is stored plus one, so an `Option`
//! of it takes four bytes: there are six in what is kept of every packet.

use std::num::NonZeroU32;

macro_rules! ids {
    ($($(#[$doc:meta])* $vis:vis $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(NonZeroU32);

        impl $name {
            /// The one at this place of its list. Lists are shorter than 2^32 - 1: a session does not fit in memory
            /// before.
            pub(crate) fn at(index: usize) -> $name {
                $name(u32::try_from(index).ok().and_then(|i| NonZeroU32::MIN.checked_add(i)).unwrap_or(NonZeroU32::MAX))
            }

            /// Its place in its list, from 0.
            $vis fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }
    )*};
}

ids! {
    /// A host of a session, by its original IP address.
    pub(crate) HostId;
    /// An Ethernet address of a session that a frame was sent from or to.
    pub(crate) MacEndpointId;
    /// A two-way flow of a session, by first packet.
    pub FlowId;
    /// A fragmented datagram of a session, by first fragment seen.
    pub(crate) DatagramId;
}

/// What numbers are drawn by for the host, flow or datagram at this place of its list; packets that have none share a
/// key.
pub(crate) fn draw_key(index: Option<usize>) -> u64 {
    index.map_or(u64::from(u32::MAX), |index| index as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_small_and_draw_as_their_place() {
        assert_eq!(size_of::<Option<HostId>>(), 4);
        assert_eq!((FlowId::at(0).index(), FlowId::at(7).index()), (0, 7));
        assert_eq!((draw_key(Some(7)), draw_key(None)), (7, u64::from(u32::MAX)));
    }
}
