#![no_main]

#[path = "../src/seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write("filter_and_map"), |bytes: &[u8]| hookmill::fuzzing::filter_and_map(bytes));
