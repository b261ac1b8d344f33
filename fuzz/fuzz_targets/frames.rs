//! Says in `kyros_sidecar::fuzzing` what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_sidecar::fuzzing::frames(data));
