//! Colours, for terminals that show them.

use anstyle::{AnsiColor, Color, Style};

/// What went well, or is over.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong, or is grave.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What cannot wait.
pub const URGENT: Style =
    AnsiColor::White.on_default().bg_color(Some(Color::Ansi(AnsiColor::Red))).bold();
/// What somebody should look at.
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
/// What is only said.
pub const NOTE: Style = AnsiColor::Cyan.on_default();
/// A heading.
pub const STRONG: Style = Style::new().bold();
/// What can be passed over.
pub const FAINT: Style = Style::new().dimmed();

/// The text in a style, if colours are wanted.
pub fn paint(text: &str, style: Style, colours: bool) -> String {
    if colours { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
