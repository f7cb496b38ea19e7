//! Any text is an annotation that is rendered within its bounds, or refused.
#![no_main]
#[allow(dead_code, reason = "each target calls one of the bodies")]
#[path = "../../it/fuzz_state.rs"]
mod fuzz_state;
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_state::template(data));
