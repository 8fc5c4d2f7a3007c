//! Chains for their callers: somebody asks, and waits for the answer.

mod error;
mod invoke;
mod manage;
mod tally;

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use super::{Applied, Hookmill, ManageError, Owner};
use crate::chain::ChainConfig;

pub use error::ChainError;
pub use manage::Chain;
pub use tally::{Invocations, Tally};

/// What answers the callers of chains: a running Hookmill, or a test's script.
pub(crate) trait Caller: Send + Sync {
    fn call(&self, event: &str, payload: Bytes) -> BoxFuture<'static, Result<Option<Bytes>, ChainError>>;

    fn is_configured(&self, event: &str) -> bool;
}

/// Asks other services, in order, and answers with what the last of them said. Clones are handles to the same chains.
///
/// ```no_run
/// # async fn example(hooks: hookmill::Hookmill, config: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use hookmill::{ChainConfig, Chains};
///
/// let config = ChainConfig::parse(&serde_json::from_str(config)?)?;
/// let Some(chains) = Chains::from_config(&hooks, config).await? else { return Ok(()) };
/// let answer = chains.call("OrderCreated", r#"{"order": 7}"#).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Chains(pub(crate) Arc<dyn Caller>);

impl Chains {
    /// Makes these the chains of the program, in place of those that it made before; `None` when they are not enabled. What
    /// callers of the API made for the same events gives way. Asynchronous steps that have been started are delivered, whatever
    /// becomes of their chain.
    ///
    /// # Errors
    /// When an event is one of the operator's file: nothing changed. When the store fails.
    pub async fn from_config(hooks: &Hookmill, config: ChainConfig) -> Result<Option<Self>, ManageError> {
        let change = |hooks: Hookmill| async move {
            crate::Invalid::unless_empty(hooks.chains_of_others(&config.chains, Owner::Code))?;
            hooks.follow_chains(config.chains, Owner::Code, &mut Applied::default()).await?;
            Ok::<_, ManageError>(config.enabled)
        };
        Ok(hooks.change(change).await?.then(|| hooks.chains()))
    }

    /// Whether there is a chain for this event.
    pub fn is_event_configured(&self, event: &str) -> bool {
        self.0.is_configured(event)
    }

    /// Invokes the chain of an event with `payload`, JSON, and waits for the final response; `None` when it has asynchronous
    /// steps only. When this returns `Ok`, those are in the store and will be delivered.
    ///
    /// A step that is given a response gets the very bytes: those that are no JSON with the content type they came with
    /// (`application/octet-stream` without one).
    ///
    /// When the future is dropped, the chain ends with the attempt that is being made: no other one is made, and none of the
    /// asynchronous steps is started; what has been started is delivered.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn call(&self, event: &str, payload: impl Into<Bytes>) -> Result<Option<Bytes>, ChainError> {
        self.0.call(event, payload.into()).await
    }

    /// Invokes the chain of an event, and then exactly one of the two: `on_success` with the final response (empty when there is
    /// none), or `on_error`. What that one returns is the result: `on_success` may fail, `on_error` may forgive.
    ///
    /// # Errors
    /// What the one that was called returned.
    pub async fn invoke<T, E, S, F>(
        &self,
        event: &str,
        payload: impl Into<Bytes>,
        on_success: impl FnOnce(Bytes) -> S,
        on_error: impl FnOnce(ChainError) -> F,
    ) -> Result<T, E>
    where
        S: Future<Output = Result<T, E>>,
        F: Future<Output = Result<T, E>>,
    {
        match self.call(event, payload).await {
            Ok(response) => on_success(response.unwrap_or_default()).await,
            Err(error) => on_error(error).await,
        }
    }
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chains").finish_non_exhaustive()
    }
}

impl Caller for Hookmill {
    fn call(&self, event: &str, payload: Bytes) -> BoxFuture<'static, Result<Option<Bytes>, ChainError>> {
        let (hooks, event) = (self.clone(), event.to_owned());
        async move { hooks.call_chain(&event, payload).await }.boxed()
    }

    fn is_configured(&self, event: &str) -> bool {
        self.chain(event).is_some()
    }
}
