//! libFuzzer for [`fuzz::network_documents`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::network_documents(input));
