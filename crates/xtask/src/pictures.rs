//! Pictures of the documents: text in, SVG out. Drawings are `*.txt` (pikchr), what a terminal showed in a real run is `*.ansi`.

use anyhow::{Context, anyhow};
use pikchr::{Pikchr, PikchrFlags};
use std::{collections::BTreeMap, fs, path::Path};

/// Directory of the sources and of the pictures.
const DIRECTORY: &str = "docs/pictures";
/// Attributes of a picture. Browsers otherwise use a serif font, which is wider than pikchr expects.
const FONT: &str = "<svg font-family='Helvetica, Arial, sans-serif' ";
/// Lines and text of pikchr are black, which no dark page shows without a background.
const BACKGROUND: &str = "<rect width='100%' height='100%' fill='white'/>\n";

/// Content of the pictures by path.
pub(crate) fn all(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let directory = root.join(DIRECTORY);
    let mut pictures = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (name, draw): (&str, fn(&str) -> anyhow::Result<String>) = match name.rsplit_once('.') {
            Some((name, "txt")) => (name, draw),
            Some((name, "ansi")) => (name, |screen| Ok(screenshot(screen))),
            Some(_) | None => continue,
        };
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let picture = draw(&source).with_context(|| format!("{} is no picture", path.display()))?;
        pictures.insert(format!("{DIRECTORY}/{name}.svg"), picture);
    }
    Ok(pictures)
}

fn draw(source: &str) -> anyhow::Result<String> {
    let mut flags = PikchrFlags::default();
    flags.generate_plain_errors();
    let drawn = Pikchr::render(source, None, flags).map_err(|error| anyhow!("{error}"))?;
    let (head, body) = drawn.rendered().split_once(">\n").context("pikchr's output has no element `svg`")?;
    let head = head.strip_prefix("<svg ").context("pikchr's output begins with another element than `svg`")?;
    Ok(format!("{FONT}{head}>\n{BACKGROUND}{body}"))
}

/// Width of a screenshot in pixels, for 100 columns. The crate's own estimate cuts the longest line off in some browsers.
const WIDTH: usize = 870;

/// Draws what a terminal showed, with its colors on a dark background.
fn screenshot(screen: &str) -> String {
    anstyle_svg::Term::new().min_width_px(WIDTH).render_svg(screen.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_background() {
        let picture = draw("box \"a\"").unwrap();
        let (head, body) = picture.split_once('\n').unwrap();
        assert!(head.starts_with("<svg font-family=") && head.contains("viewBox="), "{head}");
        assert!(body.starts_with("<rect width='100%'") && body.contains(">a</text>"), "{body}");
    }

    #[test]
    fn a_mistake_is_told() {
        let error = format!("{:#}", draw("bax \"a\"").unwrap_err());
        assert!(error.contains("bax"), "{error}");
    }

    #[test]
    fn a_screenshot_has_colors_and_no_escapes() {
        let picture = screenshot("\u{1b}[32mReady\u{1b}[0m v1");
        assert!(picture.starts_with("<svg") && picture.contains("Ready") && picture.contains("green"), "{picture}");
        assert!(!picture.contains('\u{1b}'), "{picture}");
    }
}
