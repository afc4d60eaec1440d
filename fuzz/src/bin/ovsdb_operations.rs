//! libFuzzer for [`fuzz::ovsdb_operations`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::ovsdb_operations(input));
