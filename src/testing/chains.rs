//! A double of [`Chains`], for tests of what calls them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};

use crate::pipeline::{Caller, ChainError, Chains};

type Response = Result<Option<Bytes>, ChainError>;
type Script = dyn Fn(&Bytes) -> Response + Send + Sync;

/// Chains that answer as a script says and keep a log of who called. Nothing is sent, and no Hookmill runs.
///
/// ```
/// # use hookmill::{ChainError, testing::ScriptedChains};
/// # actix_rt::System::new().block_on(async {
/// let script = ScriptedChains::new().answers("OrderCreated", r#"{"reserved": true}"#);
/// let chains = script.chains();
/// assert_eq!(chains.call("OrderCreated", "{}").await?.as_deref(), Some(&br#"{"reserved": true}"#[..]));
/// assert!(matches!(chains.call("Other", "{}").await, Err(ChainError::NotConfigured { .. })));
/// assert_eq!(script.invoked().len(), 2);
/// # Ok::<(), ChainError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct ScriptedChains {
    scripts: HashMap<String, Arc<Script>>,
    log: Arc<Mutex<Vec<Invoked>>>,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// Of the chain for this event.
    pub event: String,
    /// With this payload.
    pub payload: Bytes,
}

impl ScriptedChains {
    /// A double without chains: every call answers that its event is not configured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chain whose final response this is.
    #[must_use]
    pub fn answers(self, event: &str, response: impl Into<Bytes>) -> Self {
        let response = response.into();
        self.on(event, move |_| Ok(Some(response.clone())))
    }

    /// Adds a chain that fails so.
    #[must_use]
    pub fn fails(self, event: &str, error: ChainError) -> Self {
        self.on(event, move |_| Err(error.clone()))
    }

    /// Adds a chain that answers each payload as `script` says.
    #[must_use]
    pub fn on(mut self, event: &str, script: impl Fn(&Bytes) -> Response + Send + Sync + 'static) -> Self {
        self.scripts.insert(event.to_owned(), Arc::new(script));
        self
    }

    /// What to give to the code under test.
    pub fn chains(&self) -> Chains {
        Chains(Arc::new(self.clone()))
    }

    /// The calls so far, in their order; also those of events that are not configured.
    pub fn invoked(&self) -> Vec<Invoked> {
        self.log().clone()
    }

    fn log(&self) -> MutexGuard<'_, Vec<Invoked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ScriptedChains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedChains").field("invoked", &self.invoked()).finish_non_exhaustive()
    }
}

impl Caller for ScriptedChains {
    fn call(&self, event: &str, payload: Bytes) -> BoxFuture<'static, Response> {
        let response = match self.scripts.get(event) {
            Some(script) => script(&payload),
            None => Err(ChainError::NotConfigured { event: event.to_owned() }),
        };
        self.log().push(Invoked { event: event.to_owned(), payload });
        ready(response).boxed()
    }

    fn is_configured(&self, event: &str) -> bool {
        self.scripts.contains_key(event)
    }
}
