#![no_main]

#[path = "../src/seeds.rs"]
mod seeds;

libfuzzer_sys::fuzz_target!(init: seeds::write("signature"), |bytes: &[u8]| hookmill::fuzzing::signature(bytes));
