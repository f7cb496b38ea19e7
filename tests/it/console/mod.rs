//! The console: pages of the real binary over hostile events, and the colours of its style.

mod contrast;
mod pages;
