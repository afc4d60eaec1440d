//! libFuzzer for [`fuzz::membership_reports`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::membership_reports(input));
