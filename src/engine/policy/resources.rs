//! The resources that Kubernetes brings along: audit policies name them with their API group, which
//! rules seldom do.

use crate::engine::rule::taxonomy::AuditLevel;

/// A resource of the API server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    /// API group; empty for the core group.
    pub(super) group: &'static str,
    /// Its name, in the plural.
    pub(super) name: &'static str,
    /// Whether its objects are in namespaces.
    pub(super) is_namespaced: bool,
    /// What lies below it.
    pub(super) subresources: &'static [&'static str],
}

const fn namespaced(
    group: &'static str,
    name: &'static str,
    subresources: &'static [&'static str],
) -> Resource {
    Resource { group, name, is_namespaced: true, subresources }
}

const fn cluster(
    group: &'static str,
    name: &'static str,
    subresources: &'static [&'static str],
) -> Resource {
    Resource { group, name, is_namespaced: false, subresources }
}

const NONE: &[&str] = &[];
const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];
const PODS: &[&str] = &[
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "resize",
    "status",
];

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// All of them; sorted by group and name. A name may be in several groups.
pub(super) const RESOURCES: &[Resource] = &[
    namespaced("", "bindings", NONE),
    cluster("", "componentstatuses", NONE),
    namespaced("", "configmaps", NONE),
    namespaced("", "endpoints", NONE),
    namespaced("", "events", NONE),
    namespaced("", "limitranges", NONE),
    cluster("", "namespaces", &["finalize", "status"]),
    cluster("", "nodes", &["proxy", "status"]),
    namespaced("", "persistentvolumeclaims", STATUS),
    cluster("", "persistentvolumes", STATUS),
    namespaced("", "pods", PODS),
    namespaced("", "podtemplates", NONE),
    namespaced("", "replicationcontrollers", SCALE),
    namespaced("", "resourcequotas", STATUS),
    namespaced("", "secrets", NONE),
    namespaced("", "serviceaccounts", &["token"]),
    namespaced("", "services", &["proxy", "status"]),
    cluster(ADMISSION, "mutatingadmissionpolicies", NONE),
    cluster(ADMISSION, "mutatingadmissionpolicybindings", NONE),
    cluster(ADMISSION, "mutatingwebhookconfigurations", NONE),
    cluster(ADMISSION, "validatingadmissionpolicies", STATUS),
    cluster(ADMISSION, "validatingadmissionpolicybindings", NONE),
    cluster(ADMISSION, "validatingwebhookconfigurations", NONE),
    cluster("apiextensions.k8s.io", "customresourcedefinitions", STATUS),
    cluster("apiregistration.k8s.io", "apiservices", STATUS),
    namespaced("apps", "controllerrevisions", NONE),
    namespaced("apps", "daemonsets", STATUS),
    namespaced("apps", "deployments", SCALE),
    namespaced("apps", "replicasets", SCALE),
    namespaced("apps", "statefulsets", SCALE),
    cluster("authentication.k8s.io", "selfsubjectreviews", NONE),
    cluster("authentication.k8s.io", "tokenreviews", NONE),
    namespaced("authorization.k8s.io", "localsubjectaccessreviews", NONE),
    cluster("authorization.k8s.io", "selfsubjectaccessreviews", NONE),
    cluster("authorization.k8s.io", "selfsubjectrulesreviews", NONE),
    cluster("authorization.k8s.io", "subjectaccessreviews", NONE),
    namespaced("autoscaling", "horizontalpodautoscalers", STATUS),
    namespaced("batch", "cronjobs", STATUS),
    namespaced("batch", "jobs", STATUS),
    cluster("certificates.k8s.io", "certificatesigningrequests", &["approval", "status"]),
    cluster("certificates.k8s.io", "clustertrustbundles", NONE),
    namespaced("coordination.k8s.io", "leases", NONE),
    namespaced("discovery.k8s.io", "endpointslices", NONE),
    namespaced("events.k8s.io", "events", NONE),
    cluster("flowcontrol.apiserver.k8s.io", "flowschemas", STATUS),
    cluster("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", STATUS),
    cluster("networking.k8s.io", "ingressclasses", NONE),
    namespaced("networking.k8s.io", "ingresses", STATUS),
    cluster("networking.k8s.io", "ipaddresses", NONE),
    namespaced("networking.k8s.io", "networkpolicies", NONE),
    cluster("networking.k8s.io", "servicecidrs", STATUS),
    cluster("node.k8s.io", "runtimeclasses", NONE),
    namespaced("policy", "poddisruptionbudgets", STATUS),
    cluster(RBAC, "clusterrolebindings", NONE),
    cluster(RBAC, "clusterroles", NONE),
    namespaced(RBAC, "rolebindings", NONE),
    namespaced(RBAC, "roles", NONE),
    cluster("resource.k8s.io", "deviceclasses", NONE),
    namespaced("resource.k8s.io", "resourceclaims", STATUS),
    namespaced("resource.k8s.io", "resourceclaimtemplates", NONE),
    cluster("resource.k8s.io", "resourceslices", NONE),
    cluster("scheduling.k8s.io", "priorityclasses", NONE),
    cluster(STORAGE, "csidrivers", NONE),
    cluster(STORAGE, "csinodes", NONE),
    namespaced(STORAGE, "csistoragecapacities", NONE),
    cluster(STORAGE, "storageclasses", NONE),
    cluster(STORAGE, "volumeattachments", STATUS),
    cluster(STORAGE, "volumeattributesclasses", NONE),
];

/// Those whose bodies hold a pod spec.
const WITH_POD_SPEC: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "controllerrevisions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
];

/// Subresources by which a pod spec is changed; through others it is not.
const SPEC_SUBRESOURCES: &[&str] = &["ephemeralcontainers", "resize"];

/// Whether requests to a known resource, or to what lies below it, can change a pod spec.
pub(super) fn has_pod_spec(group: &str, resource: &str, subresource: Option<&str>) -> bool {
    WITH_POD_SPEC.contains(&(group, resource))
        && subresource.is_none_or(|subresource| SPEC_SUBRESOURCES.contains(&subresource))
}

/// Resources whose bodies hold secrets, and the level from which on they are recorded: such a log is
/// as worth protecting as they are.
pub(super) const SECRET_BODIES: &[(&str, &str, Option<&str>, AuditLevel)] = &[
    ("", "secrets", None, AuditLevel::Request),
    ("", "serviceaccounts", Some("token"), AuditLevel::RequestResponse),
    ("authentication.k8s.io", "tokenreviews", None, AuditLevel::Request),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(RESOURCES.is_sorted_by_key(|resource| (resource.group, resource.name)));
        let known = |group, name| RESOURCES.iter().find(|r| r.group == group && r.name == name);
        for (group, name) in WITH_POD_SPEC {
            assert!(known(*group, *name).is_some(), "{group}/{name}");
        }
        for (group, name, subresource, _) in SECRET_BODIES {
            let resource = known(*group, *name).unwrap();
            assert!(subresource.is_none_or(|sub| resource.subresources.contains(&sub)), "{name}");
        }
        for resource in RESOURCES {
            assert!(resource.subresources.is_sorted(), "{}", resource.name);
        }
    }
}
