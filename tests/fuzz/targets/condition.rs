//! Any text is a condition, or a mistake with a place.
#![no_main]
#[allow(dead_code, reason = "each target calls one of the bodies")]
#[path = "../../it/fuzz_bodies.rs"]
mod fuzz_bodies;
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::condition(data));
