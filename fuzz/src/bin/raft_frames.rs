//! libFuzzer for [`fuzz::raft_frames`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::raft_frames(input));
