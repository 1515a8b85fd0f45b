//! The stream of files. Numbers are little-endian; a name is one part of a path and never leads anywhere.
//!
//! ```text
//! T u64 bytes in all, as far as known           first, for who shows how far it is
//! D u32 mode, u16 length, name                  a folder; what follows is in it
//! U                                             back out of it
//! F u32 mode, u64 bytes as far as known, u16 length, name
//!   u32 length, bytes …  u32 0                  its bytes, and its end; u32 !0: it could not be read on, and `E` follows
//! E u16 length, sentence                        it cannot go on; nothing follows
//! .                                             all of it was sent
//! ```

/// Bytes of one piece of a file.
pub const PIECE: usize = 32 * 1024;
/// Bytes of a name.
pub const NAME_MAX: usize = 255;

/// One part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes of all files, as far as known.
    Total(u64),
    /// A folder begins.
    Folder(u32, &'a [u8]),
    /// It ends.
    Up,
    /// A file begins: mode, bytes, name.
    File(u32, u64, &'a [u8]),
    /// Bytes of it; none: it is whole.
    Bytes(&'a [u8]),
    /// It could not be read to its end.
    Cut,
    /// It cannot go on.
    Failed(&'a [u8]),
    /// That was all.
    End,
}

fn put_name(name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&name[..name.len().min(u16::MAX.into())]);
}

impl Part<'_> {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Total(bytes) => {
                out.push(b'T');
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Folder(mode, name) => {
                out.push(b'D');
                out.extend_from_slice(&mode.to_le_bytes());
                put_name(name, out);
            }
            Self::Up => out.push(b'U'),
            Self::File(mode, bytes, name) => {
                out.push(b'F');
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(&bytes.to_le_bytes());
                put_name(name, out);
            }
            Self::Bytes(bytes) => {
                out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Cut => out.extend_from_slice(&u32::MAX.to_le_bytes()),
            Self::Failed(why) => {
                out.push(b'E');
                put_name(why, out);
            }
            Self::End => out.push(b'.'),
        }
    }
}

/// What the other end sends is no such stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Cuts a stream into its parts.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
    at: usize,
    within_file: bool,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Is this a name, and one of what lies in a folder?
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

impl Reader {
    /// More came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.at);
        self.at = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole part.
    ///
    /// # Errors
    /// When it is none.
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, Broken> {
        let rest = &self.held[self.at..];
        let Some((part, length)) = cut(rest, self.within_file)? else { return Ok(None) };
        self.at += length;
        self.within_file = match part {
            Part::File(..) => true,
            Part::Bytes(bytes) => !bytes.is_empty(),
            _ => false,
        };
        Ok(Some(part))
    }
}

fn cut(rest: &[u8], within_file: bool) -> Result<Option<(Part<'_>, usize)>, Broken> {
    if within_file {
        return bytes_of_file(rest);
    }
    let named = |at: usize, make: &dyn Fn(&[u8]) -> bool| -> Result<Option<(usize, usize)>, Broken> {
        let Some(length) = number(rest, at).map(u16::from_le_bytes) else { return Ok(None) };
        let (from, to) = (at + 2, at + 2 + usize::from(length));
        match rest.get(from..to) {
            None => Ok(None),
            Some(name) if make(name) => Ok(Some((from, to))),
            Some(_) => Err(Broken),
        }
    };
    let Some(kind) = rest.first() else { return Ok(None) };
    Ok(match kind {
        b'T' => number(rest, 1).map(|bytes| (Part::Total(u64::from_le_bytes(bytes)), 9)),
        b'U' => Some((Part::Up, 1)),
        b'.' => Some((Part::End, 1)),
        b'D' => {
            let name = named(5, &is_name)?;
            name.zip(number(rest, 1))
                .map(|((from, to), mode)| (Part::Folder(u32::from_le_bytes(mode), &rest[from..to]), to))
        }
        b'F' => {
            let (name, mode, bytes) = (named(13, &is_name)?, number(rest, 1), number(rest, 5));
            name.zip(mode.zip(bytes)).map(|((from, to), (mode, bytes))| {
                (Part::File(u32::from_le_bytes(mode), u64::from_le_bytes(bytes), &rest[from..to]), to)
            })
        }
        b'E' => named(1, &|_| true)?.map(|(from, to)| (Part::Failed(&rest[from..to]), to)),
        _ => return Err(Broken),
    })
}

fn bytes_of_file(rest: &[u8]) -> Result<Option<(Part<'_>, usize)>, Broken> {
    let Some(length) = number(rest, 0).map(u32::from_le_bytes) else { return Ok(None) };
    // The sender could not read on.
    if length == u32::MAX {
        return Ok(Some((Part::Cut, 4)));
    }
    let length = length as usize;
    if length > PIECE {
        return Err(Broken);
    }
    Ok(rest.get(4..4 + length).map(|bytes| (Part::Bytes(bytes), 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts() -> Vec<Part<'static>> {
        vec![
            Part::Total(9),
            Part::File(0o644, 5, b"a"),
            Part::Bytes(b"hello"),
            Part::Bytes(b""),
            Part::Folder(0o700, b"d"),
            Part::File(0o600, 3, b"E"),
            Part::Bytes(b"E\0\0"),
            Part::Cut,
            Part::Failed(b"why"),
            Part::Up,
            Part::End,
        ]
    }

    proptest! {
        #[test]
        fn a_stream_is_read_as_it_was_written_however_it_is_cut(cuts in proptest::collection::vec(1usize..9, 1..50)) {
            let mut bytes = Vec::new();
            parts().iter().for_each(|part| part.put(&mut bytes));
            let (mut reader, mut seen, mut at) = (Reader::default(), 0, 0);
            for cut in cuts.iter().cycle() {
                if at == bytes.len() {
                    break;
                }
                let end = (at + cut).min(bytes.len());
                reader.push(&bytes[at..end]);
                at = end;
                while let Some(part) = reader.next_part().unwrap() {
                    prop_assert_eq!(part, parts()[seen]);
                    seen += 1;
                }
            }
            prop_assert_eq!(seen, parts().len());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_part() {}
        }
    }

    #[test]
    fn a_name_leads_nowhere() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            let (mut bytes, mut reader) = (Vec::new(), Reader::default());
            Part::Folder(0o755, name).put(&mut bytes);
            reader.push(&bytes);
            assert_eq!(reader.next_part(), Err(Broken), "{name:?}");
        }
    }
}
