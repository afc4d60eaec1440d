//! libFuzzer for [`fuzz::log_entries`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::log_entries(input));
