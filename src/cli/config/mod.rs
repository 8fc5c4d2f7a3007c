//! `hookmill config`: what a configuration file comes to, without a server.

mod boolean;
mod file;
mod options;
pub(super) mod syntax;

use std::path::PathBuf;

use serde_json::Value;

use super::{Failed, Outcome};
use file::GuardOptions;
pub(super) use file::{ConfigFile, FileError};
pub(super) use options::{CHAINS_HOLD, ENDPOINTS_OF_A_TENANT, InForce, Options};

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Name every mistake in a configuration file with its place
    Check(Check),
    /// Show the configuration in force with every default, secrets masked
    Show(Box<Show>),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The file to check: TOML, or YAML when its name ends so
    #[arg(long, value_name = "FILE", env = "HOOKMILL_CONFIG")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    options: Options,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

/// What is wrong with a configuration file of this name and text, each mistake with its place; nothing if it is right.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn mistakes(path: &std::path::Path, text: &str) -> Vec<String> {
    ConfigFile::from_text(path, text, &GuardOptions::default())
        .err()
        .map(|refused| refused.mistakes())
        .unwrap_or_default()
}

impl Config {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Check(check) => check.run(),
            Command::Show(show) => show.run(),
        }
    }
}

impl Check {
    fn run(self) -> Outcome {
        let file = ConfigFile::read(&self.config, &GuardOptions::default())?;
        let (endpoints, rules) = file.declared.counts();
        let (file, chains) = (self.config.display(), file.declared.chain_count());
        say!("{file}: no mistakes, endpoints: {endpoints}, debounce rules: {rules}, chains: {chains}");
        Ok(())
    }
}

impl Show {
    fn run(self) -> Outcome {
        let mut shown = self.options.in_force()?.to_masked_json();
        if self.json {
            say!("{shown:#}");
            return Ok(());
        }
        without_nulls(&mut shown);
        let text = toml::to_string(&shown).map_err(|error| Failed::new(1, error.to_string()))?;
        say!("{}", text.trim_end());
        Ok(())
    }
}

/// TOML has no word for what is not set.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
