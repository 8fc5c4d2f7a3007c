//! Work that is seen through, whether whoever asked for it waits or not.
//!
//! A future may be dropped at any moment: by a `select!`, by a client that hangs up. A change that is stored and not yet in force
//! would then stay so until a restart. So it runs as a task of the pipeline's own thread, whatever runtime its caller has.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::Hookmill;
use crate::error::StoreError;

/// A turn to change something: one after another.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Hookmill {
    /// Changes the configuration when its turn comes. Whoever goes away before that has changed nothing; what has begun goes on
    /// to its end, and the next turn comes after it.
    pub(super) async fn change<T, E, F>(&self, change: impl FnOnce(Self) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let turn = self.turn().await;
        self.see_through(turn, change).await
    }

    /// Waits for a turn to change the configuration.
    pub(super) async fn turn(&self) -> Turn {
        turn(&self.0.changes).await
    }

    /// Does `work` to its end, and gives the turn back then.
    pub(super) async fn see_through<T, E, F>(
        &self,
        turn: impl Send + 'static,
        work: impl FnOnce(Self) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let work = work(self.clone());
        self.0.arbiter.spawn(async move {
            let result = work.await;
            drop(turn);
            let _gone = done.send(result);
        });
        // A pipeline that has ended does nothing more.
        result.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

/// Waits for a turn.
pub(crate) async fn turn(turns: &Arc<Mutex<()>>) -> Turn {
    Arc::clone(turns).lock_owned().await
}

#[cfg(test)]
mod tests;
