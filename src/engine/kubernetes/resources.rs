//! Resources and subresources that Kubernetes brings along, and where their bodies hold a pod spec.
//!
//! Follows `api/discovery` of Kubernetes 1.37, the newest version of each group; alpha groups are
//! among them. Custom resources are not known: they have a group with a dot, and no subresources but
//! `scale` and `status`.

use super::AuditLevel;

/// A resource of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Its kind, which in lower case is also its singular.
    pub kind: &'static str,
    /// Its name in requests: the plural.
    pub name: &'static str,
    /// What kubectl also calls it; empty if nothing.
    pub short: &'static str,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// What lies below it: names of [`SUBRESOURCES`]; sorted.
    pub subresources: &'static [&'static str],
    /// Where a body holds a pod spec, as a path below the body.
    pub pod_spec: Option<&'static str>,
}

impl Resource {
    const fn new(
        group: &'static str,
        kind: &'static str,
        name: &'static str,
        subresources: &'static [&'static str],
    ) -> Resource {
        let (short, is_namespaced, pod_spec) = ("", true, None);
        Resource { group, kind, name, short, is_namespaced, subresources, pod_spec }
    }

    const fn cluster(self) -> Resource {
        Resource { is_namespaced: false, ..self }
    }

    const fn short(self, short: &'static str) -> Resource {
        Resource { short, ..self }
    }

    const fn pod_spec(self, path: &'static str) -> Resource {
        Resource { pod_spec: Some(path), ..self }
    }

    /// Whether requests to it, or to what lies below it, can change a pod spec.
    pub fn changes_pod_spec(&self, below: Option<&str>) -> bool {
        self.pod_spec.is_some()
            && below.is_none_or(|below| subresource(below).is_some_and(|known| known.has_pod_spec))
    }
}

const fn resource(
    group: &'static str,
    kind: &'static str,
    name: &'static str,
    subresources: &'static [&'static str],
) -> Resource {
    Resource::new(group, kind, name, subresources)
}

const NONE: &[&str] = &[];
const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];
const PODS: &[&str] = &[
    "attach",
    "binding",
    "checkpoint",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "resize",
    "status",
];

/// Pod spec of what makes pods.
const TEMPLATE: &str = "spec.template.spec";

const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORK: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const SCHEDULING: &str = "scheduling.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// All of them; sorted by group and name. A name may be in several groups.
#[rustfmt::skip]
pub const RESOURCES: &[Resource] = &[
    resource("", "Binding", "bindings", NONE),
    resource("", "ComponentStatus", "componentstatuses", NONE).cluster().short("cs"),
    resource("", "ConfigMap", "configmaps", NONE).short("cm"),
    resource("", "Endpoints", "endpoints", NONE).short("ep"),
    resource("", "Event", "events", NONE).short("ev"),
    resource("", "LimitRange", "limitranges", NONE).short("limits"),
    resource("", "Namespace", "namespaces", &["finalize", "status"]).cluster().short("ns"),
    resource("", "Node", "nodes", &["proxy", "status"]).cluster().short("no"),
    resource("", "PersistentVolumeClaim", "persistentvolumeclaims", STATUS).short("pvc"),
    resource("", "PersistentVolume", "persistentvolumes", STATUS).cluster().short("pv"),
    resource("", "Pod", "pods", PODS).short("po").pod_spec("spec"),
    resource("", "PodTemplate", "podtemplates", NONE).pod_spec("template.spec"),
    resource("", "ReplicationController", "replicationcontrollers", SCALE).short("rc").pod_spec(TEMPLATE),
    resource("", "ResourceQuota", "resourcequotas", STATUS).short("quota"),
    resource("", "Secret", "secrets", NONE),
    resource("", "ServiceAccount", "serviceaccounts", &["token"]).short("sa"),
    resource("", "Service", "services", &["proxy", "status"]).short("svc"),
    resource(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", NONE).cluster(),
    resource(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", NONE).cluster(),
    resource(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", NONE).cluster(),
    resource(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", STATUS).cluster(),
    resource(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", NONE).cluster(),
    resource(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", NONE).cluster(),
    resource("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", STATUS).cluster().short("crd"),
    resource("apiregistration.k8s.io", "APIService", "apiservices", STATUS).cluster(),
    resource("apps", "ControllerRevision", "controllerrevisions", NONE).pod_spec("data.spec.template.spec"),
    resource("apps", "DaemonSet", "daemonsets", STATUS).short("ds").pod_spec(TEMPLATE),
    resource("apps", "Deployment", "deployments", SCALE).short("deploy").pod_spec(TEMPLATE),
    resource("apps", "ReplicaSet", "replicasets", SCALE).short("rs").pod_spec(TEMPLATE),
    resource("apps", "StatefulSet", "statefulsets", SCALE).short("sts").pod_spec(TEMPLATE),
    resource(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", NONE).cluster(),
    resource(AUTHENTICATION, "TokenReview", "tokenreviews", NONE).cluster(),
    resource(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", NONE),
    resource(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", NONE).cluster(),
    resource(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", NONE).cluster(),
    resource(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", NONE).cluster(),
    resource("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", STATUS).short("hpa"),
    resource("batch", "CronJob", "cronjobs", STATUS).short("cj").pod_spec("spec.jobTemplate.spec.template.spec"),
    resource("batch", "Job", "jobs", STATUS).pod_spec(TEMPLATE),
    resource(CERTIFICATES, "CertificateSigningRequest", "certificatesigningrequests", &["approval", "status"]).cluster().short("csr"),
    resource(CERTIFICATES, "ClusterTrustBundle", "clustertrustbundles", NONE).cluster(),
    resource(CERTIFICATES, "PodCertificateRequest", "podcertificaterequests", STATUS),
    resource("checkpoint.k8s.io", "PodCheckpoint", "podcheckpoints", STATUS),
    resource("coordination.k8s.io", "LeaseCandidate", "leasecandidates", NONE),
    resource("coordination.k8s.io", "Lease", "leases", NONE),
    resource("discovery.k8s.io", "EndpointSlice", "endpointslices", NONE),
    resource("events.k8s.io", "Event", "events", NONE).short("ev"),
    resource(FLOW, "FlowSchema", "flowschemas", STATUS).cluster(),
    resource(FLOW, "PriorityLevelConfiguration", "prioritylevelconfigurations", STATUS).cluster(),
    resource("internal.apiserver.k8s.io", "StorageVersion", "storageversions", STATUS).cluster(),
    resource("lifecycle.k8s.io", "EvictionRequest", "evictionrequests", STATUS),
    resource("lifecycle.k8s.io", "Eviction", "evictions", STATUS),
    resource(NETWORK, "IngressClass", "ingressclasses", NONE).cluster(),
    resource(NETWORK, "Ingress", "ingresses", STATUS).short("ing"),
    resource(NETWORK, "IPAddress", "ipaddresses", NONE).cluster().short("ip"),
    resource(NETWORK, "NetworkPolicy", "networkpolicies", NONE).short("netpol"),
    resource(NETWORK, "ServiceCIDR", "servicecidrs", STATUS).cluster(),
    resource("node.k8s.io", "RuntimeClass", "runtimeclasses", NONE).cluster(),
    resource("policy", "PodDisruptionBudget", "poddisruptionbudgets", STATUS).short("pdb"),
    resource(RBAC, "ClusterRoleBinding", "clusterrolebindings", NONE).cluster(),
    resource(RBAC, "ClusterRole", "clusterroles", NONE).cluster(),
    resource(RBAC, "RoleBinding", "rolebindings", NONE),
    resource(RBAC, "Role", "roles", NONE),
    resource(DEVICES, "DeviceClass", "deviceclasses", NONE).cluster(),
    resource(DEVICES, "DeviceTaintRule", "devicetaintrules", STATUS).cluster(),
    resource(DEVICES, "ResourceClaim", "resourceclaims", STATUS),
    resource(DEVICES, "ResourceClaimTemplate", "resourceclaimtemplates", NONE),
    resource(DEVICES, "ResourcePoolStatusRequest", "resourcepoolstatusrequests", STATUS).cluster(),
    resource(DEVICES, "ResourceSlice", "resourceslices", NONE).cluster(),
    resource(SCHEDULING, "CompositePodGroup", "compositepodgroups", STATUS),
    resource(SCHEDULING, "PodGroup", "podgroups", STATUS),
    resource(SCHEDULING, "PriorityClass", "priorityclasses", NONE).cluster().short("pc"),
    resource(SCHEDULING, "Workload", "workloads", NONE),
    resource(STORAGE, "CSIDriver", "csidrivers", NONE).cluster(),
    resource(STORAGE, "CSINode", "csinodes", NONE).cluster(),
    resource(STORAGE, "CSIStorageCapacity", "csistoragecapacities", NONE),
    resource(STORAGE, "StorageClass", "storageclasses", NONE).cluster().short("sc"),
    resource(STORAGE, "VolumeAttachment", "volumeattachments", STATUS).cluster(),
    resource(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", NONE).cluster().short("vac"),
    resource("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations", STATUS).cluster(),
];

/// The resources of a name: several if more than one group has it, none if nobody knows it.
pub fn named(name: &str) -> impl Iterator<Item = &'static Resource> + Clone + '_ {
    RESOURCES.iter().filter(move |known| known.name == name)
}

/// The resource of a group and a name.
pub fn find(group: &str, name: &str) -> Option<&'static Resource> {
    named(name).find(|known| known.group == group)
}

/// Whether resources of Kubernetes are in a group of this name.
pub fn is_group(group: &str) -> bool {
    RESOURCES.iter().any(|known| known.group == group)
}

/// The group whose name goes on after this word with a dot.
pub fn group_beginning_with(word: &str) -> Option<&'static str> {
    let goes_on = |group: &&str| group.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'));
    RESOURCES.iter().map(|known| known.group).find(goes_on).filter(|_| !word.is_empty())
}

/// The resource that a word means which is not its name: its kind, the singular or what kubectl calls
/// it, whatever its case.
pub fn meant(word: &str) -> Option<&'static Resource> {
    let is_meant = |known: &&Resource| {
        known.kind.eq_ignore_ascii_case(word)
            || (!known.short.is_empty() && known.short.eq_ignore_ascii_case(word))
    };
    RESOURCES.iter().find(is_meant).filter(|known| !known.name.eq_ignore_ascii_case(word))
}

/// Whether the objects of this name are outside of all namespaces, whatever the group. A namespace is
/// none of them: its events say that it is in itself.
pub fn is_cluster_scoped(name: &str) -> bool {
    let mut known = named(name).peekable();
    known.peek().is_some() && name != "namespaces" && known.all(|known| !known.is_namespaced)
}

/// Where the bodies of requests hold a pod spec: every place once, as paths below the body.
pub fn pod_spec_places() -> Vec<&'static str> {
    let mut places: Vec<&str> = RESOURCES.iter().filter_map(|known| known.pod_spec).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// What lies below a resource.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// Its name.
    pub name: &'static str,
    /// The verbs of requests that can succeed; sorted.
    pub verbs: &'static [&'static str],
    /// Whether custom resources, and those of other API servers, may have it too.
    pub is_general: bool,
    /// Whether the API server tells of its answer in two stages.
    pub runs_long: bool,
    /// Whether the connection becomes a stream: the status of success is 101, and the verb depends on
    /// the client's way to ask (`create` for SPDY, `get` for WebSocket).
    pub upgrades: bool,
    /// Whether its body is the pod, spec and all, where the resource has one.
    pub has_pod_spec: bool,
    /// Whether a request that changes it may ask for a dry run. The others do what they do all the same.
    pub has_dry_run: bool,
}

impl Subresource {
    const fn general(self) -> Subresource {
        Subresource { is_general: true, ..self }
    }

    const fn long(self) -> Subresource {
        Subresource { runs_long: true, ..self.real() }
    }

    const fn stream(self) -> Subresource {
        Subresource { upgrades: true, ..self.long() }
    }

    const fn real(self) -> Subresource {
        Subresource { has_dry_run: false, ..self }
    }

    const fn with_pod_spec(self) -> Subresource {
        Subresource { has_pod_spec: true, ..self }
    }
}

const fn below(name: &'static str, verbs: &'static [&'static str]) -> Subresource {
    let (is_general, runs_long, upgrades, has_pod_spec) = (false, false, false, false);
    let has_dry_run = true;
    Subresource { name, verbs, is_general, runs_long, upgrades, has_pod_spec, has_dry_run }
}

const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const STREAM: &[&str] = &["create", "get"];
const CHANGE: &[&str] = &["get", "patch", "update"];
const ANY_METHOD: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Whatever lies below one of [`RESOURCES`]; sorted by name.
pub const SUBRESOURCES: &[Subresource] = &[
    below("approval", CHANGE),
    below("attach", STREAM).stream(),
    below("binding", CREATE),
    below("checkpoint", CREATE).real(),
    below("ephemeralcontainers", CHANGE).with_pod_spec(),
    below("eviction", CREATE),
    below("exec", STREAM).stream(),
    below("finalize", &["update"]),
    below("log", GET).long(),
    below("portforward", STREAM).stream(),
    below("proxy", ANY_METHOD).general().long(),
    below("resize", CHANGE).with_pod_spec(),
    below("scale", CHANGE).general(),
    below("status", CHANGE).general(),
    below("token", CREATE).real(),
];

/// The subresource of a name.
pub fn subresource(name: &str) -> Option<&'static Subresource> {
    SUBRESOURCES.iter().find(|known| known.name == name)
}

/// Subresources that are a part of an object, or a view of it, in its own shape: whatever else stands in
/// the body counts for nothing.
pub const PARTS: [&str; 2] = ["scale", "status"];

/// Subresources whose requests name the command that is run, in `requestURI`: of a pod directly, and
/// of the kubelet's API behind `nodes/proxy`.
pub const RUNS_COMMANDS: [&str; 2] = ["exec", "proxy"];

/// Resources whose bodies hold secrets, and the level from which on they are recorded: such a log is
/// as worth protecting as they are.
pub const SECRET_BODIES: &[(&str, &str, Option<&str>, AuditLevel)] = &[
    ("", "secrets", None, AuditLevel::Request),
    ("", "serviceaccounts", Some("token"), AuditLevel::RequestResponse),
    (AUTHENTICATION, "tokenreviews", None, AuditLevel::Request),
];

#[cfg(test)]
mod tests {
    use super::{super::verbs::RESOURCE_VERBS, *};

    #[test]
    fn the_tables_are_sorted_and_consistent() {
        assert!(RESOURCES.is_sorted_by_key(|resource| (resource.group, resource.name)));
        assert!(SUBRESOURCES.is_sorted_by_key(|subresource| subresource.name));
        for resource in RESOURCES {
            assert!(resource.subresources.is_sorted(), "{}", resource.name);
            for name in resource.subresources {
                assert!(subresource(name).is_some(), "{}/{name}", resource.name);
            }
        }
        for known in SUBRESOURCES {
            assert!(known.verbs.is_sorted(), "{}", known.name);
            assert!(known.verbs.iter().all(|verb| RESOURCE_VERBS.contains(verb)));
        }
        for (group, name, below, _) in SECRET_BODIES {
            let resource = find(group, name).unwrap();
            assert!(below.is_none_or(|below| resource.subresources.contains(&below)), "{name}");
        }
        for name in RUNS_COMMANDS {
            assert!(subresource(name).is_some_and(|known| known.runs_long), "{name}");
        }
    }

    #[test]
    fn other_words_for_a_resource() {
        for (word, name) in [("Secret", "secrets"), ("svc", "services"), ("INGRESS", "ingresses")] {
            assert_eq!(meant(word).map(|known| known.name), Some(name), "{word}");
        }
        assert!(meant("pods").is_none() && meant("endpoints").is_none() && meant("").is_none());
    }

    #[test]
    fn scope_is_that_of_all_groups() {
        assert!(is_cluster_scoped("nodes") && is_cluster_scoped("clusterroles"));
        for name in ["pods", "events", "namespaces", "widgets"] {
            assert!(!is_cluster_scoped(name), "{name}");
        }
    }

    #[test]
    fn pod_specs_are_changed_through_some_subresources() {
        let pods = find("", "pods").unwrap();
        assert!(pods.changes_pod_spec(None) && pods.changes_pod_spec(Some("ephemeralcontainers")));
        assert!(!pods.changes_pod_spec(Some("status")) && !pods.changes_pod_spec(Some("exec")));
        assert!(!find("", "secrets").unwrap().changes_pod_spec(None));
        assert!(pod_spec_places().contains(&"spec"));
    }
}
