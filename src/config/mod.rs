//! How anything a user writes is read: JSON from the API, TOML and YAML from files, all as one tree of values.
//!
//! Every mistake is reported with its place, all at once, and an unknown name is a mistake.

#[cfg(test)]
pub(crate) mod conform;
pub mod duration;
pub mod fields;
pub mod merge;
pub(crate) mod nearest;
