//! The console: pages of the real binary over hostile events, and the colours of its style.

mod acting;
mod contrast;
mod evidence;
mod many;
mod pages;
mod ranges;
mod reports;
