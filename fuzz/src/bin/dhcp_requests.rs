//! libFuzzer for [`fuzz::dhcp_requests`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::dhcp_requests(input));
