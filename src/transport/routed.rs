//! Each attempt by the transport of its endpoint's kind.

use std::{path::Path, rc::Rc, sync::Arc};

use futures_util::future::LocalBoxFuture;

use super::{Answer, Attempt, Transport, TransportFactory};
use crate::{clock::Clock, endpoint::Target};

/// Carries requests one way and lines of files another.
struct Routed {
    http: Rc<dyn Transport>,
    file: Rc<dyn Transport>,
}

impl Transport for Routed {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        match attempt.endpoint.settings.target {
            Target::Http(_) => self.http.send(attempt),
            Target::File(_) => self.file.send(attempt),
        }
    }
}

/// Transports that send requests by those of `http`, and write the files of all of them by the same writers. Relative paths lie
/// below `file_root`; none is written in `data_dir`.
pub(crate) fn routed(
    http: TransportFactory,
    file_root: Option<&Path>,
    data_dir: Option<&Path>,
    clock: Clock,
) -> TransportFactory {
    let file = files(file_root, data_dir, clock);
    Arc::new(move || Rc::new(Routed { http: http(), file: file() }))
}

#[cfg(unix)]
fn files(root: Option<&Path>, data_dir: Option<&Path>, clock: Clock) -> TransportFactory {
    let writers = super::Writers::new(root, data_dir, clock);
    Arc::new(move || Rc::new(super::FileTransport::new(&writers)))
}

#[cfg(not(unix))]
fn files(_: Option<&Path>, _: Option<&Path>, _: Clock) -> TransportFactory {
    /// Where endpoints with a file are refused.
    struct Nowhere;
    impl Transport for Nowhere {
        fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
            let failure = super::Failure::new(super::FailureKind::File, "files are not supported on this system");
            Box::pin(std::future::ready(Err(failure)))
        }
    }
    Arc::new(|| Rc::new(Nowhere))
}
