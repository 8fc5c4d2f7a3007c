//! What all transports of a process share.

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tracing::warn;

use super::{names::Names, perimeter::Perimeter, room::Rooms};
use crate::{descriptors, endpoint::TenantScope, metrics::Metrics, quota::Fair};

/// How Hookmill reaches the network: how it agrees on TLS. Made once, since reading the system's certificates takes
/// milliseconds, and cloned for every arbiter.
#[derive(Clone, Debug)]
pub struct Network {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) perimeter: Arc<Perimeter>,
    pub(super) names: Names,
    /// For what requests carry.
    pub(super) rooms: Rooms,
    /// Connections that may be open at once, by whose endpoints they are to.
    pub(super) sockets: Fair<TenantScope>,
    /// How long a connection is kept that nobody uses.
    pub(super) keep: Duration,
}

/// How long a connection is kept that nobody uses.
const KEEP: Duration = Duration::from_secs(15);

impl Network {
    /// TLS 1.2 and 1.3, with servers checked against the certificate authorities of the operating system. Where that has none,
    /// every https endpoint fails as [`Tls`](super::FailureKind::Tls), and plain http still works.
    ///
    /// # Errors
    /// When the TLS library has none of these versions.
    pub fn new() -> io::Result<Self> {
        let builder = || {
            ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)
        };
        let tls = match builder()?.with_platform_verifier() {
            Ok(tls) => tls,
            Err(error) => {
                warn!(%error, "no certificate authorities: every https endpoint will fail");
                builder()?.with_root_certificates(RootCertStore::empty())
            }
        };
        Ok(Self::with_tls(tls.with_no_client_auth()))
    }

    /// TLS as `tls` says, but for ALPN: that offers HTTP/1.1 alone, the one version that is spoken.
    pub fn with_tls(mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        Self {
            tls,
            metrics: Arc::default(),
            perimeter: Arc::default(),
            names: Names::default(),
            rooms: Rooms::default(),
            sockets: Fair::new(descriptors::for_receivers()),
            keep: KEEP,
        }
    }

    /// Counts what the guard refuses there.
    #[must_use]
    pub fn counting(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Has `perimeter` judge every connection.
    #[must_use]
    pub fn within(self, perimeter: Arc<Perimeter>) -> Self {
        Self { perimeter, ..self }
    }
}
