//! The head of a request, into the sidecar's gate.
//! `kyros_sidecar::fuzzing::gate` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::gate(data));
