//! libFuzzer for [`fuzz::dns_questions`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::dns_questions(input));
