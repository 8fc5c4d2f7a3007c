#![no_main]

#[path = "../src/seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write("retry_after"), |bytes: &[u8]| hookmill::fuzzing::retry_after(bytes));
