//! Hookmill delivers webhooks and can prove what became of every one.
//!
//! # Features
//!
//! - `sqlite`: the durable store. Without it everything is kept in memory.
//! - `api`: the configuration API, to be mounted into an actix-web `App`.
//! - `testing`: the module `testing`, for tests of programs that embed Hookmill. Never on by default; name it in
//!   `[dev-dependencies]`.

mod actor;
#[cfg(feature = "api")]
pub mod api;
pub mod chain;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod debounce;
pub mod deliver;
mod descriptors;
pub mod dispatch;
pub mod endpoint;
pub mod error;
pub mod event;
#[cfg(all(feature = "server", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hub;
pub mod intake;
pub mod lifecycle;
pub mod metrics;
pub mod pipeline;
pub mod quota;
pub mod single;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

#[cfg(feature = "api")]
pub use api::Access;
pub use chain::ChainConfig;
pub use clock::{Clock, Timestamp};
pub use debounce::{Debounce, Edge};
pub use endpoint::{Endpoint, EndpointId, Preset, Secret, SecretRotation};
pub use error::{Fault, Invalid, StoreError};
pub use event::{Accepted, Event, EventId, Tenant, Topic, TopicPattern};
pub use pipeline::{
    Acceptance, Applied, Audit, Builder, Chain, ChainError, Chains, Declared, Emitted, EndpointReplay, EventStream,
    Hookmill, ManageError, NewToken, Only, Owner, PublishError, Report, Standing, StartError,
};
pub use single::{Single, SingleBuilder, SingleCounters};
pub use store::Retention;
#[cfg(feature = "sqlite")]
pub use store::SecretKeys;
