//! The option list that IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) share: kind, length, data.
//!
//! Kind 0 ends the list and kind 1 is one byte of padding; every other kind is followed by a length that counts kind
//! and length too. [`item_at`] reads one item by its place, so callers can change options in place; the typed walks
//! ([`tcp::OptionWalk`](crate::tcp::OptionWalk), [`ipv4::Options`](crate::ipv4::Options)) stand on it.

/// Kind that ends the list.
pub const END: u8 = 0;
/// Kind that is one byte of padding.
pub const NOP: u8 = 1;

/// What stands at one place of an option list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The end mark; what follows it is padding.
    End,
    /// One byte of padding.
    Nop,
    /// An option that is whole.
    Option {
        /// Kind, 2 or more.
        kind: u8,
        /// Bytes of the option with kind and length, 2 or more; all of them are there.
        len: usize,
    },
    /// A kind whose length is missing, below 2, or leads beyond the list: nothing after it can be told apart.
    Broken,
}

impl Item {
    /// Bytes that the item takes; `None` where the list ends for a reader.
    #[inline]
    pub fn size(self) -> Option<usize> {
        match self {
            Item::Nop => Some(1),
            Item::Option { len, .. } => Some(len),
            Item::End | Item::Broken => None,
        }
    }
}

/// The item at offset `at` of an option list, perhaps cut; `None` at its end and beyond.
///
/// ```
/// use netssm_wire::options::{Item, item_at};
/// let list = [1, 2, 4, 0x05, 0xb4, 8, 10]; // padding, a maximum segment size, a timestamp that was cut
/// assert_eq!(item_at(&list, 0), Some(Item::Nop));
/// assert_eq!(item_at(&list, 1), Some(Item::Option { kind: 2, len: 4 }));
/// assert_eq!(item_at(&list, 5), Some(Item::Broken));
/// assert_eq!(item_at(&list, 7), None);
/// ```
#[inline]
pub fn item_at(list: &[u8], at: usize) -> Option<Item> {
    let rest = list.get(at..)?;
    Some(match *rest {
        [] => return None,
        [END, ..] => Item::End,
        [NOP, ..] => Item::Nop,
        [kind, len, ..] if len >= 2 && usize::from(len) <= rest.len() => {
            Item::Option { kind, len: usize::from(len) }
        }
        _ => Item::Broken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_end_where_lengths_do_not_fit() {
        for broken in [&[7u8][..], &[7, 0], &[7, 1, 4], &[7, 9, 4]] {
            assert_eq!(item_at(broken, 0), Some(Item::Broken), "{broken:?}");
        }
        assert_eq!(item_at(&[7, 2], 0), Some(Item::Option { kind: 7, len: 2 }));
        assert_eq!((item_at(&[], 0), item_at(&[1], 2)), (None, None));
        assert_eq!(item_at(&[0, 9], 0).and_then(Item::size), None);
    }
}
