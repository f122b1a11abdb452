//! Colors of color names: a name such as `3c3fdc` is shown in its own RGB value, any other in a fixed color of a palette.

use std::{env, fmt, sync::OnceLock};

use anstyle::{Ansi256Color, Color, RgbColor, Style};

/// Number of colors that the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// All RGB values.
    True,
    /// The 256 colors of xterm.
    Palette,
    /// Too few to tell many names apart.
    None,
}

/// Colors that are well apart from each other, on a dark and on a light background.
const PALETTE: [RgbColor; 12] = [
    RgbColor(0x1f, 0x77, 0xb4),
    RgbColor(0xff, 0x7f, 0x0e),
    RgbColor(0x2c, 0xa0, 0x2c),
    RgbColor(0xd6, 0x27, 0x28),
    RgbColor(0x94, 0x67, 0xbd),
    RgbColor(0x8c, 0x56, 0x4b),
    RgbColor(0xe3, 0x77, 0xc2),
    RgbColor(0x17, 0xbe, 0xcf),
    RgbColor(0xbc, 0xbd, 0x22),
    RgbColor(0x00, 0x5f, 0x5f),
    RgbColor(0x5f, 0x00, 0xaf),
    RgbColor(0xff, 0xd7, 0x5f),
];

impl Depth {
    /// Returns the depth of this process's terminal, which is read once.
    fn of_this_terminal() -> Self {
        static DEPTH: OnceLock<Depth> = OnceLock::new();
        // Tests compare codes, so they must not depend on the terminal.
        if cfg!(test) { Self::Palette } else { *DEPTH.get_or_init(Self::of_terminal) }
    }

    /// Returns the depth that the terminal's environment variables give.
    fn of_terminal() -> Self {
        let of = |name: &str| env::var(name).unwrap_or_default();
        Self::new(&of("COLORTERM"), &of("TERM"))
    }

    fn new(colorterm: &str, term: &str) -> Self {
        if ["truecolor", "24bit"].contains(&colorterm) || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256") {
            Self::Palette
        } else {
            Self::None
        }
    }
}

/// Name of a color, on a background of that color.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted<'a>(pub(crate) &'a str);

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Tinted { text: self.0, color: self.0 }.fmt(f)
    }
}

/// Text in the color of a color's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tinted<'a> {
    pub(crate) text: &'a str,
    pub(crate) color: &'a str,
}

impl fmt::Display for Tinted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = badge(self.color, Depth::of_this_terminal());
        write!(f, "{style}{}{style:#}", self.text)
    }
}

/// Returns the style of a badge: the color as background, and black or white letters that can be read on it.
fn badge(name: &str, depth: Depth) -> Style {
    let ground = rgb(name);
    let letters = if luminance(ground) > 0.45 { RgbColor(0, 0, 0) } else { RgbColor(255, 255, 255) };
    let shown = |color: RgbColor| match depth {
        Depth::True => Color::Rgb(color),
        _ => Color::Ansi256(nearest(color)),
    };
    match depth {
        Depth::None => Style::new().bold(),
        _ => Style::new().bg_color(Some(shown(ground))).fg_color(Some(shown(letters))).bold(),
    }
}

/// Returns the RGB value of a name. A name of six hexadecimal digits is its own value, also with the suffix of a dirty tree (`3c3fdc-91ab20`).
fn rgb(name: &str) -> RgbColor {
    let digits = name.split('-').next().unwrap_or_default();
    if digits.len() == 6
        && let Ok(value) = u32::from_str_radix(digits, 16)
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        let [_, red, green, blue] = value.to_be_bytes();
        return RgbColor(red, green, blue);
    }
    // FNV-1a is the same on every machine and in every version.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    PALETTE[usize::try_from(hash).unwrap_or_default() % PALETTE.len()]
}

/// Returns how bright a color is to the eye, from 0 to 1 (Rec. 709, without its gamma).
fn luminance(RgbColor(red, green, blue): RgbColor) -> f32 {
    (0.2126 * f32::from(red) + 0.7152 * f32::from(green) + 0.0722 * f32::from(blue)) / 255.0
}

/// Returns the nearest of xterm's colors: of its cube of 6 × 6 × 6, or of its greys.
fn nearest(RgbColor(red, green, blue): RgbColor) -> Ansi256Color {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let level = |value: u8| (0..6_u8).min_by_key(|at| LEVELS[usize::from(*at)].abs_diff(value)).unwrap_or_default();
    let distance =
        |to: [u8; 3]| [red, green, blue].iter().zip(to).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum::<u32>();
    let cube = [level(red), level(green), level(blue)];
    let grey = (0..24_u8).min_by_key(|at| distance([8 + 10 * at; 3])).unwrap_or_default();
    if distance([8 + 10 * grey; 3]) < distance(cube.map(|at| LEVELS[usize::from(at)])) {
        Ansi256Color(232 + grey)
    } else {
        Ansi256Color(16 + 36 * cube[0] + 6 * cube[1] + cube[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_their_own_color() {
        assert_eq!(rgb("3c3fdc"), RgbColor(0x3c, 0x3f, 0xdc));
        assert_eq!(rgb("123456"), RgbColor(0x12, 0x34, 0x56));
        assert_eq!(rgb("123e45-91ab20"), RgbColor(0x12, 0x3e, 0x45));
        for name in ["v1", "v2", "+12345", "3c3fdcc", ""] {
            assert!(PALETTE.contains(&rgb(name)), "{name}");
            assert_eq!(rgb(name), rgb(name));
        }
        assert_ne!(rgb("v1"), rgb("v2"));
        assert_ne!(rgb("v2"), rgb("v3"));
    }

    #[test]
    fn letters_can_be_read_on_their_ground() {
        let seen = |name, depth| badge(name, depth).render().to_string();
        assert_eq!(seen("000000", Depth::True), "\x1b[1m\x1b[38;2;255;255;255m\x1b[48;2;0;0;0m");
        assert_eq!(seen("ffff00", Depth::True), "\x1b[1m\x1b[38;2;0;0;0m\x1b[48;2;255;255;0m");
        assert_eq!(seen("ff0000", Depth::Palette), "\x1b[1m\x1b[38;5;231m\x1b[48;5;196m");
        assert_eq!(seen("ff0000", Depth::None), "\x1b[1m");
    }

    #[test]
    fn the_terminal_says_what_it_has() {
        assert_eq!(Depth::new("truecolor", "xterm"), Depth::True);
        assert_eq!(Depth::new("24bit", ""), Depth::True);
        assert_eq!(Depth::new("", "xterm-256color"), Depth::Palette);
        assert_eq!(Depth::new("", "xterm"), Depth::None);
        assert_eq!(Depth::new("", "linux"), Depth::None);
    }

    #[test]
    fn greys_are_greys() {
        assert_eq!(nearest(RgbColor(128, 128, 128)), Ansi256Color(244));
        assert_eq!(nearest(RgbColor(0, 0, 0)), Ansi256Color(16));
        assert_eq!(nearest(RgbColor(255, 255, 255)), Ansi256Color(231));
    }
}
