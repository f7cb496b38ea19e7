//! What commands have in common that act on a running Tripline.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    exit, output,
    remote::{Remote, RemoteError, ServerUrl, server_variable},
};
use crate::engine::text::printable;

/// Where the running Tripline is, and how its answers are shown.
#[derive(Args, Debug)]
pub(super) struct ServerArgs {
    /// Where the running Tripline serves HTTP.
    #[arg(long, global = true, default_value = "http://127.0.0.1:9464", value_name = "URL")]
    #[arg(env = server_variable(), hide_env_values = true, alias = "url", value_parser = ServerUrl)]
    server: String,
    /// File with a bearer token, if it asks for one; else the variable TRIPLINE_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How the answer is shown.
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// For people.
    Text,
    /// As the API answers.
    Json,
}

/// Who acts.
#[derive(Args, Debug)]
pub(super) struct ByArgs {
    /// Who does it; the user's name on this machine if not given. Whom the server knows by their
    /// credentials it names as it knows them.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// A name for this act: sent again with the same, it is done once; another act with it is refused. One is made if
    /// none is given.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

impl ByArgs {
    /// Puts who and which act it is into a body; the act's id.
    pub(super) fn put_into(&self, body: &mut Value) -> String {
        let by = self.by.clone().or_else(|| std::env::var("USER").ok());
        if let Some(by) = by.filter(|by| !by.is_empty()) {
            body["by"] = by.into();
        }
        let number = || RandomState::new().build_hasher().finish();
        let id = self.id.clone().unwrap_or_else(|| format!("{:016x}{:016x}", number(), number()));
        body["id"] = id.clone().into();
        id
    }
}

impl ServerArgs {
    /// Asks for JSON.
    ///
    /// # Errors
    /// If there is no answer, or the server says no.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let remote = Remote::new(&self.server, self.token_file.as_deref())?;
        Ok(remote.json(path, None)?)
    }

    /// Acts, and prints what came of it: the answer as JSON, or what `text` makes of it. `id` is what the act
    /// is known by if it has to be sent again.
    ///
    /// # Errors
    /// If there is no answer, or the server could not do it.
    pub(super) fn send(
        &self,
        path: &str,
        body: &Value,
        id: Option<&str>,
        text: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let remote = Remote::new(&self.server, self.token_file.as_deref())?;
        match remote.json(path, Some(body)) {
            Ok(answer) => {
                let code = self.show(&answer, text)?;
                if answer.get("again") == Some(&true.into()) && self.format == Shown::Text {
                    output::tell("done before: this was sent again, and nothing was done now");
                }
                Ok(code)
            }
            Err(RemoteError::Mistake(said)) => {
                output::complain(&said);
                Ok(ExitCode::from(exit::USAGE))
            }
            // It may be done, or be done later.
            Err(RemoteError::Other(error)) => Err(match id {
                Some(id) => anyhow::anyhow!("{error:#}; `--id {id}` sends the same act"),
                None => error,
            }),
            Err(refused @ RemoteError::Refused(_)) => Err(refused.into()),
        }
    }

    /// Prints an answer.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn show(
        &self,
        answer: &Value,
        text: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        match self.format {
            Shown::Text => output::print_lines(&text(answer))?,
            Shown::Json => output::print_all(&format!("{answer:#}\n"))?,
        }
        Ok(exit::OK)
    }
}

/// A text of a JSON value, harmless; nothing if it is not there.
pub(super) fn text_of<'v>(value: &'v Value, pointer: &str) -> std::borrow::Cow<'v, str> {
    printable(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
}

/// The items of an array of a JSON value.
pub(super) fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}
