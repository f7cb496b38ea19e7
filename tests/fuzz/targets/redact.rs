//! Redacting twice changes nothing more.
#![no_main]
#[path = "../../it/fuzz_bodies.rs"]
mod fuzz_bodies;
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::redact_text(data));
