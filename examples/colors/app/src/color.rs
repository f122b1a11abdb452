//! Color of a release: its name and its appearance.

use std::{fmt, str::FromStr};

/// Color of a release. Any name is allowed; a name that begins with six hexadecimal digits, as a commit does, is shown in
/// that very color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Color(String);

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || text.len() > 63 || !text.bytes().all(allowed) {
            return Err(format!("`{text}` is no color: use letters, digits and `-`, such as 3c3fdc"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", self.0)
    }
}

impl Color {
    /// Returns the line that open connections get periodically.
    pub fn line(&self) -> String {
        format!("The color is {self}")
    }

    /// Returns red, green and blue.
    fn rgb(&self) -> Option<[u8; 3]> {
        let digits = self.0.get(..6)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        Some([part(0)?, part(2)?, part(4)?])
    }

    /// Renders the page.
    pub fn page(&self) -> String {
        let [red, green, blue] = self.rgb().unwrap_or([0xff; 3]);
        // Brightness of the color, to write on it in black or in white (Rec. 709).
        let bright = 2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue) > 10_000 * 128;
        let ink = if bright { "#000" } else { "#fff" };
        format!(
            "<!doctype html>\n\
             <html lang=\"en\">\n\
             <meta charset=\"utf-8\">\n\
             <title>{self}</title>\n\
             <style>body {{ background: #{red:02x}{green:02x}{blue:02x}; color: {ink}; font: 2em sans-serif; text-align: center }}</style>\n\
             <h1>{self}</h1>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str) -> String {
        name.parse::<Color>().unwrap().page()
    }

    #[test]
    fn a_commit_is_a_color() {
        let text = page("3c3fdc");
        assert!(text.contains("background: #3c3fdc; color: #fff") && text.contains("<h1>#3c3fdc</h1>"), "{text}");
        assert!(page("3c3fdc-dirty-1f2e3d").contains("background: #3c3fdc;"));
        assert!(page("ffffaa").contains("color: #000"));
    }

    #[test]
    fn numbers_are_names() {
        for name in ["123456", "123e45", "000000", "1e1000"] {
            let color: Color = name.parse().unwrap();
            assert_eq!(color.line(), format!("The color is #{name}"));
            assert!(color.page().contains(&format!("background: #{name};")), "{name}");
        }
    }

    #[test]
    fn other_names_are_white() {
        for name in ["v1", "blue", "12345", "a-bcdef"] {
            assert!(page(name).contains("background: #ffffff; color: #000"), "{name}");
        }
    }

    #[test]
    fn what_could_break_the_page_is_refused() {
        for name in ["", "<b>", "a b", "é", &"a".repeat(64)] {
            assert!(name.parse::<Color>().is_err(), "{name}");
        }
    }
}
