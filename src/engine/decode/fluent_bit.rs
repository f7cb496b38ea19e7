//! Fluent Bit, and other shippers that put the line under `log`.

use std::borrow::Cow;

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper, first_text},
};

/// `{"@timestamp": …, "log": "<line>"}`. With a JSON parser the fields of the event are at the top
/// and there is no wrapper.
pub(super) struct FluentBit;

impl Wrapper for FluentBit {
    fn name(&self) -> &'static str {
        "fluent_bit"
    }

    fn summary(&self) -> &'static str {
        "Fluent Bit's tail input: the line, or the event, under `log`. The cluster is what a filter \
         adds as `cluster` or `cluster_name`."
    }

    fn example(&self) -> &'static str {
        r#"{"@timestamp":1767651241.131,"log":"@TEXT@","cluster":"prod"}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        let Some(log) = wrapper.get("log") else { return false };
        // Filebeat says under `log` where the line in `message` comes from.
        let is_event = log.is_object() && wrapper.get("message").is_none();
        let content = if is_event { Some(Cow::Borrowed(log.raw())) } else { log.inner() };
        let Some(content) = content else { return false };
        let cluster = first_text(wrapper, &[&["cluster"], &["cluster_name"]]);
        inside.push(Wrapped { content, cluster });
        true
    }
}
