//! Writer of a container's output as log files in the CRI format, `<RFC 3339> stdout F <text>`, which `kubectl logs` reads.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use tokio::net::unix::pipe::Receiver;

/// Length above which a line is split into parts, as other runtimes do.
const MAX_LINE: usize = 16 << 10;
/// Size above which a file is renamed to `<name>.1`; a former `<name>.1` is lost.
const MAX_FILE: u64 = 10 << 20;
const CHUNK: usize = 8 << 10;

/// Writes both streams until both are closed.
pub(crate) async fn write(path: PathBuf, stdout: OwnedFd, stderr: OwnedFd) {
    if let Err(error) = try_write(&path, stdout, stderr).await {
        tracing::warn!(path = %path.display(), %error, "a container's log cannot be written");
    }
}

async fn try_write(path: &Path, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
    let mut log = Log::open(path)?;
    let mut out = Some((Receiver::from_owned_fd(stdout)?, Stream::new("stdout")));
    let mut err = Some((Receiver::from_owned_fd(stderr)?, Stream::new("stderr")));
    while out.is_some() || err.is_some() {
        let from_out = tokio::select! {
            ready = readable(&out) => { ready?; true }
            ready = readable(&err) => { ready?; false }
        };
        let side = if from_out { &mut out } else { &mut err };
        let Some((pipe, stream)) = side else { continue };
        // The buffer exists only while there is something to read: an idle container costs no buffer.
        let mut buffer = [0; CHUNK];
        let mut text = Vec::new();
        match pipe.try_read(&mut buffer) {
            Ok(0) => {
                stream.end(&mut text);
                *side = None;
            }
            Ok(length) => stream.take(&buffer[..length], &mut text),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // A full disk must not stop the container, so output that cannot be written is lost.
        if let Err(error) = log.append(&text) {
            tracing::debug!(path = %path.display(), %error, "log lines are lost");
        }
    }
    Ok(())
}

async fn readable(side: &Option<(Receiver, Stream)>) -> io::Result<()> {
    match side {
        Some((pipe, _)) => pipe.readable().await,
        None => std::future::pending().await,
    }
}

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.size > MAX_FILE {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.path, aside)?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(text)?;
        self.size += text.len() as u64;
        Ok(())
    }
}

/// One stream of output, cut into lines.
struct Stream {
    name: &'static str,
    line: Vec<u8>,
}

impl Stream {
    fn new(name: &'static str) -> Self {
        Self { name, line: Vec::new() }
    }

    fn take(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) {
        let now = jiff::Timestamp::now();
        while !bytes.is_empty() {
            let room = MAX_LINE - self.line.len();
            let within = &bytes[..bytes.len().min(room)];
            if let Some(end) = within.iter().position(|byte| *byte == b'\n') {
                self.line.extend_from_slice(&within[..end]);
                bytes = &bytes[end + 1..];
                self.flush('F', now, text);
            } else {
                self.line.extend_from_slice(within);
                bytes = &bytes[within.len()..];
                if self.line.len() == MAX_LINE {
                    self.flush('P', now, text);
                }
            }
        }
        if self.line.is_empty() {
            self.line = Vec::new();
        }
    }

    /// Handles the stream's end: a last line without a newline is a line, too.
    fn end(&mut self, text: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.flush('F', jiff::Timestamp::now(), text);
        }
    }

    fn flush(&mut self, tag: char, now: jiff::Timestamp, text: &mut Vec<u8>) {
        let header = format!("{now:.9} {} {tag} ", self.name);
        text.extend_from_slice(header.as_bytes());
        text.extend_from_slice(&self.line);
        text.push(b'\n');
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stream: &mut Stream, chunks: &[&[u8]]) -> Vec<String> {
        let mut text = Vec::new();
        for chunk in chunks {
            stream.take(chunk, &mut text);
        }
        stream.end(&mut text);
        String::from_utf8(text).unwrap().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn cuts_lines() {
        let found = lines(&mut Stream::new("stdout"), &[b"one\ntw", b"o\n\nend"]);
        assert_eq!(found, ["stdout F one", "stdout F two", "stdout F ", "stdout F end"]);
    }

    #[test]
    fn long_lines_come_in_parts() {
        let long = vec![b'x'; MAX_LINE + 3];
        let found = lines(&mut Stream::new("stderr"), &[&long, b"\n"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("stderr P xxx") && found[0].len() == MAX_LINE + 9);
        assert_eq!(found[1], "stderr F xxx");
    }

    #[test]
    fn times_are_as_kubernetes_writes_them() {
        let mut text = Vec::new();
        let mut stream = Stream::new("stdout");
        stream.line.push(b'a');
        stream.flush('F', jiff::Timestamp::new(1, 5).unwrap(), &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), "1970-01-01T00:00:01.000000005Z stdout F a\n");
    }

    #[test]
    fn a_big_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/0.log");
        let mut log = Log::open(&path).unwrap();
        log.size = MAX_FILE + 1;
        log.append(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert!(dir.path().join("deep/0.log.1").exists());
    }
}
