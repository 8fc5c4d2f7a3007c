//! `hookmill publish`: one event, from a shell.

use std::{
    fs,
    io::{self, Read},
};

use anyhow::Context;
use serde_json::{Map, Value, value::RawValue};

use super::{Connection, Failed, Outcome, block_on, client::Api, printable};
use awc::http::Method;

#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    /// What the event is about, such as order.paid
    topic: String,
    /// JSON, or @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    data: String,
    /// The event's own id: publishing it again has no second effect
    #[arg(long)]
    id: Option<String>,
    /// Whom the event belongs to
    #[arg(long)]
    tenant: Option<String>,
    /// Ordering key
    #[arg(long)]
    key: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Publish {
    pub(super) fn run(self) -> Outcome {
        let body = self.body()?;
        let api = Api::connect(&self.connection)?;
        block_on(async move {
            let answer = api.call(Method::POST, "/v1/events", Some(body)).await?;
            if self.json {
                say!("{answer}");
            } else {
                let text = |name: &str| answer.get(name).map(Value::to_string).unwrap_or_default();
                let again = if answer.get("duplicate") == Some(&Value::Bool(true)) { ", published before" } else { "" };
                // A tenant's token is told no number.
                let number = answer.get("seq").map_or_else(String::new, |seq| format!(" as number {seq}"));
                say!("accepted {}{number}{again}", printable(text("id").trim_matches('"')));
            }
            Ok(())
        })
    }

    fn body(&self) -> Result<String, Failed> {
        let data = read_data(&self.data)?;
        // Checked here so that the place of a mistake is the place in what was typed; the bytes go out as they are.
        let data: Box<RawValue> = serde_json::from_str(data.trim())
            .map_err(|error| Failed::new(2, format!("--data is not JSON: {error}")))?;
        let named = [("id", &self.id), ("tenant", &self.tenant), ("key", &self.key)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let envelope: Map<String, Value> = named
            .chain([("topic", self.topic.as_str())])
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let envelope = Value::Object(envelope).to_string();
        Ok(format!("{},\"data\":{}}}", envelope.strip_suffix('}').unwrap_or(&envelope), data.get()))
    }
}

/// JSON from the command line, from a file, or from standard input.
pub(super) fn read_data(data: &str) -> Result<String, anyhow::Error> {
    match (data, data.strip_prefix('@')) {
        ("-", _) => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("standard input")?;
            Ok(text)
        }
        (_, Some(path)) => fs::read_to_string(path).with_context(|| path.to_owned()),
        (text, None) => Ok(text.to_owned()),
    }
}
