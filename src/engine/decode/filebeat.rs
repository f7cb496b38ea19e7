//! Filebeat and Elastic Agent with a JSON parser. Without one the line is under `message`.

use std::borrow::Cow;

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper, first_text},
};

/// `{"@timestamp": …, "kubernetes": {"audit": {…}}}`, or the event under `json`.
pub(super) struct Filebeat;

impl Wrapper for Filebeat {
    fn name(&self) -> &'static str {
        "filebeat"
    }

    fn summary(&self) -> &'static str {
        "Filebeat and Elastic Agent: the event under `kubernetes.audit` or `json`. The cluster is \
         `orchestrator.cluster.name` or `fields.cluster`."
    }

    fn example(&self) -> &'static str {
        r#"{"@timestamp":"2026-01-05T22:14:01.131Z","kubernetes":{"audit":@EVENT@},"orchestrator":{"cluster":{"name":"prod"}}}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        let event = [&["kubernetes", "audit"][..], &["json"]]
            .iter()
            .find_map(|path| wrapper.at(path).filter(|event| event.is_object()));
        let Some(event) = event else { return false };
        let paths: [&[&str]; 2] = [&["orchestrator", "cluster", "name"], &["fields", "cluster"]];
        let cluster = first_text(wrapper, &paths);
        inside.push(Wrapped { content: Cow::Borrowed(event.raw()), cluster });
        true
    }
}
