//! What a client puts into `Cookie` and a dashboard into `Set-Cookie`.
//! `kyros_sidecar::fuzzing::cookies` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::cookies(data));
