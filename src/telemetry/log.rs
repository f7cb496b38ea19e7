//! Logs: to standard error, as text for people or JSON for collectors.
//!
//! Standard output is left to what a command is asked for, such as alerts.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::engine::words::words;

/// The section `log` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// What is logged of our own.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

words! {
    /// What is logged: this and everything worse. Libraries log warnings and errors only.
    #[derive(Default)]
    pub enum LogLevel {
        /// What needs somebody.
        Error = "error",
        /// What may need somebody.
        Warn = "warn",
        /// What a day looks like: start, stop, reload, trouble that passed.
        #[default]
        Info = "info",
        /// For finding out why.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// How logs are written.
    #[derive(Default)]
    pub enum LogFormat {
        /// Text if standard error is a terminal, else JSON.
        #[default]
        Auto = "auto",
        /// One line of text each, in colour on a terminal.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Starts logging for the whole process. A second call changes nothing, so that commands may log
/// before the configuration is read.
pub fn start_logs(settings: LogSettings, colours: bool) {
    let level = settings.level.as_str();
    let libraries = if settings.level == LogLevel::Error { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{libraries},tripline={level}"));
    // A line that cannot be written, since the disk or the pipe behind it is full or gone, is lost.
    // Reporting that on standard error, as is the default, panics there.
    let builder = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let json = match settings.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let outcome = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(colours).with_target(false).try_init()
    };
    drop(outcome);
}
