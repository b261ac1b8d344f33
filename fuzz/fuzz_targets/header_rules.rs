//! The header lines of a request and of a dashboard's answer, into what the sidecar strips and injects.
//! `kyros_sidecar::fuzzing::header_rules` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::header_rules(data));
