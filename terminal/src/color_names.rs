//! The names that X11 gives colours (its `rgb.txt`), which a program may use in OSC 4 and 10–19.

/// A line for each: the name in small letters without spaces, its colour, and those of its darker kin, which have the same name
/// and a number from 1 to 4; `-` where there is none without a number.
const NAMES: &str = include_str!("color_names.txt");

/// Longest name, spaces included.
const NAME_MAX: usize = 64;

/// The colour of this name; capitals and spaces do not count.
pub(crate) fn find(name: &str) -> Option<[u8; 3]> {
    if name.len() > NAME_MAX || !name.is_ascii() {
        return None;
    }
    let name: String = name.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()).collect();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[stem.len()..];
    if matches!(stem, "gray" | "grey") && !number.is_empty() {
        return gray(number.parse().ok()?);
    }
    let kin: usize = if number.is_empty() { 0 } else { number.parse().ok()? };
    let line = NAMES.lines().find_map(|line| line.strip_prefix(stem)?.strip_prefix(' '))?;
    let color = u32::from_str_radix(line.split(' ').nth(kin)?, 16).ok()?;
    let [_, r, g, b] = color.to_be_bytes();
    Some([r, g, b])
}

/// So many hundredths of white.
fn gray(hundredths: u32) -> Option<[u8; 3]> {
    // Two halves were rounded down when the table was made.
    let down = u32::from(matches!(hundredths, 50 | 90));
    let value = u8::try_from((hundredths * 255 + 50) / 100 - down).ok()?;
    (hundredths <= 100).then_some([value; 3])
}

#[cfg(test)]
#[test]
fn names_are_found_however_they_are_written() {
    for (name, color) in [
        ("red", Some([255, 0, 0])),
        ("Light Goldenrod Yellow", Some([250, 250, 210])),
        ("LIGHTGOLDENRODYELLOW", Some([250, 250, 210])),
        ("cadetblue", Some([95, 158, 160])),
        ("CadetBlue3", Some([122, 197, 205])),
        ("gray", Some([190; 3])),
        ("grey0", Some([0; 3])),
        ("gray50", Some([127; 3])),
        ("grey51", Some([130; 3])),
        ("gray100", Some([255; 3])),
        ("gray101", None),
        ("red5", None),
        ("beige1", None),
        ("violetred", Some([208, 32, 144])),
        ("re", None),
        ("", None),
        ("1", None),
    ] {
        assert_eq!(find(name), color, "{name}");
    }
}
