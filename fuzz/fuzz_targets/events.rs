//! What the API sends as an event stream, read by the sidecar's client.
//! `kyros_sidecar::fuzzing::events` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::events(data));
