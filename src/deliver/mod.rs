//! Delivery to one endpoint: the machine that decides, and the actor around it.

pub mod breaker;
pub mod machine;
pub mod outcome;
pub mod queue;
pub mod quota;
