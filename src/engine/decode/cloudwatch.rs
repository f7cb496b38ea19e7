//! CloudWatch Logs subscriptions: how the audit log of EKS leaves AWS.

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper},
};

/// `{"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/<cluster>/cluster", "logEvents": […]}`.
/// Gzip and Base64 around the whole record are undone before.
pub(super) struct CloudWatch;

/// Streams of the same log group that hold other logs than the audit log.
const OTHER_STREAMS: [&str; 5] = [
    "authenticator-",
    "cloud-controller-manager-",
    "kube-apiserver-",
    "kube-controller-manager-",
    "kube-scheduler-",
];

impl Wrapper for CloudWatch {
    fn name(&self) -> &'static str {
        "cloudwatch"
    }

    fn summary(&self) -> &'static str {
        "A CloudWatch Logs subscription (EKS), also compressed: events as text in \
         `logEvents[].message`. The cluster comes from `logGroup`. Other logs of the control plane \
         are passed over."
    }

    fn example(&self) -> &'static str {
        r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/eks/prod/cluster","logStream":"kube-apiserver-audit-0123456789abcdef","logEvents":[{"id":"3195","timestamp":1767651241131,"message":"@TEXT@"}]}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        let (Some(kind), Some(events)) =
            (wrapper.get("messageType").and_then(Json::text), wrapper.get("logEvents"))
        else {
            return false;
        };
        let stream = wrapper.get("logStream").and_then(Json::text).unwrap_or_default();
        let other = OTHER_STREAMS.iter().any(|prefix| stream.starts_with(prefix))
            && !stream.starts_with("kube-apiserver-audit-");
        if kind == "CONTROL_MESSAGE" || other {
            return true;
        }
        let group = wrapper.get("logGroup").and_then(Json::text).unwrap_or_default();
        let cluster =
            group.strip_prefix("/aws/eks/").and_then(|rest| rest.strip_suffix("/cluster"));
        for event in events.items() {
            if let Some(content) = event.get("message").and_then(Json::text) {
                let cluster = cluster.map(|cluster| cluster.to_owned().into());
                inside.push(Wrapped { content, cluster });
            }
        }
        true
    }
}
