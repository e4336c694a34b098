#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agno_otel_fuzz::decode(bytes));
