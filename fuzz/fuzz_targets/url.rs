#![no_main]

#[path = "../src/seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write("url"), |bytes: &[u8]| hookmill::fuzzing::url(bytes));
