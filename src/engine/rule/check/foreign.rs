//! Names that other products give to the fields of audit events, for people who bring rules along.

/// The Elastic Common Schema: names in it, and ours.
const ECS: &[(&str, &str)] = &[
    ("@timestamp", "stageTimestamp"),
    ("client.address", "source.ip"),
    ("client.ip", "source.ip"),
    ("client.user.name", "user.username"),
    ("container.image.name", "pod_spec.containers.image"),
    ("event.action", "verb"),
    ("event.created", "requestReceivedTimestamp"),
    ("event.id", "auditID"),
    ("event.original", "event.text"),
    ("event.outcome", "outcome"),
    ("event.reason", "responseStatus.reason"),
    ("http.request.method", "verb"),
    ("http.response.status_code", "responseStatus.code"),
    ("kubernetes.namespace", "objectRef.namespace"),
    ("kubernetes.pod.name", "objectRef.name"),
    ("orchestrator.cluster.name", "cluster"),
    ("orchestrator.namespace", "objectRef.namespace"),
    ("orchestrator.resource.name", "objectRef.name"),
    ("orchestrator.resource.type", "objectRef.resource"),
    ("process.args", "exec.command"),
    ("process.command_line", "exec.command"),
    ("source.address", "source.ip"),
    ("url.original", "requestURI"),
    ("url.path", "request.path"),
    ("user.effective.name", "actor.id"),
    ("user.id", "user.uid"),
    ("user.name", "user.username"),
    ("user_agent.name", "userAgent"),
    ("user_agent.original", "userAgent"),
];

/// Where Elastic's integration and others keep the event itself: what follows is the event's own name.
const PREFIXES: &[&str] = &["kubernetes.audit.", "kubernetes_audit.", "json.", "audit.", "event."];

/// Names of Falco's plugin `k8saudit`, and ours.
const FALCO: &[(&str, &str)] = &[
    ("ka.auditid", "auditID"),
    ("ka.auth.decision", "annotations.authorization.k8s.io/decision"),
    ("ka.auth.reason", "annotations.authorization.k8s.io/reason"),
    ("ka.cluster.name", "cluster"),
    ("ka.impuser.name", "impersonatedUser.username"),
    ("ka.req.binding.role", "requestObject.roleRef.name"),
    ("ka.req.binding.subjects", "requestObject.subjects.name"),
    ("ka.req.pod.containers.image", "pod_spec.containers.image"),
    ("ka.req.pod.containers.privileged", "pod_spec.containers.securityContext.privileged"),
    ("ka.req.pod.host_ipc", "pod_spec.hostIPC"),
    ("ka.req.pod.host_network", "pod_spec.hostNetwork"),
    ("ka.req.pod.host_pid", "pod_spec.hostPID"),
    ("ka.req.pod.volumes.hostpath", "pod_spec.volumes.hostPath.path"),
    ("ka.req.role.rules", "requestObject.rules"),
    ("ka.req.role.rules.resources", "requestObject.rules.resources"),
    ("ka.req.role.rules.verbs", "requestObject.rules.verbs"),
    ("ka.response.code", "responseStatus.code"),
    ("ka.response.reason", "responseStatus.reason"),
    ("ka.sourceips", "source.ip"),
    ("ka.stage", "stage"),
    ("ka.target.name", "objectRef.name"),
    ("ka.target.namespace", "objectRef.namespace"),
    ("ka.target.resource", "objectRef.resource"),
    ("ka.target.subresource", "objectRef.subresource"),
    ("ka.uri", "requestURI"),
    ("ka.uri.param", "exec.command"),
    ("ka.user.groups", "user.groups"),
    ("ka.user.name", "user.username"),
    ("ka.useragent", "userAgent"),
    ("ka.verb", "verb"),
];

/// Names of Google Cloud's audit log, and ours.
const GOOGLE: &[(&str, &str)] = &[
    ("protoPayload.authenticationInfo.principalEmail", "user.username"),
    ("protoPayload.methodName", "verb"),
    ("protoPayload.request", "requestObject"),
    ("protoPayload.requestMetadata.callerIp", "source.ip"),
    ("protoPayload.requestMetadata.callerSuppliedUserAgent", "userAgent"),
    ("protoPayload.resourceName", "objectRef.resource"),
    ("protoPayload.response", "responseObject"),
    ("protoPayload.status.code", "responseStatus.code"),
    ("resource.labels.cluster_name", "cluster"),
];

/// What another product calls a field that has a name of its own here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Whose name it is.
    pub(super) product: &'static str,
    /// Ours.
    pub(super) ours: String,
}

/// Our name of a field of another product. `None` if it is not known.
pub(super) fn foreign(path: &str, is_known: impl Fn(&str) -> bool) -> Option<Foreign> {
    let tables = [("the Elastic Common Schema", ECS), ("Falco", FALCO), ("Google Cloud", GOOGLE)];
    for (product, table) in tables {
        let found = table.iter().find_map(|(theirs, ours)| {
            let rest = path.strip_prefix(theirs)?;
            (rest.is_empty() || rest.starts_with('.') && is_known(&format!("{ours}{rest}")))
                .then(|| format!("{ours}{rest}"))
        });
        if let Some(ours) = found {
            return Some(Foreign { product, ours });
        }
    }
    let inner = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix));
    let ours = inner.filter(|inner| is_known(inner))?.to_owned();
    let product = if path.starts_with("kubernetes") { "Elastic" } else { "a shipper" };
    Some(Foreign { product, ours })
}

/// Whether a path is one of the Elastic Common Schema, so that `source.ip` beside it probably is, too.
pub(super) fn is_ecs(path: &str) -> bool {
    path.starts_with("kubernetes.audit.") || ECS.iter().any(|(theirs, _)| *theirs == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::known_field;

    fn ours(path: &str) -> Option<String> {
        foreign(path, |path| known_field(path).is_some()).map(|foreign| foreign.ours)
    }

    #[test]
    fn every_name_leads_to_a_known_field() {
        for (theirs, ours) in ECS.iter().chain(FALCO).chain(GOOGLE) {
            assert!(known_field(ours).is_some(), "{theirs}: {ours}");
            assert!(known_field(theirs).is_none(), "{theirs}");
        }
        for table in [ECS, FALCO, GOOGLE] {
            assert!(table.is_sorted());
        }
    }

    #[test]
    fn names_of_others_are_translated() {
        for (theirs, expected) in [
            ("kubernetes.audit.verb", Some("verb")),
            ("kubernetes.audit.requestObject.spec.hostPID", Some("requestObject.spec.hostPID")),
            ("user_agent.original", Some("userAgent")),
            ("ka.user.name", Some("user.username")),
            ("protoPayload.request.spec", Some("requestObject.spec")),
            ("json.objectRef.name", Some("objectRef.name")),
            ("kubernetes.audit.nothing", None),
            ("objectRef.resourse", None),
        ] {
            assert_eq!(ours(theirs).as_deref(), expected, "{theirs}");
        }
        assert!(is_ecs("kubernetes.audit.verb") && is_ecs("user.name") && !is_ecs("ka.verb"));
    }
}
