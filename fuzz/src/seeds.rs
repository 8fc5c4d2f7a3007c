//! The texts to begin with, as files: libFuzzer reads no others.

use std::{env, fs, path::PathBuf};

use hookmill::fuzzing::TARGETS;

/// Writes those of a target to the directory that `HOOKMILL_SEEDS` names, if it does.
pub fn write(target: &str) {
    let Some(to) = env::var_os("HOOKMILL_SEEDS").map(PathBuf::from) else { return };
    let seeds = TARGETS.iter().filter(|one| one.name == target).flat_map(|one| one.seeds);
    for (number, seed) in seeds.enumerate() {
        fs::write(to.join(format!("seed-{number}")), seed).expect("a seed is written");
    }
}
