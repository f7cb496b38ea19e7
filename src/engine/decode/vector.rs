//! Vector's file source, and other shippers that put the line under `message`.

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper, first_text},
};

/// `{"file": …, "host": …, "message": "<line>"}`.
pub(super) struct Vector;

impl Wrapper for Vector {
    fn name(&self) -> &'static str {
        "vector"
    }

    fn summary(&self) -> &'static str {
        "Vector's file source, Filebeat without a parser, syslog and others: the line under \
         `message`. The cluster is what a transform adds as `cluster` or `cluster_name`, or what \
         Filebeat knows as `orchestrator.cluster.name` or `fields.cluster`."
    }

    fn example(&self) -> &'static str {
        r#"{"file":"/var/log/kubernetes/audit/audit.log","host":"cp-1","message":"@TEXT@","source_type":"file","timestamp":"2026-01-05T22:14:01.400Z","cluster":"prod"}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        let Some(content) = wrapper.get("message").and_then(Json::inner) else { return false };
        let cluster = first_text(
            wrapper,
            &[
                &["cluster"],
                &["cluster_name"],
                &["orchestrator", "cluster", "name"],
                &["fields", "cluster"],
            ],
        );
        inside.push(Wrapped { content, cluster });
        true
    }
}
