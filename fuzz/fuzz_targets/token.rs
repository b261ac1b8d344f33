//! A compact token, or its three parts, into the verifiers.
//! `kyros_shared_config::fuzzing::token` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_shared_config::fuzzing::token(data));
