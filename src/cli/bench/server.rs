//! The server under load: a process of its own on a directory of its own, or one that runs.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use actix_rt::task::spawn_blocking;
use anyhow::{Context, anyhow};
use awc::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use super::{ledger::Fan, request};
use crate::cli::{Connection, Failed, client::Api, scratch::Scratch};

pub(super) struct Server {
    api: Api,
    /// Where it is, and what stands in front of `/v1`.
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
    /// Of the endpoints made here.
    endpoints: Vec<String>,
    own: Option<Own>,
}

/// A process that ends with its holder, and its directory after it.
struct Own {
    child: Child,
    /// Held open: the server writes its lines there.
    output: Option<Output>,
    _dir: Scratch,
}

type Output = BufReader<ChildStdout>;

impl Drop for Own {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped = self.child.wait();
        drop(self.output.take());
    }
}

/// What the server's process has used, as its metrics tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
}

/// Which lines the server logs.
const LOG: &str = "HOOKMILL_LOG";
/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);
/// How long its metrics may take.
const LOOK: Duration = Duration::from_secs(30);
/// Endpoints made at once.
const AT_ONCE: usize = 64;

impl Server {
    /// One that runs; it is left as it was found.
    pub(super) fn connect(connection: &Connection) -> Result<Self, Failed> {
        let api = Api::connect(connection)?;
        let usage = |detail: &str| Failed::new(2, format!("--url {}: {detail}", connection.url));
        let url = Url::parse(&connection.url).map_err(|error| usage(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(usage("the load is posted over plain http only"));
        }
        Ok(Self::at(&url, api, None)?)
    }

    fn at(url: &Url, api: Api, own: Option<Own>) -> anyhow::Result<Self> {
        let (host, port) = (url.host_str().context("no host")?, url.port_or_known_default().unwrap_or(80));
        let host = format!("{host}:{port}");
        let address = host.to_socket_addrs().with_context(|| host.clone())?.next().context("no address")?;
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { api, address, host, path, endpoints: Vec::new(), own })
    }

    /// One of our own, on a directory below `parent` that is gone afterwards.
    pub(super) async fn start(parent: &Path) -> anyhow::Result<Self> {
        let dir = Scratch::below(parent, "bench", false);
        fs::create_dir(&dir.path).with_context(|| dir.path.display().to_string())?;
        let (data, log) = (dir.path.join("data"), dir.path.join("server.log"));
        let child = command(&data)?.stderr(fs::File::create(&log)?).spawn().context("cannot start the server")?;
        let mut own = Own { child, output: None, _dir: dir };
        let failed = |detail: String| {
            anyhow!("the server did not start: {detail}\n{}", fs::read_to_string(&log).unwrap_or_default())
        };
        let output = BufReader::new(own.child.stdout.take().context("no output")?);
        let line = tokio::time::timeout(START, spawn_blocking(|| first_line(output))).await;
        let (output, line) = line.map_err(|_| failed(format!("it said nothing for {START:?}")))???;
        own.output = Some(output);
        let url = line.split_whitespace().last().and_then(|url| Url::parse(url).ok());
        let url = url.ok_or_else(|| failed(line))?;
        let token = fs::read_to_string(data.join("admin.token")).map_err(|error| failed(error.to_string()))?;
        Self::at(&url, Api::new(url.as_str(), token.trim()), Some(own))
    }

    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn token(&self) -> &str {
        self.api.token()
    }

    /// Makes endpoints at these URLs, with settings over what is usual; each group has its topic.
    pub(super) async fn configure(&mut self, run: &Run<'_>, urls: &[String]) -> Result<(), Failed> {
        let bodies: Vec<_> = urls.iter().enumerate().map(|(index, url)| run.endpoint(index, url)).collect();
        for (first, bodies) in (0..).step_by(AT_ONCE).zip(bodies.chunks(AT_ONCE)) {
            let made = join_all(bodies.iter().map(|body| self.api.post("/v1/endpoints", body))).await;
            for (index, made) in (first..).zip(made) {
                made?;
                self.endpoints.push(run.id(index));
            }
        }
        Ok(())
    }

    /// Leaves a server that goes on as it was found.
    pub(super) async fn leave(mut self) -> Result<(), Failed> {
        if self.own.is_some() {
            return Ok(());
        }
        for ids in std::mem::take(&mut self.endpoints).chunks(AT_ONCE) {
            let paths: Vec<_> = ids.iter().map(|id| format!("/v1/endpoints/{id}")).collect();
            let gone = join_all(paths.iter().map(|path| self.api.delete(path))).await;
            gone.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    /// What its process has used; `None` where it does not tell.
    pub(super) async fn usage(&self) -> Option<Usage> {
        let text = self.api.call_raw(Method::GET, "/metrics", None, LOOK).await.ok()?;
        usage_in(str::from_utf8(&text).ok()?)
    }
}

/// The endpoints of one run.
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) fan: Fan,
    pub(super) settings: &'a Value,
}

impl Run<'_> {
    fn id(&self, index: usize) -> String {
        format!("bench-{}-{index}", self.name)
    }

    /// What the topics of its events begin with.
    pub(super) fn topic(&self) -> String {
        format!("bench.{}", self.name)
    }

    fn endpoint(&self, index: usize, url: &str) -> Value {
        let (group, _) = self.fan.place_of(index);
        let topic = format!("{}.{}", self.topic(), request::group_name(group));
        let mut body = json!({"id": self.id(index), "url": url, "topics": [topic]});
        if let (Some(body), Some(settings)) = (body.as_object_mut(), self.settings.as_object()) {
            body.extend(settings.clone());
        }
        body
    }
}

fn first_line(mut output: Output) -> io::Result<(Output, String)> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok((output, line))
}

/// This program as a server, with nothing from the environment but its log and how full the disk may be.
fn command(data: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe().context("where is this program?")?);
    let ours = |name: &str| name.starts_with("HOOKMILL_") && name != "HOOKMILL_DISK_RESERVE" && name != LOG;
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    if env::var_os(LOG).is_none() {
        command.env(LOG, "warn");
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--allow-loopback", "--data-dir"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

fn usage_in(metrics: &str) -> Option<Usage> {
    let value = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value?.trim().parse().ok()
    };
    let (cpu, resident) = (value("process_cpu_seconds_total"), value("process_resident_memory_bytes"));
    Some(Usage { cpu_seconds: cpu?, resident_bytes: resident? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_metrics() {
        let text = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25\n\
                    process_resident_memory_bytes_more 7\nprocess_resident_memory_bytes 4096\n";
        assert_eq!(usage_in(text), Some(Usage { cpu_seconds: 1.25, resident_bytes: 4096.0 }));
        assert_eq!(usage_in("process_cpu_seconds_total 1.25\n"), None);
    }

    #[test]
    fn each_endpoint_has_the_topic_of_its_group() {
        let run =
            Run { name: "r", fan: Fan { endpoints: 4, fan_out: 2 }, settings: &json!({"batch": {"max_items": 5}}) };
        let made = run.endpoint(3, "http://127.0.0.1:1/e/3");
        let (group, url) = ("bench.r.0000000001", "http://127.0.0.1:1/e/3");
        assert_eq!(made, json!({"id": "bench-r-3", "url": url, "topics": [group], "batch": {"max_items": 5}}));
    }
}
