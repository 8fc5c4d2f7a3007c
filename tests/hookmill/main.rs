//! Hookmill from the outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod blackbox;
mod debug;
mod files;
mod heritage;
mod layering;
mod paused;
mod rotation;
mod threads;
