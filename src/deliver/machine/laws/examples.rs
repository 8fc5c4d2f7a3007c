//! Machines in situations that people ask about.

use super::model::{Setting, World};
use super::receiver::Weather;

pub(super) fn a_retry_among_fresh_ones(rows: usize, window_bytes: usize) -> World {
    let policy = super::policy(32);
    let mut world = World::new(Setting { policy, window_bytes, slots: 4096, poison: false });
    let _ = (rows, Weather::Fair, &mut world);
    world
}
