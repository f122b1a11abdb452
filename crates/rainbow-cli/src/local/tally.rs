//! Image of the counter, made of the program beside this one, because the local cluster fetches no images.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use pocket_image::{FileToAdd, ImageStore, QuickBuild, RunConfig};

const PROGRAM: &str = "tally";
/// User of the counter's process, without any rights of its own.
const USER: &str = "65532:65532";

/// Adds the counter's image to the store. The error says why the cluster has none.
pub(super) fn provide(store: &Path, image: &str) -> Result<(), String> {
    let program = beside().ok_or_else(|| format!("the program `{PROGRAM}` is not beside this one"))?;
    if !is_static(&program).map_err(|error| format!("cannot read {}: {error}", program.display()))? {
        return Err(format!("{} is not linked statically: `make build` makes one that is", program.display()));
    }
    let store = ImageStore::open(store).map_err(|error| error.to_string())?;
    let path = format!("/{PROGRAM}");
    let build = QuickBuild {
        reference: image.to_owned(),
        files: vec![(FileToAdd::Copy(program), path.clone(), 0o755)],
        config: RunConfig { entrypoint: vec![path], user: USER.into(), ..RunConfig::default() },
    };
    build.build(&store).map(drop).map_err(|error| error.to_string())
}

/// Returns whether the store has the image.
pub(super) fn is_there(store: &Path, image: &str) -> bool {
    ImageStore::open(store).is_ok_and(|store| store.resolve(image).is_ok())
}

fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.parent()?.join(PROGRAM);
    program.is_file().then_some(program)
}

/// Returns whether a program runs without any other file: an ELF file that asks for no interpreter.
fn is_static(program: &Path) -> io::Result<bool> {
    /// Number of bytes that are enough for the header and the table that follows it.
    const HEAD: u64 = 8 * 1024;
    const INTERPRETER: u32 = 3;
    let mut head = Vec::new();
    File::open(program)?.take(HEAD).read_to_end(&mut head)?;
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(head.get(at..at.checked_add(bytes)?)?);
        usize::try_from(u64::from_le_bytes(number)).ok()
    };
    // Only 64-bit little-endian files are read, because this program is built for no other machine.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(false);
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return Ok(false);
    };
    let kinds = (0..count).map(|entry| number(table.saturating_add(entry * size), 4));
    let kinds: Option<Vec<usize>> = kinds.collect();
    Ok(kinds.is_some_and(|kinds| !kinds.contains(&(INTERPRETER as usize))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an ELF header with program headers of the given kinds.
    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[32], file[54], file[56]) = (64, 56, u8::try_from(kinds.len()).unwrap());
        for kind in kinds {
            let mut entry = vec![0; 56];
            entry[0] = *kind;
            file.extend(entry);
        }
        file
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let judged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_static(&path).unwrap()
        };
        assert!(judged(&elf(&[6, 1, 2])));
        assert!(!judged(&elf(&[6, 3, 1])));
        assert!(!judged(&elf(&[1])[..66]), "cut off");
        assert!(!judged(b"#!/bin/sh\n"));
        assert!(!judged(b""));
        assert!(is_static(&dir.path().join("none")).is_err());
    }
}
