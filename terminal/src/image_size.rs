//! How many pixels an image has, from what was written of it.

use crate::base64;

/// Columns and rows of pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Bytes of a file that are looked at for its size.
const HEAD: usize = 256 << 10;
/// No image is larger than this, either way.
const MAX: u32 = 1 << 16;

/// Of what follows the `q` of a sixel image: what it declares (raster attributes) and what it draws, whichever is more; and where
/// its last band begins, drawn or not.
pub(crate) fn sixel(data: &[u8]) -> Option<(Pixels, u32)> {
    let (mut width, mut height, mut x, mut band, mut drawn) = (0u32, 0u32, 0u32, 0u32, false);
    let mut i = 0;
    let number = |i: &mut usize| {
        let mut n = 0u32;
        while let Some(b) = data.get(*i).filter(|b| b.is_ascii_digit()) {
            n = n.saturating_mul(10).saturating_add(u32::from(b - b'0'));
            *i += 1;
        }
        n
    };
    while let Some(&b) = data.get(i) {
        i += 1;
        match b {
            b'"' => {
                let mut values = [0; 4];
                for value in &mut values {
                    *value = number(&mut i);
                    if data.get(i) != Some(&b';') {
                        break;
                    }
                    i += 1;
                }
                (width, height) = (width.max(values[2]), height.max(values[3]));
            }
            b'!' => {
                let n = number(&mut i);
                if data.get(i).is_some_and(|b| (b'?'..=b'~').contains(b)) {
                    i += 1;
                    (x, drawn) = (x.saturating_add(n), true);
                }
            }
            b'?'..=b'~' => (x, drawn) = (x.saturating_add(1), true),
            b'$' => (width, x) = (width.max(x), 0),
            b'-' => {
                if drawn {
                    height = height.max((band + 1).saturating_mul(6));
                }
                (width, x, band, drawn) = (width.max(x), 0, band.saturating_add(1).min(MAX), false);
            }
            _ => {}
        }
    }
    if drawn {
        height = height.max((band + 1).saturating_mul(6));
    }
    Some((bounded(width.max(x), height)?, band.saturating_mul(6)))
}

fn bounded(width: u32, height: u32) -> Option<Pixels> {
    (width > 0 && height > 0).then_some(Pixels { width: width.min(MAX), height: height.min(MAX) })
}

/// Of a PNG, GIF or JPEG file in base64, of which the beginning is enough.
pub(crate) fn of_file(text: &[u8]) -> Option<Pixels> {
    // What is no letter of base64, a new line for one, is passed over.
    let file = base64::decode(text.iter().take(HEAD).copied().filter(|b| base64::value(*b).is_some()));
    let two = |at: usize| file.get(at..at + 2).map(|b| u32::from(u16::from_be_bytes([b[0], b[1]])));
    if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        let four = |at: usize| Some(two(at)? << 16 | two(at + 2)?);
        return bounded(four(16)?, four(20)?);
    }
    if file.starts_with(b"GIF8") {
        let low_first = |at: usize| two(at).map(|n| (n & 0xff) << 8 | n >> 8);
        return bounded(low_first(6)?, low_first(8)?);
    }
    if !file.starts_with(b"\xff\xd8") {
        return None;
    }
    let mut at = 2;
    loop {
        let (marker, length) = (two(at)?, two(at + 2)?);
        match marker {
            // A frame, in any of its codings; not a table.
            0xffc0..=0xffcf if !matches!(marker, 0xffc4 | 0xffc8 | 0xffcc) => {
                return bounded(two(at + 7)?, two(at + 5)?);
            }
            0xff01..=0xfffe => at += 2 + length as usize,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_image_is_read_from_what_is_there() {
        let size = |p: Option<Pixels>| p.map(|p| (p.width, p.height));
        let sixel = |data: &[u8]| sixel(data).map(|(pixels, _)| pixels);
        assert_eq!(size(sixel(b"\"1;1;30;40#0;2;0;0;0#0!30~-!30~")), Some((30, 40)));
        assert_eq!(size(sixel(b"#0!30~-!35~$!7~-")), Some((35, 12)), "an empty band is none");
        assert_eq!(size(sixel(b"~~~")), Some((3, 6)));
        assert_eq!(size(sixel(b"-~")), Some((1, 12)));
        assert_eq!((size(sixel(b"")), size(sixel(b"#0;2;1;1;1"))), (None, None));
        assert_eq!(size(sixel(b"!99999999999~\"1;1;4294967295;99999999999")), Some((65536, 65536)));
        let png = b"iVBORw0KGgoAAAANSUhEUgAAASwAAABkCAYAAAA8";
        assert_eq!(size(of_file(png)), Some((300, 100)));
        assert_eq!(size(of_file(b"R0lGODlhQAAgAA==")), Some((64, 32)));
        // APP0, then SOF0 of 48 rows and 80 columns.
        let jpeg = b"/9j/4AAEAAD/wAALCAAwAFABAQ==";
        assert_eq!(size(of_file(jpeg)), Some((80, 48)));
        for n in 0..png.len() {
            let _ = (of_file(&png[..n]), of_file(&jpeg[..n.min(jpeg.len())]));
        }
        assert_eq!(size(of_file(b"bm90IGFuIGltYWdl")), None);
    }
}
