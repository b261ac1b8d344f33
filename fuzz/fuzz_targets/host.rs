//! A `Host` header, a name or the public URL, into the parsers of names.
//! `kyros_shared_config::fuzzing::host` says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kyros_shared_config::fuzzing::host(data));
