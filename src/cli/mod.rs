//! The command line: one file per command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the server cannot be reached, 4 denied, 5 not found, 6 conflict,
//! 7 something acknowledged was not delivered.

#![expect(clippy::print_stderr, reason = "a command speaks on its terminal")]

/// A line on standard output. Whoever stops reading (`| head`) stops no command: what it does is done all the same.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _unread = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod bench;
mod chains;
mod client;
pub(crate) mod config;
mod dead_letters;
mod demo;
mod door;
mod listen;
mod log;
mod publish;
mod scratch;
mod serve;
mod store;
mod table;
mod text;
mod tokens;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};

use crate::config::duration;
use log::Log;
use text::{printable, printable_lines};

/// Durable webhook dispatcher: events in over HTTP, delivered, retried, dead-lettered, replayed, and never lost.
#[derive(Debug, Parser)]
#[command(name = "hookmill", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT
    Serve(serve::Serve),
    /// Publish one event to a running server
    Publish(publish::Publish),
    /// Run a receiver that verifies, prints, and misbehaves on request
    Listen(listen::Listen),
    /// List, show, replay and purge what could not be delivered
    DeadLetters(dead_letters::DeadLetters),
    /// Check a configuration file, or show what is in force
    Config(config::Config),
    /// List, check and invoke chains
    Chains(chains::Chains),
    /// List, make and delete the tokens of callers
    Tokens(tokens::Tokens),
    /// Check, back up, restore and read out a data directory
    Store(store::Store),
    /// Show everything in half a minute on a temporary directory
    Demo(demo::Demo),
    /// Measure what this machine does: events per second, latency, processor time, and that nothing is lost
    Bench(bench::Bench),
}

/// Where the server listens, and keeps everything, unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8700);
const DATA_DIR: &str = "data";

/// Where a running server is, and how it lets us in.
#[derive(Clone, Debug, clap::Args)]
struct Connection {
    /// Address of the server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8700", env = "HOOKMILL_URL")]
    url: String,
    /// Directory of the server on this machine: its `admin.token` is used
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, env = "HOOKMILL_DATA_DIR")]
    data_dir: PathBuf,
    /// File with the token; before it comes the variable HOOKMILL_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with certificates (PEM) to trust, instead of those that the system trusts
    #[arg(long, value_name = "FILE", env = "HOOKMILL_CA")]
    ca: Option<PathBuf>,
}

/// What a command that did not work exits with.
#[derive(Debug)]
struct Failed {
    code: u8,
    message: String,
}

type Outcome = Result<(), Failed>;

impl Failed {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::new(1, format!("{error:#}"))
    }
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match &cli.command {
        Command::Serve(_) => Log::queued("info"),
        Command::Demo(_) => Log::direct("off"),
        _ => Log::default(),
    };
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Publish(publish) => publish.run(),
        Command::Listen(listen) => listen.run(),
        Command::DeadLetters(dead_letters) => dead_letters.run(),
        Command::Config(config) => config.run(),
        Command::Chains(chains) => chains.run(),
        Command::Tokens(tokens) => tokens.run(),
        Command::Store(store) => store.run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, message }) => {
            log.say(&format!("hookmill: {}", printable_lines(&message)));
            ExitCode::from(code)
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Runs a command's future.
fn block_on(future: impl Future<Output = Outcome>) -> Outcome {
    actix_rt::System::new().block_on(future)
}

fn bound(addrs: &[SocketAddr], scheme: &str) -> String {
    addrs.first().map_or_else(String::new, |addr| format!("{scheme}://{addr}"))
}
