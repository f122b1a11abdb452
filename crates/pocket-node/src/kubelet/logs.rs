//! Reader of container logs in the CRI format, for `kubectl logs`.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::io::{Interest, unix::AsyncFd};

use crate::namespaces::sys;

/// Selection of a log and of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// Continues as lines are written, until the container ends.
    pub follow: bool,
    /// Selects the run before the last restart.
    pub previous: bool,
    /// Puts the time before each line.
    pub timestamps: bool,
    /// Selects only this number of last lines.
    pub tail_lines: Option<u64>,
    /// Selects only lines written since this time.
    pub since: Option<Timestamp>,
    /// Limits the number of bytes.
    pub limit_bytes: Option<u64>,
}

/// One record of a CRI log: `<time> <stream> <P|F> <text>`.
struct Record<'a> {
    time: &'a str,
    /// Line continues in the next record.
    partial: bool,
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let tag = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Record { time, partial: tag == b"P", text })
}

/// Converts records into the text that the reader asked for.
struct Shape {
    timestamps: bool,
    since: Option<Timestamp>,
    left: Option<u64>,
    within_line: bool,
}

impl Shape {
    fn of(query: &LogQuery) -> Self {
        Self { timestamps: query.timestamps, since: query.since, left: query.limit_bytes, within_line: false }
    }

    /// Appends a record's text; returns `false` when the limit is reached.
    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(record) = parse(line) else {
            return true;
        };
        if let Some(since) = self.since
            && record.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return true;
        }
        let start = out.len();
        if self.timestamps && !self.within_line {
            out.extend_from_slice(record.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if !record.partial {
            out.push(b'\n');
        }
        self.within_line = record.partial;
        if let Some(left) = &mut self.left {
            let length = (out.len() - start) as u64;
            if length >= *left {
                out.truncate(start + usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                return false;
            }
            *left -= length;
        }
        true
    }
}

/// Returns the end of a log as plain text.
pub(super) fn tail(path: &Path, lines: u64, most: usize) -> Option<String> {
    let (mut file, _) = open(path).ok()?;
    let query = LogQuery { tail_lines: Some(lines), ..LogQuery::default() };
    let mut shape = Shape::of(&query);
    let mut out = Vec::new();
    for line in last_lines(&mut file, lines).ok()? {
        shape.take(&line, &mut out);
    }
    let text = String::from_utf8_lossy(&out[out.len().saturating_sub(most)..]).into_owned();
    (!text.is_empty()).then_some(text)
}

fn open(path: &Path) -> io::Result<(BufReader<File>, u64)> {
    let file = File::open(path)?;
    let inode = file.metadata()?.ino();
    Ok((BufReader::with_capacity(16 << 10, file), inode))
}

/// Returns the last lines of a file; an unfinished line at the end is left out.
fn last_lines(file: &mut BufReader<File>, count: u64) -> io::Result<VecDeque<Vec<u8>>> {
    let mut lines: VecDeque<Vec<u8>> = VecDeque::new();
    // Counts whole lines only: partial records belong to the next full one.
    let mut whole = 0u64;
    loop {
        let mut line = Vec::new();
        let length = file.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let back = i64::try_from(length).unwrap_or(0);
            file.seek_relative(-back)?;
            return Ok(lines);
        }
        whole += u64::from(parse(&line).is_some_and(|record| !record.partial));
        lines.push_back(line);
        while whole > count {
            match lines.pop_front() {
                Some(line) => whole -= u64::from(parse(&line).is_some_and(|record| !record.partial)),
                None => break,
            }
        }
    }
}

/// Streams the part of a log that a query selects, in pieces. `ended` resolves when the container will not write any more.
pub(super) fn stream(
    path: PathBuf,
    query: LogQuery,
    ended: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let reader = Reader { path, query, state: None, watch: None, done: false };
    futures::stream::unfold((reader, Box::pin(ended), false), |(mut reader, mut ended, mut over)| async move {
        loop {
            if reader.done {
                return None;
            }
            match reader.read() {
                Ok(bytes) if !bytes.is_empty() => return Some((bytes, (reader, ended, over))),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "log cannot be read");
                    return None;
                }
            }
            if !reader.query.follow || over {
                return None;
            }
            tokio::select! {
                result = reader.wait_for_change() => if result.is_err() {
                    return None;
                },
                () = &mut ended => {
                    // Output that was in the pipe when the container ended is written within moments.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    over = true;
                }
            }
        }
    })
}

struct Reader {
    path: PathBuf,
    query: LogQuery,
    state: Option<(BufReader<File>, u64, Shape)>,
    watch: Option<AsyncFd<std::os::fd::OwnedFd>>,
    done: bool,
}

impl Reader {
    const PIECE: usize = 32 << 10;

    /// Returns the next piece; empty if there is nothing more at the moment.
    fn read(&mut self) -> io::Result<Bytes> {
        let mut out = Vec::new();
        let (file, inode, shape) = match &mut self.state {
            Some(state) => state,
            None => {
                let (file, inode) = match open(&self.path) {
                    Ok(opened) => opened,
                    // The container has not written anything yet.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bytes::new()),
                    Err(error) => return Err(error),
                };
                let state = self.state.insert((file, inode, Shape::of(&self.query)));
                self.done |= !begin(&self.path, &mut state.0, &mut state.2, self.query.tail_lines, &mut out)?;
                state
            }
        };
        while !self.done && out.len() < Self::PIECE {
            let mut line = Vec::new();
            let length = file.read_until(b'\n', &mut line)?;
            if line.pop() == Some(b'\n') {
                self.done = !shape.take(&line, &mut out);
                continue;
            }
            file.seek_relative(-i64::try_from(length).unwrap_or(0))?;
            if length == 0 && std::fs::metadata(&self.path).is_ok_and(|meta| meta.ino() != *inode) {
                // The log was rotated: this file is read to its end, and there is a new one.
                let (fresh, number) = open(&self.path)?;
                *file = fresh;
                *inode = number;
                continue;
            }
            break;
        }
        Ok(out.into())
    }

    /// Waits until something may have been written.
    async fn wait_for_change(&mut self) -> io::Result<()> {
        if self.watch.is_none() {
            let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
            let dir = self.path.parent().unwrap_or(Path::new("/"));
            inotify::add_watch(&watch, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)?;
            self.watch = Some(sys::watch(watch, Interest::READABLE)?);
            // inotify does not report what was written before the watch existed.
            return Ok(());
        }
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let mut ready = watch.readable().await?;
        let mut buffer = [0; 1024];
        // The events are only drained; their content does not matter.
        while rustix::io::read(ready.get_inner(), &mut buffer).is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}

/// Seeks to where the query begins, including the rotated part of the log; returns `false` if the limit is reached already.
fn begin(
    path: &Path,
    file: &mut BufReader<File>,
    shape: &mut Shape,
    tail_lines: Option<u64>,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut aside = path.to_owned().into_os_string();
    aside.push(".1");
    let aside = open(Path::new(&aside)).ok().map(|(file, _)| file);
    match tail_lines {
        None => {
            if let Some(mut aside) = aside {
                let mut line = Vec::new();
                while aside.read_until(b'\n', &mut line)? > 0 {
                    line.pop();
                    if !shape.take(&line, out) {
                        return Ok(false);
                    }
                    line.clear();
                }
            }
        }
        Some(count) => {
            let mut lines = last_lines(file, count)?;
            let have = lines.iter().filter(|line| parse(line).is_some_and(|record| !record.partial)).count() as u64;
            if let Some(mut aside) = aside
                && have < count
            {
                let mut before = last_lines(&mut aside, count - have)?;
                before.append(&mut lines);
                lines = before;
            }
            for line in lines {
                if !shape.take(&line, out) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::Write;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F \n2026-01-01T00:00:04Z stdout F four x\n";

    async fn read(text: &str, query: LogQuery) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, text).unwrap();
        let pieces: Vec<Bytes> = stream(path, query, std::future::pending()).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn queries() {
        let all = LogQuery::default();
        for (query, expected) in [
            (all.clone(), "one\ntwo\n\nfour x\n"),
            (LogQuery { tail_lines: Some(2), ..all.clone() }, "\nfour x\n"),
            (LogQuery { tail_lines: Some(3), ..all.clone() }, "two\n\nfour x\n"),
            (LogQuery { tail_lines: Some(0), ..all.clone() }, ""),
            (LogQuery { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..all.clone() }, "\nfour x\n"),
            (LogQuery { limit_bytes: Some(5), ..all.clone() }, "one\nt"),
            (
                LogQuery { timestamps: true, tail_lines: Some(3), ..all.clone() },
                "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z \n2026-01-01T00:00:04Z four x\n",
            ),
        ] {
            assert_eq!(read(LOG, query.clone()).await, expected, "{query:?}");
        }
        assert_eq!(read("garbage\n", all).await, "");
    }

    #[tokio::test]
    async fn follows_until_the_end_over_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut pieces = Box::pin(stream(path.clone(), query, async {
            let _ = ended.await;
        }));
        let mut file = File::create(&path).unwrap();
        writeln!(file, "2026-01-01T00:00:01Z stdout F one").unwrap();
        assert_eq!(pieces.next().await.unwrap(), "one\n");
        write!(file, "2026-01-01T00:00:01Z stdout F tw").unwrap();
        writeln!(file, "o").unwrap();
        assert_eq!(pieces.next().await.unwrap(), "two\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        let mut file = File::create(&path).unwrap();
        writeln!(file, "2026-01-01T00:00:01Z stdout F three").unwrap();
        assert_eq!(pieces.next().await.unwrap(), "three\n");
        end.send(()).unwrap();
        assert_eq!(pieces.next().await, None);
    }

    #[test]
    fn ends_of_logs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut file = File::create(&path).unwrap();
        file.write_all(LOG.as_bytes()).unwrap();
        assert_eq!(tail(&path, 1, 100).as_deref(), Some("four x\n"));
        assert_eq!(tail(&path, 9, 3).as_deref(), Some(" x\n"));
        assert_eq!(tail(&dir.path().join("none"), 1, 1), None);
    }
}
