//! CloudWatch Logs subscriptions: how the audit log of EKS leaves AWS.
//!
//! `{"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/<cluster>/cluster", "logEvents": […]}`. Gzip and
//! Base64 around the whole record are undone before.

use std::borrow::Cow;

use super::{
    promise::is_promising,
    search::{Around, Content, Members, Search},
};
use crate::engine::dead_letter::ControlMessage;

/// Streams of the same log group that hold other logs than the audit log.
const OTHER_STREAMS: [&str; 5] = [
    "authenticator-",
    "cloud-controller-manager-",
    "kube-apiserver-",
    "kube-controller-manager-",
    "kube-scheduler-",
];

/// How the names of the groups begin to which EKS writes.
const EKS_GROUPS: &str = "/aws/eks/";

pub(super) fn is(members: &Members<'_>) -> bool {
    members.has("messageType") && members.has("logEvents")
}

/// Whether the log of a stream is one of the control plane, and not its audit log.
fn is_other(stream: &str) -> bool {
    !stream.starts_with("kube-apiserver-audit-")
        && OTHER_STREAMS.iter().any(|prefix| stream.starts_with(prefix))
}

pub(super) fn open<'a>(
    members: &Members<'a>,
    search: &mut Search<'a>,
    around: &Around<'a>,
) -> bool {
    let (Some(kind), Some(events)) = (members.text("messageType"), members.get("logEvents")) else {
        return false;
    };
    if kind.eq_ignore_ascii_case("CONTROL_MESSAGE") {
        search.push(Content::Control(ControlMessage::Check), around);
        return true;
    }
    let group = members.text("logGroup").unwrap_or_default();
    // In the group of a cluster streams are what EKS calls them, and clients choose much of what stands in the
    // others. In groups of their own people may call any stream so.
    let is_of_eks = group.is_empty() || group.starts_with(EKS_GROUPS);
    if is_other(&members.text("logStream").unwrap_or_default())
        && (is_of_eks || !is_promising(events.raw()))
    {
        search.push(Content::Control(ControlMessage::OtherLog), around);
        return true;
    }
    if events.is_empty() || !events.is_array() {
        return false;
    }
    for event in events.items() {
        let entry = Members::of(event);
        let around = Around { time: Around::of(&entry).time.or(around.time), ..around.clone() };
        search.push_content(entry.get("message"), event, &around);
    }
    true
}

/// The cluster in the name of its log group.
pub(super) fn cluster_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    let group = members.text("logGroup").or_else(|| members.text("log_group"))?;
    let name = group.strip_prefix(EKS_GROUPS)?.strip_suffix("/cluster")?;
    Some(Cow::Owned(name.to_owned()))
}
