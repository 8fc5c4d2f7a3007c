//! The configuration file of the server.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::syntax::{self, SyntaxError};
use crate::{
    Declared, Invalid,
    cli::{
        Failed,
        door::{
            hosts::{self, Host},
            tls::TlsFiles,
        },
        printable,
    },
    config::fields::{Field, Fields, read},
    store::Retention,
    transport::{Perimeter, guard::Allowed},
};

/// The longest time a shutdown may take.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// Most networks that are allowed.
const MOST_ALLOWED: usize = 1000;
/// Most file roots.
const MOST_ROOTS: usize = 64;
/// The most bytes to be left on a disk: 1 PiB.
const LARGEST_DISK: u64 = 1 << 50;

/// How long events and outcomes may be kept: up to ten years.
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(3650 * 86_400);
/// Bytes that chains may hold: up to 1 TiB.
pub(super) const CHAIN_BYTES: RangeInclusive<u64> = 1..=1 << 40;

/// The most endpoints of one tenant.
pub(super) const ENDPOINTS_PER_TENANT: RangeInclusive<u64> = 1..=1_000_000;

/// The most connections at once.
pub(super) const MOST_CONNECTIONS: usize = 1_000_000;

/// What a file says; `None` is left to the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct ConfigFile {
    pub(super) listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) allow_loopback: Option<bool>,
    pub(super) guard: GuardOptions,
    pub(super) drain: Option<Duration>,
    pub(super) file_roots: Vec<PathBuf>,
    pub(super) disk_reserve: Option<u64>,
    pub(super) retention: RetentionOptions,
    pub(super) chain_bytes: Option<u64>,
    pub(super) max_endpoints_per_tenant: Option<u64>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) hosts: Vec<Host>,
    pub(super) max_connections: Option<usize>,
    pub(super) secret_key_file: Option<PathBuf>,
    pub(super) declared: Declared,
}

/// What is said of addresses, which judges the endpoints of a file too.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct GuardOptions {
    pub(super) allow: Option<Vec<Allowed>>,
    pub(super) https_only: Option<bool>,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::cli) struct RetentionOptions {
    pub(super) events: Option<Duration>,
    pub(super) outcomes: Option<Duration>,
}

impl RetentionOptions {
    /// With what `other` says where this says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        Self { events: self.events.or(other.events), outcomes: self.outcomes.or(other.outcomes) }
    }

    pub(super) fn in_force(self) -> Retention {
        let usual = Retention::default();
        Retention { events: self.events.unwrap_or(usual.events), outcomes: self.outcomes.unwrap_or(usual.outcomes) }
    }
}

/// A file cannot be used; nothing of it was.
#[derive(Debug)]
pub(in crate::cli) struct FileError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Unreadable(io::Error),
    Syntax(SyntaxError),
    Invalid(Invalid),
}

impl ConfigFile {
    /// Reads a file, with `over` above what it says.
    ///
    /// # Errors
    /// Every mistake at once, with its place.
    pub(super) fn read(path: &Path, over: &GuardOptions) -> Result<Self, FileError> {
        let failed = |cause| FileError { path: path.to_owned(), cause };
        let text = fs::read_to_string(path).map_err(|error| failed(Cause::Unreadable(error)))?;
        Self::from_text(path, &text, over)
    }

    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// Every mistake at once, with its place.
    pub(super) fn from_text(path: &Path, text: &str, over: &GuardOptions) -> Result<Self, FileError> {
        let failed = |cause| FileError { path: path.to_owned(), cause };
        let value = syntax::parse(path, text).map_err(|error| failed(Cause::Syntax(error)))?;
        Self::parse(&value, over).map_err(|invalid| failed(Cause::Invalid(invalid)))
    }

    fn parse(value: &Value, over: &GuardOptions) -> Result<Self, Invalid> {
        read(value, |fields| Some(config(fields, over)))
    }
}

fn config(fields: &mut Fields<'_>, over: &GuardOptions) -> ConfigFile {
    let guard = GuardOptions {
        allow: fields.take("guard_allow").and_then(|field| field.parsed(0..=MOST_ALLOWED)),
        https_only: fields.take("https_only").and_then(|field| field.flag()),
    };
    let allow = over.allow.as_ref().or(guard.allow.as_ref()).cloned().unwrap_or_default();
    let perimeter = Perimeter::new(allow, over.https_only.or(guard.https_only).unwrap_or(false));
    ConfigFile {
        guard,
        listen: fields.take("listen").and_then(|field| listen(&field)),
        data_dir: fields.take("data_dir").and_then(|field| path(&field)),
        allow_loopback: fields.take("allow_loopback").and_then(|field| field.flag()),
        drain: fields.take("drain").and_then(|field| field.duration(Duration::ZERO..=LONGEST_DRAIN)),
        file_roots: fields.take("file_roots").map(|field| file_roots(&field)).unwrap_or_default(),
        disk_reserve: fields.take("disk_reserve").and_then(|field| field.whole(0..=LARGEST_DISK)),
        retention: fields.take("retention").and_then(|field| retention(&field)).unwrap_or_default(),
        chain_bytes: fields.take("chain_bytes").and_then(|field| field.whole(CHAIN_BYTES)),
        max_endpoints_per_tenant: fields
            .take("max_endpoints_per_tenant")
            .and_then(|field| field.whole(ENDPOINTS_PER_TENANT)),
        tls: fields.take("tls").and_then(|field| tls(&field)),
        hosts: fields.take("hosts").and_then(|field| hosts::read(&field)).unwrap_or_default(),
        max_connections: fields.take("max_connections").and_then(|field| field.whole(1..=MOST_CONNECTIONS)),
        secret_key_file: fields.take("secret_key_file").and_then(|field| path(&field)),
        declared: Declared::read(fields, &perimeter),
    }
}

fn listen(field: &Field<'_>) -> Option<SocketAddr> {
    let rule = |_| field.fault("must be an address with a port, such as \"127.0.0.1:8700\" or \"[::]:8700\"");
    field.text()?.parse().map_err(rule).ok()
}

fn path(field: &Field<'_>) -> Option<PathBuf> {
    field.label(4096).map(PathBuf::from)
}

/// Right by itself: what is written over it is judged at the start.
fn retention(field: &Field<'_>) -> Option<RetentionOptions> {
    let (events, outcomes) = field.object(|fields| {
        let mut given = |name| fields.take(name).map(|field| field.duration(RETENTION));
        Some((given("events"), given("outcomes")))
    })?;
    let read = RetentionOptions { events: events.flatten(), outcomes: outcomes.flatten() };
    let readable = events != Some(None) && outcomes != Some(None);
    match read.in_force().mistake().filter(|_| readable) {
        Some(mistake) => field.nested(Err(Invalid::at("#/outcomes", mistake))),
        None => Some(read),
    }
}

fn tls(field: &Field<'_>) -> Option<TlsFiles> {
    field.object(|fields| {
        let mut file = |name| fields.require(name).and_then(|field| field.label(4096)).map(PathBuf::from);
        let (cert, key) = (file("cert"), file("key"));
        Some(TlsFiles { cert: cert?, key: key? })
    })
}

/// Directories, by absolute paths.
fn file_roots(field: &Field<'_>) -> Vec<PathBuf> {
    let root = |field: &Field<'_>| {
        let path = PathBuf::from(field.label(4096)?);
        if !path.is_absolute() {
            field.fault("must be an absolute path");
        }
        Some(path)
    };
    field.list(0..=MOST_ROOTS).unwrap_or_default().iter().filter_map(root).collect()
}

impl FileError {
    /// Every mistake, each with its place: `#/endpoints/3/url: is missing`, or `12:7: …` for line and column.
    pub(in crate::cli) fn mistakes(&self) -> Vec<String> {
        match &self.cause {
            Cause::Unreadable(error) => vec![error.to_string()],
            Cause::Syntax(error) => vec![error.to_string()],
            Cause::Invalid(invalid) => invalid.faults().iter().map(ToString::to_string).collect(),
        }
    }

    pub(in crate::cli) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used:", self.path.display())?;
        self.mistakes().iter().try_for_each(|mistake| write!(f, "\n  {}", printable(mistake)))
    }
}

impl From<FileError> for Failed {
    fn from(error: FileError) -> Self {
        Self::new(1, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(value: &Value) -> Vec<String> {
        ConfigFile::parse(value, &GuardOptions::default())
            .unwrap_err()
            .faults()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let value = json!({
            "listen": "localhost", "data_dir": "", "allow_loopback": "yes", "drain": "1d", "endpoint": [],
            "guard_allow": ["10.1.0.0/16:443", "10.1.0.1/16:443"], "https_only": 1,
            "file_roots": ["/var/log", "logs", 7],
            "retention": {"events": "0s", "outcome": "1d"}, "chain_bytes": 0, "max_endpoints_per_tenant": 0,
            "tls": {"cert": "a.pem", "keys": "b.pem"}, "hosts": ["a.example", "b:1", "x y"], "max_connections": 0,
            "endpoints": [
                {"id": "a", "url": "https://a.example"},
                {"id": "b c", "url": "https://b.example", "retry": {"max_age": "soon"}},
                {"url": "http://169.254.169.254/", "timeuot": "1s"},
                {"id": "a"},
                7
            ],
            "debounce_rules": {"d": {"topics": ["*"], "window": "1m"}, "e/f": {"topics": [], "window": "1m"}}
        });
        let found = mistakes(&value);
        let places: Vec<_> =
            found.iter().filter_map(|mistake| mistake.split_once(": ")).map(|(place, _)| place).collect();
        assert_eq!(
            places,
            [
                "#/guard_allow/1",
                "#/https_only",
                "#/listen",
                "#/data_dir",
                "#/allow_loopback",
                "#/drain",
                "#/file_roots/1",
                "#/file_roots/2",
                "#/retention/events",
                "#/retention/outcome",
                "#/chain_bytes",
                "#/max_endpoints_per_tenant",
                "#/tls/key",
                "#/tls/keys",
                "#/hosts/1",
                "#/hosts/2",
                "#/max_connections",
                "#/endpoints/3/id",
                "#/endpoints/1/id",
                "#/endpoints/1/retry/max_age",
                "#/endpoints/2/id",
                "#/endpoints/2/url",
                "#/endpoints/2/timeuot",
                "#/endpoints/3/url",
                "#/endpoints/4",
                "#/debounce_rules/e~1f",
                "#/debounce_rules/e~1f/topics",
                "#/endpoint",
            ],
            "{found:#?}"
        );
        assert!(found.iter().any(|mistake| mistake.ends_with("did you mean `timeout`?")), "{found:#?}");
        assert!(found.iter().any(|mistake| mistake.ends_with("did you mean `endpoints`?")), "{found:#?}");
    }

    #[test]
    fn outcomes_are_kept_as_long_as_events() {
        for (retention, wrong) in [
            (json!({"events": "60d"}), true),
            (json!({"events": "60d", "outcomes": "59d"}), true),
            (json!({"outcomes": "6d"}), true),
            (json!({"events": "60d", "outcomes": "60d"}), false),
            (json!({"events": "1h", "outcomes": "1h"}), false),
            (json!({}), false),
        ] {
            let read = ConfigFile::parse(&json!({"retention": retention}), &GuardOptions::default());
            let places: Vec<_> = read.err().into_iter().flat_map(Vec::from).map(|fault| fault.pointer).collect();
            assert_eq!(places == ["#/retention/outcomes"], wrong, "{retention}: {places:?}");
            assert_eq!(places.is_empty(), !wrong, "{retention}: {places:?}");
        }
        for unreadable in [json!({"events": "60d", "outcomes": "soon"}), json!({"events": "late", "outcomes": "1d"})] {
            let found = mistakes(&json!({"retention": unreadable}));
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn the_example_has_no_mistakes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hookmill.toml");
        let file = ConfigFile::read(&path, &GuardOptions::default()).map_err(|error| error.to_string()).unwrap();
        assert_eq!(file.declared.counts(), (4, 1));
    }

    #[test]
    fn what_is_shown_reads_back_but_for_secrets() {
        let value = json!({
            "endpoints": [{"id": "a", "url": "https://a.example", "signing": {"type": "none"}, "in_flight": 3}],
            "debounce_rules": {"d": {"topics": ["x.*"], "window": "1m"}},
            "chains": {"E": [{"name": "a", "url": "https://a.example", "final_response": true}]}
        });
        let parse = |value: &Value| ConfigFile::parse(value, &GuardOptions::default()).unwrap();
        let file = parse(&value);
        assert_eq!(parse(&file.declared.to_masked_json()), file);
    }
}
