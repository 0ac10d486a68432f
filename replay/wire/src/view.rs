//! Views: one header's fixed part, read and set in place.
//!
//! A view borrows an array of exactly the fixed header's length, so that every field access is in bounds by
//! type; making one is the only step that can say no. Own code and not etherparse's header slices, because
//! those are read-only and refuse a header whose options were cut off.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::MacAddr;

/// A value with a fixed place in a header.
pub(crate) trait Field: Sized {
    /// Reads from exactly as many bytes as the field has.
    fn get(bytes: &[u8]) -> Self;
    /// Writes exactly as many.
    fn put(self, bytes: &mut [u8]);
}

macro_rules! integer_fields {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            fn get(bytes: &[u8]) -> Self {
                bytes.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte)) as $ty
            }
            fn put(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}
integer_fields!(u8, u16, u32);

macro_rules! address_fields {
    ($($ty:ty, $n:literal, $bytes:expr;)*) => {$(
        impl Field for $ty {
            fn get(bytes: &[u8]) -> Self {
                let mut out = [0; $n];
                out.copy_from_slice(bytes);
                out.into()
            }
            fn put(self, bytes: &mut [u8]) {
                let octets: fn($ty) -> [u8; $n] = $bytes;
                bytes.copy_from_slice(&octets(self));
            }
        }
    )*};
}
address_fields! {
    Ipv4Addr, 4, |ip| ip.octets();
    Ipv6Addr, 16, |ip| ip.octets();
    MacAddr, 6, |mac| mac.0;
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        MacAddr(octets)
    }
}

/// Defines `View` and `ViewMut` of a header with the given fixed length and fields.
macro_rules! views {
    (
        $len:literal;
        $($(#[$doc:meta])* $get:ident, $set:ident: $ty:ty = $at:literal..$end:literal;)*
    ) => {
        /// The header read in place; see the crate docs.
        #[derive(Clone, Copy, Debug)]
        pub struct View<'a> {
            head: &'a [u8; $len],
            rest: &'a [u8],
        }

        impl<'a> View<'a> {
            /// Bytes of the fixed part.
            pub const LEN: usize = $len;

            /// `None` when the fixed part is not all there.
            pub fn new(bytes: &'a [u8]) -> Option<Self> {
                bytes.split_first_chunk().map(|(head, rest)| View { head, rest })
            }

            /// What follows the fixed part, to the end of the bytes given.
            pub fn rest(&self) -> &'a [u8] {
                self.rest
            }

            $($(#[$doc])*
            pub fn $get(&self) -> $ty {
                <$ty as $crate::view::Field>::get(&self.head[$at..$end])
            })*
        }

        /// The header changed in place; see the crate docs. Checksums are not updated.
        #[derive(Debug)]
        pub struct ViewMut<'a> {
            head: &'a mut [u8; $len],
            rest: &'a mut [u8],
        }

        impl<'a> ViewMut<'a> {
            /// `None` when the fixed part is not all there.
            pub fn new(bytes: &'a mut [u8]) -> Option<Self> {
                bytes.split_first_chunk_mut().map(|(head, rest)| ViewMut { head, rest })
            }

            /// For reading.
            pub fn view(&self) -> View<'_> {
                View { head: self.head, rest: self.rest }
            }

            /// What follows the fixed part, to the end of the bytes given.
            pub fn rest_mut(&mut self) -> &mut [u8] {
                self.rest
            }

            $($(#[$doc])*
            pub fn $set(&mut self, value: $ty) {
                <$ty as $crate::view::Field>::put(value, &mut self.head[$at..$end]);
            })*
        }
    };
}
pub(crate) use views;
