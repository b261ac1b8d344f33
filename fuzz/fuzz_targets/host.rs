//! Says in `kyros_shared_config::fuzzing` what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_shared_config::fuzzing::host(data));
