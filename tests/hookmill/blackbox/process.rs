//! The binary as a child process: started, read, ended and reaped.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use super::{PATIENCE, until};

/// A command of the binary; killed and reaped when dropped.
pub(super) struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
}

/// The binary with these arguments, and nothing from the environment that could change what it does.
pub(super) fn hookmill(args: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_hookmill"));
    command.args(args);
    command
}

/// The binary with at most so many files open.
pub(super) fn hookmill_with_files(files: u32, args: &[&str]) -> Command {
    let mut command = clean("sh");
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_hookmill")]).args(args);
    command
}

fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HOOKMILL_")) {
        command.env_remove(name);
    }
    // However full the disk is that the tests run on.
    command.env("HOOKMILL_DISK_RESERVE", "0");
    // Nothing is there: what is sent is sent to its receiver, whatever proxy the environment names.
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    command.stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a command whose log goes to `log`.
    pub(super) fn start(args: &[&str], log: &Path) -> Self {
        Self::spawn(hookmill(args), log)
    }

    /// The same with a command of one's own making.
    pub(super) fn spawn(command: Command, log: &Path) -> Self {
        let stderr = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        Self::spawn_logging_to(stderr, command, log)
    }

    /// The same with a standard error of one's own; then `log` is not written.
    pub(super) fn spawn_logging_to(stderr: impl Into<Stdio>, mut command: Command, log: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // It ends with the process, whose output it must go on reading.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _nobody_reads = sender.send(line);
            }
        });
        Self { child, lines, log: log.to_owned() }
    }

    /// The next line on standard output that holds `text`.
    pub(super) fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}\n{}", self.log()));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Everything on standard error so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and gone.
    pub(super) fn kill(&mut self) {
        let _ended_before = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGHUP.
    pub(super) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Whether it runs.
    pub(super) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself.
    pub(super) fn ended(&mut self) -> ExitStatus {
        until("the process ends", PATIENCE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the process:\n{}", self.log());
        }
    }
}
