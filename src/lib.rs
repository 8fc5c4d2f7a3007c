//! Hookmill delivers webhooks and can prove what became of every one.

mod actor;
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
pub mod store;
pub mod transport;

pub use clock::{Clock, Timestamp};
pub use debounce::Debounce;
pub use error::{Fault, Invalid, PublishError, StartError, StoreError};
pub use event::{Accepted, Event, EventId, Tenant, Topic, TopicPattern};
