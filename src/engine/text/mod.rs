//! Text for people: what others chose made harmless, and numbers, spans and counts as people write them.
//!
//! Escaping for a medium (HTML, Slack, JSON) is the medium's own matter, and comes after.

mod harmless;
mod indented;
mod numbers;
pub mod paint;
mod secrets;
mod shell_word;

pub use harmless::{
    bounded_line, bounded_lines, cut, distinct_line, lines, one_line, printable, within_line,
};
pub use indented::indented_json;
pub use numbers::{counted, first_of, number, span, thousands};
pub use secrets::Secrets;
pub use shell_word::shell_word;
