//! What one end of a WebSocket sends through the sidecar.
//! `kyros_sidecar::fuzzing::frames` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::frames(data));
