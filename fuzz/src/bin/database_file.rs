//! libFuzzer for [`fuzz::database_file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::database_file(input));
