//! `hookmill dead-letters`: what failed for good, and what to do about it.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    Connection, Failed, Outcome, block_on,
    client::Api,
    table::{cell, table},
};

#[derive(Debug, Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, newest event first
    List(List),
    /// Show one with its event
    Show(Show),
    /// Deliver one again, or all that a filter finds, oldest first
    Replay(Replay),
    /// Forget those that a filter finds
    Purge(Purge),
}

/// Which of them.
#[derive(Debug, Args)]
struct Filter {
    /// Of this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Of events of these topics, such as order.*
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Dead for this reason: exhausted, expired, gone, not_retried, circuit_open
    #[arg(long)]
    reason: Option<String>,
    /// Of events of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Dead since this moment or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Dead before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Those that have been replayed, instead of those that have not
    #[arg(long)]
    replayed: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=250))]
    limit: u16,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Show {
    /// Its id, such as dlv_17-1-0
    id: String,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Replay {
    /// The id of one
    #[arg(conflicts_with_all = ["endpoint", "topic", "reason", "tenant", "since", "until", "all", "rate", "dry_run"])]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All there are
    #[arg(long)]
    all: bool,
    /// So many in a second
    #[arg(long, value_name = "N", default_value = "100")]
    rate: f64,
    #[command(flatten)]
    work: Work,
}

#[derive(Debug, Args)]
struct Purge {
    #[command(flatten)]
    filter: Filter,
    /// All there are
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    work: Work,
}

#[derive(Debug, Args)]
struct Work {
    /// Only count them
    #[arg(long)]
    dry_run: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(250);

impl DeadLetters {
    pub(super) fn run(self) -> Outcome {
        block_on(async move {
            match self.action {
                Action::List(list) => list.run().await,
                Action::Show(show) => show.run().await,
                Action::Replay(replay) => replay.run().await,
                Action::Purge(purge) => purge.run().await,
            }
        })
    }
}

impl Filter {
    fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { endpoint, topic, reason, tenant, since, until } = self;
        let all = [("endpoint", endpoint), ("topic", topic), ("reason", reason), ("tenant", tenant)];
        let all = all.into_iter().chain([("since", since), ("until", until)]);
        all.filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// The body of a call that works on what is meant.
    fn body(&self, all: bool, dry_run: bool) -> Result<Value, Failed> {
        let filter: Map<_, _> = self.given().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if filter.is_empty() && !all {
            return Err(Failed::new(2, "which? name a filter such as --endpoint, or say --all"));
        }
        Ok(json!({"filter": filter, "all": all, "dry_run": dry_run}))
    }
}

impl List {
    async fn run(self) -> Outcome {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.filter.given());
        query.append_pair("replayed", if self.replayed { "true" } else { "false" });
        query.append_pair("limit", &self.limit.to_string());
        let answer = Api::connect(&self.connection)?.get(&format!("/v1/dead-letters?{}", query.finish())).await?;
        if self.json {
            say!("{answer}");
            return Ok(());
        }
        let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names = ["id", "endpoint", "topic", "reason", "attempts", "last_status", "dead_since"];
        let rows: Vec<_> = items.iter().map(|item| names.map(|name| cell(item, name))).collect();
        say!("{}", table(["ID", "ENDPOINT", "TOPIC", "REASON", "ATTEMPTS", "STATUS", "DEAD SINCE"], &rows));
        if answer.get("next").is_some_and(|next| !next.is_null()) {
            say!("and more");
        }
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Outcome {
        let answer = Api::connect(&self.connection)?.get(&place(&self.id)).await?;
        if self.json {
            say!("{answer}");
            return Ok(());
        }
        let members = answer.as_object().into_iter().flatten();
        let rows: Vec<_> = members.map(|(name, _)| [name.clone(), cell(&answer, name)]).collect();
        say!("{}", table(["", ""], &rows).trim_start());
        Ok(())
    }
}

impl Replay {
    async fn run(self) -> Outcome {
        let api = Api::connect(&self.work.connection)?;
        if let Some(id) = &self.id {
            let answer = api.post(&format!("{}/replay", place(id)), &Value::Null).await?;
            let line = format!("{id} is replayed as {}", cell(&answer, "delivery"));
            say!("{}", if self.work.json { answer.to_string() } else { line });
            return Ok(());
        }
        let mut body = self.filter.body(self.all, self.work.dry_run)?;
        if let Value::Object(members) = &mut body {
            members.insert("rate".to_owned(), self.rate.into());
        }
        self.work.run(&api, "/v1/dead-letters/replay", &body, "replayed").await
    }
}

impl Purge {
    async fn run(self) -> Outcome {
        let api = Api::connect(&self.work.connection)?;
        if !self.yes && !self.work.dry_run {
            let counted = api.post("/v1/dead-letters/purge", &self.filter.body(self.all, true)?).await?;
            confirm(&format!("forget {} dead letters for ever?", cell(&counted, "matched")))?;
        }
        let body = self.filter.body(self.all, self.work.dry_run)?;
        self.work.run(&api, "/v1/dead-letters/purge", &body, "purged").await
    }
}

impl Work {
    /// Makes the call and waits until the work is done. It is the server's: it goes on when nobody waits any more.
    async fn run(&self, api: &Api, path: &str, body: &Value, done: &str) -> Outcome {
        let answer = api.post(path, body).await?;
        let Some(id) = answer.get("job").and_then(Value::as_str) else {
            let line = format!("{} dead letters would be {done}", cell(&answer, "matched"));
            say!("{}", if self.json { answer.to_string() } else { line });
            return Ok(());
        };
        let shows = io::stderr().is_terminal();
        let job = loop {
            let job = api.get(&format!("/v1/jobs/{id}")).await?;
            if shows {
                eprint!("\r{id}: {} of {} {done} ", cell(&job, "done"), cell(&job, "total"));
            }
            if job.get("state").and_then(Value::as_str) != Some("running") {
                break job;
            }
            tokio::time::sleep(LOOK).await;
        };
        if shows {
            eprintln!();
        }
        let line = format!("{} of {} dead letters {done}", cell(&job, "done"), cell(&job, "total"));
        say!("{}", if self.json { job.to_string() } else { line });
        judge(&job)
    }
}

/// A job that left something undone has failed.
fn judge(job: &Value) -> Outcome {
    let failed = job.get("failed").and_then(Value::as_u64).unwrap_or(0);
    match cell(job, "state").as_str() {
        "finished" if failed == 0 => Ok(()),
        "finished" => Err(Failed::new(1, format!("{failed} left alone: their endpoint is disabled or deleted"))),
        state => Err(Failed::new(1, format!("the job was {state}"))),
    }
}

fn confirm(question: &str) -> Outcome {
    if !io::stdin().is_terminal() {
        return Err(Failed::new(2, format!("{question} say --yes")));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush().map_err(anyhow::Error::from)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(anyhow::Error::from)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(Failed::new(1, "nothing was done")) }
}

fn place(id: &str) -> String {
    format!("/v1/dead-letters/{}", byte_serialize(id.as_bytes()).collect::<String>())
}
