//! Hookmill delivers webhooks and can prove what became of every one.

mod actor;
#[cfg(feature = "api")]
pub mod api;
pub mod builder;
pub mod clock;
pub mod config;
pub mod debounce;
pub mod deliver;
pub mod dispatch;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod hub;
pub mod intake;
pub mod manage;
pub mod pipeline;
pub mod store;
pub mod transport;

#[cfg(feature = "api")]
pub use api::Access;
pub use builder::{Builder, Retention};
pub use clock::{Clock, Timestamp};
pub use debounce::Debounce;
pub use endpoint::{Endpoint, EndpointId, Secret};
pub use error::{Fault, Invalid, ManageError, PublishError, StartError, StoreError};
pub use event::{Accepted, Event, EventId, Tenant, Topic, TopicPattern};
pub use pipeline::{Acceptance, Emitted, Hookmill, Report};
