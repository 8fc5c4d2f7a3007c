//! The settings of the server: from its file, over that the environment, over that the command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    ConfigFile, FileError,
    boolean::YesOrNo,
    file::{CHAIN_BYTES, ENDPOINTS_PER_TENANT, GuardOptions, MOST_CONNECTIONS, RetentionOptions},
};
use crate::{
    Declared,
    cli::{
        DATA_DIR, LISTEN,
        door::{hosts::Host, tls::TlsFiles},
        parse_duration,
    },
    config::duration,
    pipeline,
    store::Retention,
    transport::guard::Allowed,
};

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Configuration file: TOML, or YAML when its name ends so. SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "HOOKMILL_CONFIG")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8700]
    #[arg(long, value_name = "ADDR", env = "HOOKMILL_LISTEN")]
    listen: Option<SocketAddr>,
    /// Directory that everything is kept in; made if it is not there [default: data]
    #[arg(long, value_name = "DIR", env = "HOOKMILL_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Let endpoints made through the API point to this machine: for development
    #[arg(
        long, value_name = "BOOL", env = "HOOKMILL_ALLOW_LOOPBACK", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = YesOrNo
    )]
    allow_loopback: Option<bool>,
    /// Networks and ports that every endpoint may reach, such as 10.1.0.0/16:443 or [fd00::]/8:*, separated by commas
    #[arg(long, value_name = "NET:PORTS", env = "HOOKMILL_GUARD_ALLOW", value_delimiter = ',')]
    guard_allow: Option<Vec<Allowed>>,
    /// Refuse http:// to endpoints made through the API, and to all that are not `private`
    #[arg(
        long, value_name = "BOOL", env = "HOOKMILL_HTTPS_ONLY", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = YesOrNo
    )]
    https_only: Option<bool>,
    /// How long a shutdown lets attempts in flight end [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "HOOKMILL_DRAIN")]
    drain: Option<Duration>,
    /// Bytes to leave free on the disk; with less nothing new is accepted [default: 1 GiB or 5 % of it, the larger]
    #[arg(long, value_name = "BYTES", env = "HOOKMILL_DISK_RESERVE")]
    disk_reserve: Option<u64>,
    /// How long events are kept that nobody waits for [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "HOOKMILL_RETENTION_EVENTS")]
    retention_events: Option<Duration>,
    /// How long the outcomes of deliveries are kept, not shorter than events [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "HOOKMILL_RETENTION_OUTCOMES")]
    retention_outcomes: Option<Duration>,
    /// Bytes that all invocations of chains may hold in memory [default: 1 GiB]
    #[arg(long, value_name = "BYTES", env = "HOOKMILL_CHAIN_BYTES", value_parser = clap::value_parser!(u64).range(CHAIN_BYTES))]
    chain_bytes: Option<u64>,
    /// Endpoints that each tenant may have; further ones are refused [default: 1000]
    #[arg(
        long, value_name = "N", env = "HOOKMILL_MAX_ENDPOINTS_PER_TENANT",
        value_parser = clap::value_parser!(u64).range(ENDPOINTS_PER_TENANT)
    )]
    max_endpoints_per_tenant: Option<u64>,
    /// File with the key that secrets are sealed with in the data directory, outside of it; or give the key itself in the variable
    /// HOOKMILL_SECRET_KEY
    #[arg(long, value_name = "FILE", env = "HOOKMILL_SECRET_KEY_FILE")]
    secret_key_file: Option<PathBuf>,
    /// Speak TLS, with this certificate chain (PEM); it and the key are read again when they change
    #[arg(long, value_name = "FILE", env = "HOOKMILL_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "HOOKMILL_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Hosts that requests may name [default: this machine's own on a loopback address, any elsewhere]
    #[arg(long, value_name = "HOST,…", env = "HOOKMILL_HOSTS", value_delimiter = ',')]
    hosts: Vec<Host>,
    /// Connections at once; further ones wait. One address (a proxy and loopback too) may have half of them, at least 8: further
    /// ones of it are closed [default: 1024 or a quarter of the open files allowed, the smaller]
    #[arg(long, value_name = "N", env = "HOOKMILL_MAX_CONNECTIONS", value_parser = connections)]
    max_connections: Option<usize>,
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_CONNECTIONS).contains(number));
    number.ok_or_else(|| format!("must be a whole number from 1 to {MOST_CONNECTIONS}"))
}

/// How long a shutdown lets attempts in flight end, unless said otherwise.
const DRAIN: Duration = Duration::from_secs(20);

/// Bytes that chains may hold, unless said otherwise.
pub(in crate::cli) const CHAINS_HOLD: u64 = pipeline::CHAIN_BYTES as u64;

/// Endpoints of one tenant, unless said otherwise.
pub(in crate::cli) const ENDPOINTS_OF_A_TENANT: u64 = pipeline::ENDPOINTS_OF_A_TENANT as u64;

/// Every setting of the server as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct InForce {
    pub(in crate::cli) listen: SocketAddr,
    pub(in crate::cli) data_dir: PathBuf,
    pub(in crate::cli) allow_loopback: bool,
    pub(in crate::cli) guard_allow: Vec<Allowed>,
    pub(in crate::cli) https_only: bool,
    pub(in crate::cli) drain: Duration,
    pub(in crate::cli) file_roots: Vec<PathBuf>,
    /// `None` for the usual part of the disk.
    pub(in crate::cli) disk_reserve: Option<u64>,
    pub(in crate::cli) retention: Retention,
    pub(in crate::cli) chain_bytes: u64,
    pub(in crate::cli) max_endpoints_per_tenant: u64,
    pub(in crate::cli) tls: Option<TlsFiles>,
    /// Empty for the usual ones.
    pub(in crate::cli) hosts: Vec<Host>,
    /// `None` for the usual number.
    pub(in crate::cli) max_connections: Option<usize>,
    pub(in crate::cli) secret_key_file: Option<PathBuf>,
    pub(in crate::cli) declared: Declared,
}

impl Options {
    /// The settings in force, with the file as it is now.
    ///
    /// # Errors
    /// Every mistake in the file at once.
    pub(in crate::cli) fn in_force(&self) -> Result<InForce, FileError> {
        let over = GuardOptions { allow: self.guard_allow.clone(), https_only: self.https_only };
        let file = self.config.as_deref().map(|path| ConfigFile::read(path, &over)).transpose()?.unwrap_or_default();
        let tls = self.tls_cert.clone().zip(self.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
        let retention = RetentionOptions { events: self.retention_events, outcomes: self.retention_outcomes };
        Ok(InForce {
            listen: self.listen.or(file.listen).unwrap_or(LISTEN),
            data_dir: self.data_dir.clone().or(file.data_dir).unwrap_or_else(|| DATA_DIR.into()),
            allow_loopback: self.allow_loopback.or(file.allow_loopback).unwrap_or(false),
            guard_allow: over.allow.or(file.guard.allow).unwrap_or_default(),
            https_only: over.https_only.or(file.guard.https_only).unwrap_or(false),
            drain: self.drain.or(file.drain).unwrap_or(DRAIN),
            file_roots: file.file_roots,
            disk_reserve: self.disk_reserve.or(file.disk_reserve),
            retention: retention.or(file.retention).in_force(),
            chain_bytes: self.chain_bytes.or(file.chain_bytes).unwrap_or(CHAINS_HOLD),
            max_endpoints_per_tenant: self
                .max_endpoints_per_tenant
                .or(file.max_endpoints_per_tenant)
                .unwrap_or(ENDPOINTS_OF_A_TENANT),
            tls: tls.or(file.tls),
            hosts: if self.hosts.is_empty() { file.hosts } else { self.hosts.clone() },
            max_connections: self.max_connections.or(file.max_connections),
            secret_key_file: self.secret_key_file.clone().or(file.secret_key_file),
            declared: file.declared,
        })
    }
}

impl InForce {
    /// For people: secrets masked.
    pub(super) fn to_masked_json(&self) -> Value {
        let mut shown = json!({
            "listen": self.listen,
            "data_dir": self.data_dir,
            "allow_loopback": self.allow_loopback,
            "guard_allow": self.guard_allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "https_only": self.https_only,
            "drain": duration::print(self.drain),
            "file_roots": self.file_roots,
            "disk_reserve": self.disk_reserve,
            "retention": {
                "events": duration::print(self.retention.events),
                "outcomes": duration::print(self.retention.outcomes),
            },
            "chain_bytes": self.chain_bytes,
            "max_endpoints_per_tenant": self.max_endpoints_per_tenant,
            "tls": self.tls.as_ref().map(|files| json!({"cert": files.cert, "key": files.key})),
            "hosts": self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "max_connections": self.max_connections,
            "secret_key_file": self.secret_key_file,
        });
        if let (Value::Object(shown), Value::Object(declared)) = (&mut shown, self.declared.to_masked_json()) {
            shown.extend(declared);
        }
        shown
    }

    /// The settings in which `other` differs and that hold from the start to the end.
    pub(in crate::cli) fn fixed_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let differ = [
            ("listen", self.listen != other.listen),
            ("data_dir", self.data_dir != other.data_dir),
            ("allow_loopback", self.allow_loopback != other.allow_loopback),
            ("guard_allow", self.guard_allow != other.guard_allow),
            ("https_only", self.https_only != other.https_only),
            ("file_roots", self.file_roots != other.file_roots),
            ("disk_reserve", self.disk_reserve != other.disk_reserve),
            ("retention", self.retention != other.retention),
            ("chain_bytes", self.chain_bytes != other.chain_bytes),
            ("tls", self.tls != other.tls),
            ("hosts", self.hosts != other.hosts),
            ("max_connections", self.max_connections != other.max_connections),
            ("secret_key_file", self.secret_key_file != other.secret_key_file),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}
