//! Chains: services that are asked in order, each given what an earlier one answered. What is configured ([`plan`], read by
//! `config`) and how one invocation goes ([`run`]); the pipeline makes the attempts, and keeps the chains.

mod config;
mod names;
pub mod plan;
mod print;
pub mod run;
#[cfg(test)]
mod tests;

use crate::event::name;

pub use config::ChainConfig;
pub(crate) use config::{parse, read, restore};
pub use plan::Plan;

/// Longest name of a chain, and of a step, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Most steps of one chain.
pub const MAX_STEPS: usize = 64;

name!(
    /// Names a chain: the event that it is invoked for.
    ChainName, is_name, "must be 1 to 128 bytes without control characters"
);

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}
