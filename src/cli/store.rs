//! `hookmill store`: care for a data directory. All but `restore` work beside a server that runs on it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    DATA_DIR, Failed, Outcome,
    table::{cell, table},
};
use crate::{
    clock::Clock,
    error::StoreError,
    store::sqlite::care::{self, DATABASE, Exported, Overview, Which},
};

#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read everything and tell what is damaged; exits with 1 when something is
    Check(Check),
    /// Show what is kept, its size, and the sums
    Stats(Stats),
    /// Write a copy of everything to a new file, also while the server runs
    Backup(Backup),
    /// Put a backup in place; no server may run on the directory
    Restore(Restore),
    /// Write events out as lines that `POST /v1/events` takes, also out of a damaged store
    Export(Export),
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the server
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, env = "HOOKMILL_DATA_DIR")]
    data_dir: PathBuf,
}

impl Place {
    fn database(&self) -> PathBuf {
        self.data_dir.join(DATABASE)
    }
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    place: Place,
    /// Check this backup, and not what is in the directory
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Stats {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Backup {
    /// The file to write; one that is there is left alone
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Move the database that is there aside
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Export {
    /// The file to write, instead of standard output; one that is there is left alone
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Only events that somebody still waits for
    #[arg(long)]
    undelivered: bool,
    #[command(flatten)]
    place: Place,
}

impl Store {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::Check(check) => check.run(),
            Action::Stats(stats) => stats.run(),
            Action::Backup(backup) => backup.run(),
            Action::Restore(restore) => restore.run(),
            Action::Export(export) => export.run(),
        }
    }
}

impl Check {
    fn run(self) -> Outcome {
        let path = self.file.unwrap_or_else(|| self.place.database());
        let damages = care::check(&path)?;
        if self.json {
            say!("{:#}", json!({"whole": damages.is_empty(), "damages": damages}));
        } else if damages.is_empty() {
            say!("{}: whole", path.display());
        } else {
            damages.iter().for_each(|damage| say!("{damage}"));
        }
        if damages.is_empty() {
            return Ok(());
        }
        let way_out =
            "`hookmill store export` writes out what can be read, `hookmill store restore` puts a backup in place";
        Err(Failed::new(1, format!("{} is damaged; {way_out}", path.display())))
    }
}

impl Stats {
    fn run(self) -> Outcome {
        let overview = care::overview(&self.place.database())?;
        if self.json {
            say!("{:#}", overview_json(&overview));
            return Ok(());
        }
        let shown = overview_json(&overview);
        let mut rows = Vec::new();
        rows_of(&shown, "", &mut rows);
        say!("{}", table(["WHAT", "VALUE"], &rows));
        Ok(())
    }
}

fn overview_json(overview: &Overview) -> Value {
    let Overview { version, epoch, size, events, endpoints, totals } = overview;
    json!({
        "schema_version": version, "epoch": epoch, "size_bytes": size, "events_kept": events, "endpoints": endpoints,
        "totals": totals,
    })
}

fn rows_of(value: &Value, prefix: &str, rows: &mut Vec<[String; 2]>) {
    for (name, member) in value.as_object().into_iter().flatten() {
        match member {
            Value::Object(_) => rows_of(member, &format!("{prefix}{name}."), rows),
            _ => rows.push([format!("{prefix}{name}"), cell(value, name)]),
        }
    }
}

impl Backup {
    fn run(self) -> Outcome {
        let copied = care::backup(&self.place.data_dir, &self.to)?;
        say!("{}: events {}, endpoints {}, bytes {}", self.to.display(), copied.events, copied.endpoints, copied.size);
        say!("not in it: the file admin.token, and the key of encrypted secrets");
        Ok(())
    }
}

impl Restore {
    fn run(self) -> Outcome {
        let restored = care::restore(&self.from, &self.place.data_dir, self.replace, Clock::system().now().wall)?;
        let Overview { events, endpoints, epoch, .. } = restored.overview;
        say!("{}: events {events}, endpoints {endpoints}, epoch {epoch}", self.place.database().display());
        if let Some(replaced) = restored.replaced {
            say!("the database that was there: {}", replaced.display());
        }
        Ok(())
    }
}

impl Export {
    fn run(self) -> Outcome {
        let which = if self.undelivered { Which::Undelivered } else { Which::All };
        let path = self.place.database();
        let exported = match &self.to {
            None => care::export(&path, which, &mut BufWriter::new(io::stdout().lock()))?,
            Some(to) => {
                let unwritable = |error: io::Error| Failed::new(1, format!("{}: {error}", to.display()));
                let file = new_file(to).map_err(unwritable)?;
                let mut out = BufWriter::new(&file);
                let exported = care::export(&path, which, &mut out)?;
                out.flush().and_then(|()| file.sync_all()).map_err(unwritable)?;
                exported
            }
        };
        let Exported { events, unreadable } = exported;
        eprintln!("{events} events written");
        if unreadable.is_empty() {
            return Ok(());
        }
        let ranges: Vec<_> = unreadable.iter().map(|(first, last)| format!("{first} to {last}")).collect();
        Err(Failed::new(1, format!("what these seqs stand for cannot be read: {}", ranges.join(", "))))
    }
}

/// Readable by its owner alone.
fn new_file(path: &PathBuf) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::new(1, error.to_string())
    }
}
