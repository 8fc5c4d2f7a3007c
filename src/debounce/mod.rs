//! Suppresses repeats: which events count as the same, and for how long.

pub mod rule;

pub use rule::{Edge, Rule, RuleName};
