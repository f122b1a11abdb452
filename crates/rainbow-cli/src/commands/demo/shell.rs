//! Shell that runs this program's own commands, and prints each before its output.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
};
use traffic::Report;

use crate::{
    error::{Error, Result},
    printer::{DIM, NAME, Printer},
};

/// Number of lines of a failed command's output that the error repeats.
const TAIL: usize = 3;

pub(super) struct Shell {
    printer: Printer,
    program: PathBuf,
    /// Directory in which commands run.
    dir: PathBuf,
}

impl Shell {
    pub(super) fn new(printer: Printer, dir: &Path) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| Error::failed("cannot find this program", error))?;
        Ok(Self { printer, program, dir: dir.to_owned() })
    }

    /// Returns the directory in which commands run.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the directory of the cluster's own files.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Prints what happens next, in words.
    pub(super) fn say(&self, text: &str) {
        self.printer.line(format_args!("\n{DIM}# {text}{DIM:#}"));
    }

    /// Prints a command and runs it, printing its output as it comes. Returns its standard output.
    pub(super) async fn run(&self, command: &str) -> Result<String> {
        self.printer.line(format_args!("{NAME}$ rainbow {command}{NAME:#}"));
        self.execute(&self.program, "rainbow", command, true).await
    }

    /// Runs a command without printing anything.
    pub(super) async fn quietly(&self, command: &str) -> Result<String> {
        self.execute(&self.program, "rainbow", command, false).await
    }

    /// Runs git under a user name of its own.
    pub(super) async fn git(&self, command: &str) -> Result<String> {
        self.printer.line(format_args!("{NAME}$ git {command}{NAME:#}"));
        self.execute(Path::new("git"), "git", command, true).await
    }

    /// Prints an answer as it is.
    pub(super) fn answer(&self, text: &str) {
        self.printer.line(text);
    }

    /// Runs a command, and fails unless its answer is the given one.
    pub(super) async fn expect(&self, command: &str, answer: &str) -> Result {
        let said = self.run(command).await?;
        match said.trim() == answer {
            true => Ok(()),
            false => Err(Error::Failed(format!("`rainbow {command}` said `{}` instead of `{answer}`", said.trim()))),
        }
    }

    /// Prints the replies and failures that the load saw.
    pub(super) fn show(&self, report: &Report) {
        for (reply, tally) in &report.replies {
            let mark = match (tally.mixed, tally.compatible) {
                (true, _) => "  MIXED",
                (false, true) => "  compatible",
                (false, false) => "",
            };
            self.printer.line(format_args!("{:>9}  {reply}{mark}", tally.count));
        }
        for (kind, tally) in &report.failures {
            self.printer.line(format_args!("{:>9}  FAILED {kind}", tally.count));
        }
        let ms = |us: u64| us as f64 / 1000.0;
        self.printer.line(format_args!(
            "new connections: p50={:.1}ms p99={:.1}ms max={:.1}ms; kept ones: p50={:.1}ms p99={:.1}ms max={:.1}ms",
            ms(report.latency.p50_us),
            ms(report.latency.p99_us),
            ms(report.latency.max_us),
            ms(report.latency_kept.p50_us),
            ms(report.latency_kept.p99_us),
            ms(report.latency_kept.max_us)
        ));
    }

    async fn execute(&self, program: &Path, name: &str, command: &str, shown: bool) -> Result<String> {
        let cannot = |error| Error::failed(format_args!("cannot run `{name} {command}`"), error);
        let home = self.home();
        let mut child = Command::new(program)
            .args(command.split_whitespace())
            .current_dir(&self.dir)
            // The command has a home of its own, so the caller's clusters are not touched.
            .env("RAINBOW_HOME", &home)
            .env_remove("RAINBOW_PROFILE")
            .env("HOME", &home)
            // The caller's git configuration is not used either.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_NAME"), "rainbow demo")))
            .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_EMAIL"), "demo@rainbow.dev")))
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env_remove("KUBECONFIG")
            .env_remove("RAINBOW_NAMESPACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at the terminal is for the demo, which then cleans up; it must not end the running command as well.
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr, status) = tokio::join!(self.copy(stdout, shown), self.copy(stderr, shown), child.wait());
        if status.map_err(cannot)?.success() {
            return Ok(stdout);
        }
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("; ");
        Err(Error::Failed(format!("`{name} {command}` failed: {}", tail.trim_start_matches("error: "))))
    }

    async fn copy(&self, stream: Option<impl AsyncRead + Unpin>, shown: bool) -> String {
        let mut text = String::new();
        let Some(stream) = stream else { return text };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if shown {
                self.printer.line(&line);
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
