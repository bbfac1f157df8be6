#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| revealed_fuzz::checkpoint(data));
