//! `hookmill chains`: chains of a running server, and files that hold some.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use awc::http::Method;
use serde_json::Value;

use super::{
    Connection, Failed, Outcome, block_on, client::Api, config::syntax, printable, printable_lines, publish::read_data,
};
use crate::ChainConfig;

/// No chain takes longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600 + 60);

#[derive(Debug, clap::Args)]
pub(super) struct Chains {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the chains of a running server
    List(List),
    /// Name every mistake in a file with chains (`webhooks` or `chains`; TOML, YAML or JSON), with its place
    Check(Check),
    /// Invoke a chain and print the final response
    Invoke(Invoke),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The file to check; other sections of it are passed over
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Invoke {
    /// The event that the chain is for
    event: String,
    /// JSON, or @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    data: String,
    #[command(flatten)]
    connection: Connection,
}

impl Chains {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::List(list) => list.run(),
            Command::Check(check) => check.run(),
            Command::Invoke(invoke) => invoke.run(),
        }
    }
}

impl List {
    fn run(self) -> Outcome {
        let api = Api::connect(&self.connection)?;
        block_on(async move {
            let chains = all(&api).await?;
            if self.json {
                say!("{:#}", Value::Array(chains));
                return Ok(());
            }
            for chain in &chains {
                say!("{}", line(chain));
            }
            Ok(())
        })
    }
}

async fn all(api: &Api) -> Result<Vec<Value>, Failed> {
    let (mut chains, mut path) = (Vec::new(), "/v1/chains?limit=250".to_owned());
    loop {
        let page = api.get(&path).await?;
        chains.extend(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("/v1/chains?limit=250&cursor={next}"),
            None => return Ok(chains),
        }
    }
}

/// The event, whose chain it is, and its steps in their order; asynchronous ones in brackets.
fn line(chain: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let step = |step: &Value| match step.get("async") {
        Some(Value::Bool(true)) => format!("({})", text(step, "name")),
        _ => text(step, "name"),
    };
    let steps: Vec<_> = chain.get("steps").and_then(Value::as_array).into_iter().flatten().map(step).collect();
    printable(&format!("{}  {}  {}", text(chain, "event"), text(chain, "managed_by"), steps.join(" > ")))
}

impl Check {
    fn run(self) -> Outcome {
        let config = read(&self.file).map_err(|mistakes| {
            let lines: Vec<_> = mistakes.iter().map(|mistake| format!("\n  {}", printable(mistake))).collect();
            Failed::new(1, format!("{} cannot be used:{}", self.file.display(), lines.concat()))
        })?;
        let state = if config.is_enabled() { "" } else { " (not enabled)" };
        say!("{}: no mistakes, chains: {}{state}", self.file.display(), config.count());
        Ok(())
    }
}

fn read(file: &Path) -> Result<ChainConfig, Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| vec![error.to_string()])?;
    // JSON is YAML.
    let json = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let value = syntax::parse(if json { Path::new("json.yaml") } else { file }, &text);
    let value = value.map_err(|error| vec![error.to_string()])?;
    ChainConfig::parse(&value).map_err(|invalid| invalid.faults().iter().map(ToString::to_string).collect())
}

impl Invoke {
    fn run(self) -> Outcome {
        let data = read_data(&self.data)?;
        serde_json::from_str::<serde::de::IgnoredAny>(data.trim())
            .map_err(|error| Failed::new(2, format!("--data is not JSON: {error}")))?;
        let api = Api::connect(&self.connection)?;
        block_on(async move {
            let path = format!("/v1/chains/{}/invoke", encoded(&self.event));
            let response = api.call_raw(Method::POST, &path, Some(data.trim().to_owned()), LONGEST).await?;
            let mut output = io::stdout();
            let shown = shown(&response, output.is_terminal());
            output.write_all(&shown).and_then(|()| output.write_all(b"\n")).context("standard output")?;
            Ok(())
        })
    }
}

/// A response byte for byte, but on a terminal, which would obey what is in it.
fn shown(response: &[u8], on_terminal: bool) -> Cow<'_, [u8]> {
    if on_terminal { printable_lines(&String::from_utf8_lossy(response)).into_bytes().into() } else { response.into() }
}

/// One segment of a path (RFC 3986).
fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_response_and_a_pipe_gets_every_byte() {
        let response = b"{\n\"a\": \"\x1b[2J\xc2\x9b\"}\xff";
        assert_eq!(shown(response, false).as_ref(), response);
        assert_eq!(shown(response, true), "{\n\"a\": \"\\u{1b}[2J\\u{9b}\"}\u{fffd}".as_bytes());
    }
}
