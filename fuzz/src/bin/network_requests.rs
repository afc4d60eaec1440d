//! libFuzzer for [`fuzz::network_requests`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::network_requests(input));
