#![no_main]

#[path = "../src/seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write("cloud_events"), |bytes: &[u8]| hookmill::fuzzing::cloud_events(bytes));
