//! A key set that an issuer publishes, into the ring of keys.
//! `kyros_shared_config::fuzzing::key_set` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_shared_config::fuzzing::key_set(data));
