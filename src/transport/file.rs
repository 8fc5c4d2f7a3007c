//! Delivery into files of JSON lines.

mod append;
mod line;
mod log;
mod place;
mod rotation;
#[cfg(test)]
mod tests;
mod writers;

use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::{sync::oneshot, time::timeout};

use super::{Answer, Attempt, Failure, FailureKind, Reply, Transport};
use writers::Job;
pub use writers::Writers;

/// The transport of endpoints with a `file`: one line of JSON for each event, in the endpoint's format.
///
/// - [`Reply::Written`] means that the lines are on disk: what waits for a file is written at once and synced once.
/// - A file has one writer at a time, however many endpoints share it: lines never mix.
/// - A file that was moved or deleted is made anew, with mode 0644, before the next line. Missing directories are not made.
/// - Only regular files are written to. Links are not followed: the file's own name is none, and below a file root no directory
///   is one.
/// - When writing or syncing fails, the file gets back the length that it had before, so that no half line stays in it. One that
///   ends in half a line all the same, after a crash, gets a line end first: the half line stands alone.
/// - What could not be written within the endpoint's `timeout` is not written later, unless that had begun.
#[derive(Clone)]
pub struct FileTransport(Writers);

impl FileTransport {
    /// A transport whose files have these writers.
    pub fn new(writers: &Writers) -> Self {
        Self(writers.clone())
    }

    fn start(&self, attempt: &Attempt) -> Result<oneshot::Receiver<Result<(), Failure>>, Failure> {
        let settings = &attempt.endpoint.settings;
        let no_file = || Failure::new(FailureKind::Internal, "the endpoint has no file");
        let file = settings.target.file().ok_or_else(no_file)?;
        let lines = line::of(&attempt.events, settings)?;
        let (done, written) = oneshot::channel();
        self.0.submit(&file.path, Job { lines, rotate: file.rotate, done });
        Ok(written)
    }
}

impl Transport for FileTransport {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let (limit, started) = (attempt.endpoint.settings.policy.timeout, self.start(&attempt));
        async move {
            match timeout(limit, started?).await {
                Ok(Ok(written)) => written.map(|()| Reply::Written),
                Ok(Err(_gone)) => Err(Failure::new(FailureKind::Internal, "there is no thread to write the file")),
                Err(_) => Err(Failure::new(FailureKind::Timeout, format!("not on disk within {limit:?}"))),
            }
        }
        .boxed_local()
    }
}
