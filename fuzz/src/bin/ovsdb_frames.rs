//! libFuzzer for [`fuzz::ovsdb_frames`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ovsdb_frames(input));
