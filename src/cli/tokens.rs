//! `hookmill tokens`: who may call a running server.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{
    Connection, Outcome, block_on,
    client::Api,
    printable,
    table::{cell, table},
};

#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, oldest first; never the tokens themselves
    List(List),
    /// Make one and print it: this once
    Add(Add),
    /// Delete one: it opens nothing any more
    Rm(Rm),
}

#[derive(Debug, Args)]
struct List {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Add {
    /// What it opens: publish, read, replay, metrics, admin; several with commas
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
    scope: Vec<String>,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// Whose it is: it sees and changes nothing of others
    #[arg(long)]
    tenant: Option<String>,
    /// How long it opens anything, such as 30d
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    expires_in: Option<String>,
    /// From when on it opens nothing (RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Rm {
    /// Its id, such as tok_0199c7…
    id: String,
    #[command(flatten)]
    connection: Connection,
}

impl Tokens {
    pub(super) fn run(self) -> Outcome {
        block_on(async move {
            match self.action {
                Action::List(list) => list.run().await,
                Action::Add(add) => add.run().await,
                Action::Rm(rm) => rm.run().await,
            }
        })
    }
}

impl List {
    async fn run(self) -> Outcome {
        let api = Api::connect(&self.connection)?;
        let (mut tokens, mut place) = (Vec::new(), "/v1/tokens?limit=250".to_owned());
        loop {
            let answer = api.get(&place).await?;
            tokens.extend(answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
            let Some(next) = answer.get("next").and_then(Value::as_str) else { break };
            place = format!("/v1/tokens?limit=250&cursor={next}");
        }
        if self.json {
            say!("{}", Value::Array(tokens));
            return Ok(());
        }
        let rows: Vec<_> = tokens.iter().map(row).collect();
        say!("{}", table(["ID", "NAME", "SCOPES", "TENANT", "EXPIRES", "LAST USED"], &rows));
        Ok(())
    }
}

fn row(token: &Value) -> [String; 6] {
    let scopes = token.get("scopes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let scopes = printable(&scopes.collect::<Vec<_>>().join(","));
    let expired = token.get("expired") == Some(&Value::Bool(true));
    let expires = if expired { "expired".to_owned() } else { cell(token, "expires_at") };
    [cell(token, "id"), cell(token, "name"), scopes, cell(token, "tenant"), expires, cell(token, "last_used_at")]
}

impl Add {
    async fn run(self) -> Outcome {
        let Self { scope, name, tenant, expires_in, expires_at, .. } = &self;
        let body = json!({
            "scopes": scope, "name": name, "tenant": tenant, "expires_in": expires_in, "expires_at": expires_at,
        });
        let answer = Api::connect(&self.connection)?.post("/v1/tokens", &body).await?;
        if self.json {
            say!("{answer}");
            return Ok(());
        }
        // The token alone, so that a script can take it.
        eprintln!("{} is shown this once:", cell(&answer, "id"));
        say!("{}", cell(&answer, "token"));
        Ok(())
    }
}

impl Rm {
    async fn run(self) -> Outcome {
        let place = format!("/v1/tokens/{}", byte_serialize(self.id.as_bytes()).collect::<String>());
        Api::connect(&self.connection)?.delete(&place).await?;
        say!("{} is deleted", printable(&self.id));
        Ok(())
    }
}
