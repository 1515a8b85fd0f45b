//! What every frame begins with. Nothing else in the project knows where in those bytes something lies.

use crate::frame::Invalid;

/// A frame's header: `u32` length of the body, `u8` kind, `u8` flags, `u16` stream, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body, which follows.
    pub length: u32,
    /// One of [`crate::frame::kind`], or a number this version does not know.
    pub kind: u8,
    /// Meaning depends on the kind.
    pub flags: u8,
    /// Which job's stream the frame belongs to; 0 is the connection itself.
    pub stream: u16,
}

impl Header {
    /// Bytes of it.
    pub const BYTES: usize = 8;

    /// The header at the beginning of `bytes`, `None` while it has not come whole. No body has more than `body_max` bytes.
    ///
    /// # Errors
    /// [`Invalid::TooLong`] when it announces more: the stream cannot be followed any further.
    pub fn parse(bytes: &[u8], body_max: usize) -> Result<Option<Self>, Invalid> {
        let Some(&[l0, l1, l2, l3, kind, flags, s0, s1]) = bytes.first_chunk::<{ Self::BYTES }>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length as usize > body_max {
            return Err(Invalid::TooLong(length));
        }
        Ok(Some(Self { length, kind, flags, stream: u16::from_le_bytes([s0, s1]) }))
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(self) -> usize {
        Self::BYTES + self.length as usize
    }

    /// Appends it to `out`.
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_once_it_is_whole_and_no_body_is_longer_than_allowed() {
        let header = Header { length: 0x0102_0304, kind: 0x14, flags: 1, stream: 0x0506 };
        let mut bytes = Vec::new();
        header.put(&mut bytes);
        assert_eq!(bytes, [4, 3, 2, 1, 0x14, 1, 6, 5]);
        for n in 0..Header::BYTES {
            assert_eq!(Header::parse(&bytes[..n], usize::MAX), Ok(None));
        }
        bytes.extend([9, 9]);
        assert_eq!(Header::parse(&bytes, 0x0102_0304), Ok(Some(header)));
        assert_eq!(Header::parse(&bytes, 0x0102_0303), Err(Invalid::TooLong(0x0102_0304)));
    }
}
