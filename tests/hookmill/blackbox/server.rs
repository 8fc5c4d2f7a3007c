//! `hookmill serve` on a directory of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    PATIENCE,
    http::Client,
    process::{Process, hookmill, hookmill_with_files},
    until,
};

/// A directory for one server at a time, through all its lives.
pub(super) struct Home(TempDir);

/// A running server.
pub(super) struct Server {
    process: Process,
    pub(super) addr: String,
    pub(super) token: String,
}

impl Home {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts the command and does not wait for it.
    pub(super) fn launch(&self, args: &[&str]) -> Process {
        self.launch_as(hookmill, args)
    }

    fn launch_as(&self, command: impl Fn(&[&str]) -> Command, args: &[&str]) -> Process {
        Process::spawn(self.command(command, args), &self.log())
    }

    fn command(&self, command: impl Fn(&[&str]) -> Command, args: &[&str]) -> Command {
        let data = self.data();
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
        all.extend(args);
        command(&all)
    }

    /// What a server logs to, unless it has something else.
    pub(super) fn log(&self) -> PathBuf {
        self.0.path().join("server.log")
    }

    /// A server that may deliver to this machine, with a standard error of its own.
    pub(super) fn serve_logging_to(&self, stderr: impl Into<Stdio>) -> Server {
        let command = self.command(hookmill, &["--allow-loopback", "--drain", "5s"]);
        self.ready(Process::spawn_logging_to(stderr, command, &self.log()))
    }

    /// A server that may deliver to this machine, once it is ready.
    pub(super) fn serve(&self) -> Server {
        self.serve_with(&["--allow-loopback", "--drain", "5s"])
    }

    pub(super) fn serve_with(&self, args: &[&str]) -> Server {
        self.ready(self.launch(args))
    }

    /// The same with these variables in the environment.
    pub(super) fn serve_in(&self, environment: &[(&str, &str)], args: &[&str]) -> Server {
        let command = |args: &[&str]| {
            let mut command = hookmill(args);
            command.envs(environment.iter().copied());
            command
        };
        self.ready(self.launch_as(command, args))
    }

    /// A server that may deliver to this machine, and have so many files open.
    pub(super) fn serve_with_files(&self, files: u32, more: &[&str]) -> Server {
        let args = [&["--allow-loopback", "--drain", "5s"], more].concat();
        self.ready(self.launch_as(|args| hookmill_with_files(files, args), &args))
    }

    fn ready(&self, process: Process) -> Server {
        let line = process.line_with("Hookmill listens on ");
        let addr = line.rsplit_once("http://").unwrap().1.to_owned();
        let token = std::fs::read_to_string(self.data().join("admin.token")).unwrap().trim().to_owned();
        let server = Server { process, addr, token };
        let mut client = server.client();
        until("the server is ready", PATIENCE, || (client.call("GET", "/readyz", None).status == 200).then_some(()));
        server
    }
}

impl Server {
    pub(super) fn client(&self) -> Client {
        Client::new(&self.addr, Some(&self.token))
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// SIGKILL, and gone.
    pub(super) fn kill(mut self) {
        self.process.kill();
    }

    /// The process itself.
    pub(super) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Makes an unsigned endpoint that gets everything, with these settings over that.
pub(super) fn endpoint(client: &mut Client, id: &str, url: &str, settings: Value) {
    let mut body = json!({"id": id, "url": url, "topics": ["*"], "signing": {"type": "none"}});
    let Value::Object(settings) = settings else { panic!("{settings} are no settings") };
    body.as_object_mut().unwrap().extend(settings);
    client.post("/v1/endpoints", &body).expect(201);
}
