//! libFuzzer for [`fuzz::grpc_requests`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::grpc_requests(input));
