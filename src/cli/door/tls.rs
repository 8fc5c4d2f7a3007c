//! The server's certificate and key: two files that are read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tracing::{error, info};

use crate::clock::{Clock, Mono};

/// Where certificate chain and key are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct TlsFiles {
    pub(in crate::cli) cert: PathBuf,
    pub(in crate::cli) key: PathBuf,
}

/// The certificate in force. New connections get the newest pair that works.
pub(in crate::cli) struct Tls {
    files: TlsFiles,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// The files that were read last, also when they could not be used.
    seen: Stamp,
    looked: Mono,
}

/// How two files look from outside: when they were changed, and how long they are.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The files are looked at when a connection comes, and at most so often.
const LOOK: Duration = Duration::from_secs(1);

impl Tls {
    /// # Errors
    /// When the files do not hold a certificate and its key.
    pub(in crate::cli) fn load(files: TlsFiles, clock: Clock) -> anyhow::Result<Self> {
        // Before they are read: a change meanwhile is seen at the next look.
        let seen = files.stamp();
        let state = State { config: files.read()?, seen, looked: clock.now().mono };
        Ok(Self { files, clock, state: Mutex::new(state) })
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let now = self.clock.now().mono;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(state.looked) >= LOOK {
            state.looked = now;
            let stamp = self.files.stamp();
            if stamp != state.seen {
                state.take(&self.files, stamp);
            }
        }
        Arc::clone(&state.config)
    }

    /// Reads the files again, whether they have changed or not.
    pub(in crate::cli) fn reload(&self) {
        let stamp = self.files.stamp();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).take(&self.files, stamp);
    }
}

impl State {
    fn take(&mut self, files: &TlsFiles, stamp: Stamp) {
        self.seen = stamp;
        match files.read() {
            Ok(config) => {
                self.config = config;
                info!(event = "tls.reloaded", cert = %files.cert.display(), "the certificate was read again");
            }
            Err(error) => error!(event = "tls.refused", error = format!("{error:#}"), "the old certificate stays"),
        }
    }
}

impl TlsFiles {
    fn stamp(&self) -> Stamp {
        let look = |path: &Path| -> io::Result<_> {
            let metadata = fs::metadata(path)?;
            Ok((metadata.modified()?, metadata.len()))
        };
        [look(&self.cert).ok(), look(&self.key).ok()]
    }

    fn read(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let named = |path: &Path| format!("cannot use {} for TLS", path.display());
        let chain = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| named(&self.cert))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| named(&self.key))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).with_context(|| named(&self.cert))?;
        // The one version that the server speaks.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
