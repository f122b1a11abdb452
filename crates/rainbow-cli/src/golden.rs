//! Golden files: answers as a terminal shows them, compared with `src/golden/NAME-80.txt`, `NAME-120.txt`, and `NAME-color.txt` with the codes
//! of colors. `RAINBOW_GOLDEN=write cargo test …` writes the files; read the difference before you commit it.

use std::{env, fs, path::PathBuf};

use crate::terminal::{Charset, Room};

/// Returns the room of a terminal with the given number of columns.
pub(crate) fn room(columns: usize) -> Room {
    Room { columns: Some(columns), rows: Some(24), charset: Charset::Utf8 }
}

/// Compares a drawing that does not depend on the room.
pub(crate) fn check(name: &str, text: &str) {
    check_with(name, |room| room.cut(text));
}

/// Compares a drawing for 80 and for 120 columns, and the colors of the latter.
pub(crate) fn check_with(name: &str, draw: impl Fn(Room) -> String) {
    for columns in [80, 120] {
        let text = anstream::adapter::strip_str(&draw(room(columns))).to_string();
        for line in text.lines() {
            assert!(crate::terminal::width(line) <= columns, "{name}: longer than {columns} columns: {line}");
        }
        compare(&format!("{name}-{columns}"), &text);
    }
    compare(&format!("{name}-color"), &draw(room(120)).replace('\x1b', "ESC"));
}

/// Compares a drawing in full, without the codes of colors.
pub(crate) fn check_whole(name: &str, text: &str) {
    compare(name, &anstream::adapter::strip_str(text).to_string());
}

fn compare(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/golden/{name}.txt"));
    if env::var_os("RAINBOW_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} is not what is drawn now:\n{text}", path.display());
}
