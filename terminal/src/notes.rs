//! What is noted of a row beside its cells: the marks of shell integration (OSC 133) that were said while the cursor was in it,
//! and the images whose top left is in it.

use crate::terminal::ShellState;

/// Longest parameters of a mark, in bytes; longer ones are not kept, and the mark is.
const MAX_PARAMS: usize = 128;
/// Begins the note of an image; no mark has this letter.
const IMAGE: u8 = b'i';
/// Most bytes noted of a row; marks past that are not.
const MAX_NOTES: usize = 512;

/// The marks of a row in the order in which they were said, each as its letter and its parameters; of each letter the last.
/// Most rows have none, and take no memory for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes(Option<Box<[u8]>>);

/// Where the shell stands after this mark, if it is one.
pub(crate) fn state_of(letter: u8) -> Option<ShellState> {
    match letter {
        // `N` ends a command that was not ended; `P` begins a part of a prompt, or one that goes on.
        b'A' | b'N' | b'P' => Some(ShellState::Prompt),
        b'B' | b'I' => Some(ShellState::Input),
        b'C' => Some(ShellState::Running),
        b'D' => Some(ShellState::Done),
        _ => None,
    }
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// As they are kept: a NUL after each.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// From what [`Self::bytes`] gave.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut notes = Self::default();
        notes.join(bytes);
        notes
    }

    /// Each mark without its introducer and its end.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes().split(|b| *b == 0).filter(|mark| !mark.is_empty())
    }

    /// Notes a mark, `A;cl=m` for instance. It has no control characters.
    pub(crate) fn mark(&mut self, said: &[u8]) {
        let Some(letter) = said.first() else { return };
        let said = if said.len() > MAX_PARAMS { &said[..1] } else { said };
        let mut kept = Vec::with_capacity(self.bytes().len() + said.len() + 1);
        // A row may have more than one image.
        let stays = |mark: &&[u8]| mark.first() != Some(letter) || *letter == IMAGE && *mark != said;
        for mark in self.marks().filter(stays) {
            kept.extend_from_slice(mark);
            kept.push(0);
        }
        if kept.len() + said.len() < MAX_NOTES {
            kept.extend_from_slice(said);
            kept.push(0);
        }
        self.0 = Some(kept.into());
    }

    /// Notes that an image begins in a column.
    pub(crate) fn image(&mut self, x: u16, id: u32) {
        self.mark(format!("i{x},{id}").as_bytes());
    }

    /// The column and the number of an image, if that is what a note of [`Self::marks`] is.
    pub(crate) fn is_image(mark: &[u8]) -> Option<(u16, u32)> {
        let (x, id) = std::str::from_utf8(mark.strip_prefix(&[IMAGE])?).ok()?.split_once(',')?;
        Some((x.parse().ok()?, id.parse().ok()?))
    }

    /// Notes what another row had, after its own.
    pub(crate) fn join(&mut self, other: &[u8]) {
        for mark in other.split(|b| *b == 0).filter(|mark| !mark.is_empty()) {
            self.mark(mark);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_letter_the_last_is_kept_in_its_order_and_within_bounds() {
        let mut notes = Notes::default();
        assert!(notes.is_empty() && notes.marks().next().is_none());
        for said in [&b"A;cl=m"[..], b"D;1", b"A;k=s", b"B"] {
            notes.mark(said);
        }
        assert_eq!(notes.marks().collect::<Vec<_>>(), [&b"D;1"[..], b"A;k=s", b"B"]);
        let mut other = Notes::from_bytes(notes.bytes());
        assert_eq!(other, notes);
        other.join(Notes::from_bytes(b"D;2\0C\0").bytes());
        assert_eq!(other.marks().collect::<Vec<_>>(), [&b"A;k=s"[..], b"B", b"D;2", b"C"]);
        notes.mark(&[b"C;cmdline=".as_slice(), &[b'x'; 1000]].concat());
        assert_eq!(notes.marks().last(), Some(&b"C"[..]), "too long");
        for letter in b'A'..=b'z' {
            notes.mark(&[&[letter][..], &[b';'; MAX_PARAMS - 1]].concat());
        }
        assert!(notes.bytes().len() <= MAX_NOTES);
    }
}
