//! The cluster that the traffic comes from: nodes, pods, controllers, operators and people.
//!
//! Made once from the seed; how many nodes it has follows from the rate. Addresses of the outside
//! world are those that are reserved for documentation.

use super::{
    event::{Caller, Identity},
    rng::Rng,
};

/// Version that the control plane and the kubelets report.
const AGENT_SUFFIX: &str = "v1.33.4 (linux/amd64) kubernetes/74cdb42";

/// Where people sit: a group that their identity provider puts them into, and their time zone. The
/// shipped `schedules.yaml` and `lists/` hold the same offices.
pub(crate) const OFFICES: [(&str, &str); 3] = [
    ("office:berlin", "Europe/Berlin"),
    ("office:san-francisco", "America/Los_Angeles"),
    ("office:singapore", "Asia/Singapore"),
];

/// Namespaces of teams, with their workloads.
const TEAMS: [(&str, [&str; 4]); 12] = [
    ("shop", ["web", "api", "image-resizer", "session-cache"]),
    ("checkout", ["checkout-api", "fraud-check", "basket", "tax"]),
    ("payments", ["payment-gateway", "ledger-sync", "settlement", "card-vault"]),
    ("search", ["query", "indexer", "suggest", "ranking"]),
    ("catalog", ["catalog-api", "price-feed", "stock", "reviews"]),
    ("identity", ["login", "token-issuer", "profile", "consent"]),
    ("ledger", ["ledger-api", "ledger-writer", "reports", "archive"]),
    ("mail", ["mailer", "templates", "bounce-handler", "digest"]),
    ("media", ["transcode", "thumbnails", "cdn-purge", "upload"]),
    ("analytics", ["collector", "sessionizer", "dashboards", "export"]),
    ("ml", ["feature-store", "trainer", "recommender", "model-server"]),
    ("staging", ["web", "api", "checkout-api", "query"]),
];

/// Controllers of the controller manager that write all day.
const CONTROLLERS: [&str; 14] = [
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "endpoint-controller",
    "generic-garbage-collector",
    "resourcequota-controller",
    "namespace-controller",
    "job-controller",
    "cronjob-controller",
    "horizontal-pod-autoscaler",
    "attachdetach-controller",
    "persistent-volume-binder",
    "node-controller",
    "service-account-controller",
];

/// A member of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its address inside the cluster's network.
    pub(crate) ip: String,
    /// Its kubelet.
    pub(crate) kubelet: Caller,
}

/// A running pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Its namespace.
    pub(crate) namespace: &'static str,
    /// The deployment that it belongs to.
    pub(crate) workload: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
    /// Its address.
    pub(crate) ip: String,
    /// Index of its node.
    pub(crate) node: usize,
}

/// Somebody with a laptop.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// Index into [`OFFICES`].
    pub(crate) office: usize,
    /// Namespaces of their team.
    pub(crate) namespaces: [&'static str; 2],
    /// How their requests look.
    pub(crate) caller: Caller,
    /// Whether their kubectl executes commands by WebSocket (GET) or, when old, by SPDY (POST).
    pub(crate) websocket: bool,
}

/// Everybody and everything.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Members.
    pub(crate) nodes: Vec<Node>,
    /// Running pods, by namespace.
    pub(crate) pods: Vec<Pod>,
    /// Service accounts of the controller manager.
    pub(crate) controllers: Vec<Caller>,
    /// The controller manager itself.
    pub(crate) controller_manager: Caller,
    /// The scheduler.
    pub(crate) scheduler: Caller,
    /// The API server asking itself.
    pub(crate) api_server: Caller,
    /// Probes of load balancers and monitoring: nobody in particular.
    pub(crate) probe: Caller,
    /// Prometheus.
    pub(crate) prometheus: Caller,
    /// The dashboard that teams look at.
    pub(crate) dashboard: Caller,
    /// Operators: name of their resource and who they are.
    pub(crate) operators: Vec<Operator>,
    /// GitOps.
    pub(crate) gitops: Caller,
    /// CI runners.
    pub(crate) runners: Vec<Caller>,
    /// People.
    pub(crate) people: Vec<Person>,
}

/// A controller that somebody installed.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    /// Its namespace.
    pub(crate) namespace: &'static str,
    /// Its name, which is also that of its lease.
    pub(crate) name: &'static str,
    /// API group of what it looks after.
    pub(crate) group: &'static str,
    /// What it looks after.
    pub(crate) resource: &'static str,
    /// Who it is.
    pub(crate) caller: Caller,
}

impl Cluster {
    /// Makes the cluster for so many events a second.
    pub(crate) fn new(rng: &mut Rng, rate: f64) -> Cluster {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is between 8 and 1,000"
        )]
        let node_count = (rate / 20.0).clamp(8.0, 1_000.0) as usize;
        let nodes: Vec<Node> = (0..node_count).map(|index| node(rng, index)).collect();
        let pods = pods(rng, node_count);
        let control_plane = "10.20.0.11";
        let controllers = CONTROLLERS.map(|name| {
            let agent = format!(
                "kube-controller-manager/{AGENT_SUFFIX}/system:serviceaccount:kube-system:{name}"
            );
            service_account(rng, "kube-system", name, None, control_plane, &agent)
        });
        let in_pod = |rng: &mut Rng, namespace: &str, name: &str, agent: &str| {
            let node = nodes.get(rng.index(nodes.len())).expect("a cluster has nodes");
            let ip = pod_ip(rng);
            service_account(rng, namespace, name, Some((node, name)), &ip, agent)
        };
        Cluster {
            controllers: controllers.to_vec(),
            controller_manager: component(rng, "system:kube-controller-manager", control_plane),
            scheduler: component(rng, "system:kube-scheduler", control_plane),
            api_server: api_server(rng),
            probe: probe(),
            prometheus: in_pod(rng, "monitoring", "prometheus-k8s", "Prometheus/3.5.0"),
            dashboard: in_pod(rng, "monitoring", "headlamp", "Headlamp/0.33.0 Go-http-client/2.0"),
            operators: OPERATORS
                .iter()
                .map(|(namespace, name, group, resource)| {
                    let agent = format!("{name}/v0.0.0 (linux/amd64) kubernetes/$Format");
                    let caller = in_pod(rng, namespace, name, &agent);
                    Operator { namespace, name, group, resource, caller }
                })
                .collect(),
            gitops: in_pod(
                rng,
                "argocd",
                "argocd-application-controller",
                "argocd-application-controller/v3.1.1 (linux/amd64)",
            ),
            runners: (0..6)
                .map(|_| in_pod(rng, "ci", "gitlab-runner", "gitlab-runner/18.3.0 linux/amd64"))
                .collect(),
            people: people(rng),
            nodes,
            pods,
        }
    }

    /// Some pod of a namespace, or any if it has none.
    pub(crate) fn pod_in(&self, rng: &mut Rng, namespace: &str) -> &Pod {
        let mine = || self.pods.iter().filter(|pod| pod.namespace == namespace);
        mine().nth(rng.index(mine().count())).unwrap_or_else(|| rng.pick(&self.pods))
    }

    /// Names of the namespaces that teams use.
    pub(crate) fn team_namespaces() -> impl Iterator<Item = &'static str> {
        TEAMS.iter().map(|(namespace, _)| *namespace)
    }
}

/// Namespace, name, API group and resource of the operators.
const OPERATORS: [(&str, &str, &str, &str); 6] = [
    ("cert-manager", "cert-manager", "cert-manager.io", "certificates"),
    (
        "cert-manager",
        "cert-manager-cainjector",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
    ),
    ("monitoring", "prometheus-operator", "monitoring.coreos.com", "prometheusrules"),
    ("external-secrets", "external-secrets", "external-secrets.io", "externalsecrets"),
    ("ingress-nginx", "ingress-nginx", "networking.k8s.io", "ingresses"),
    ("kafka", "strimzi-cluster-operator", "kafka.strimzi.io", "kafkatopics"),
];

fn node(rng: &mut Rng, index: usize) -> Node {
    let ip = format!("10.20.{}.{}", 4 + index / 200, 10 + index % 200);
    let name = format!("ip-{}.eu-central-1.compute.internal", ip.replace('.', "-"));
    let username = format!("system:node:{name}");
    let credential = format!("X509SHA256={}", rng.hex(64));
    let identity = Identity {
        username: &username,
        groups: &["system:nodes", "system:authenticated"],
        extra: &[("authentication.kubernetes.io/credential-id", &credential)],
        ..Identity::default()
    };
    let agent = format!("kubelet/{AGENT_SUFFIX}");
    let kubelet = Caller::new(identity, &[&ip], &agent, "");
    Node { name, ip, kubelet }
}

fn pods(rng: &mut Rng, node_count: usize) -> Vec<Pod> {
    let mut pods = Vec::new();
    let replicas = (node_count / 4).clamp(2, 40);
    for (namespace, workloads) in TEAMS {
        for workload in workloads {
            let hash = rng.suffix(10);
            for _ in 0..replicas {
                let name = format!("{workload}-{hash}-{}", rng.suffix(5));
                let node = rng.index(node_count);
                pods.push(Pod {
                    namespace,
                    workload,
                    name,
                    uid: rng.uuid(),
                    ip: pod_ip(rng),
                    node,
                });
            }
        }
    }
    pods
}

fn pod_ip(rng: &mut Rng) -> String {
    format!("10.244.{}.{}", rng.between(1, 250), rng.between(2, 250))
}

/// A service account: in a pod, or as the controller manager uses it, without one.
pub(crate) fn service_account(
    rng: &mut Rng,
    namespace: &str,
    name: &str,
    pod: Option<(&Node, &str)>,
    ip: &str,
    agent: &str,
) -> Caller {
    let credential = format!("JTI={}", rng.uuid());
    service_account_with(rng, namespace, name, &credential, pod, ip, agent)
}

/// The same, with a credential that is known already.
pub(crate) fn service_account_with(
    rng: &mut Rng,
    namespace: &str,
    name: &str,
    credential: &str,
    pod: Option<(&Node, &str)>,
    ip: &str,
    agent: &str,
) -> Caller {
    let username = format!("system:serviceaccount:{namespace}:{name}");
    let group = format!("system:serviceaccounts:{namespace}");
    let pod_name = pod.map(|(_, name)| format!("{name}-{}-{}", rng.suffix(10), rng.suffix(5)));
    let (node_uid, pod_uid, uid) = (rng.uuid(), rng.uuid(), rng.uuid());
    let node_name = pod.map_or("", |(node, _)| node.name.as_str());
    let all = [
        ("authentication.kubernetes.io/credential-id", credential),
        ("authentication.kubernetes.io/node-name", node_name),
        ("authentication.kubernetes.io/node-uid", &node_uid),
        ("authentication.kubernetes.io/pod-name", pod_name.as_deref().unwrap_or("")),
        ("authentication.kubernetes.io/pod-uid", &pod_uid),
    ];
    let identity = Identity {
        username: &username,
        uid: &uid,
        groups: &["system:serviceaccounts", &group, "system:authenticated"],
        extra: if pod.is_some() { &all } else { all.get(..1).unwrap_or(&[]) },
    };
    let role = format!(
        "RBAC: allowed by ClusterRoleBinding \"{name}\" of ClusterRole \"{name}\" to \
         ServiceAccount \"{name}/{namespace}\""
    );
    Caller::new(identity, &[ip], agent, &role)
}

fn component(rng: &mut Rng, username: &str, ip: &str) -> Caller {
    let credential = format!("X509SHA256={}", rng.hex(64));
    let identity = Identity {
        username,
        groups: &["system:authenticated"],
        extra: &[("authentication.kubernetes.io/credential-id", &credential)],
        ..Identity::default()
    };
    let name = username.trim_start_matches("system:");
    let agent = format!("{name}/{AGENT_SUFFIX}/leader-election");
    let reason = format!(
        "RBAC: allowed by ClusterRoleBinding \"{username}\" of ClusterRole \"{username}\" to User \
         \"{username}\""
    );
    Caller::new(identity, &[ip], &agent, &reason)
}

fn api_server(rng: &mut Rng) -> Caller {
    let uid = rng.uuid();
    let identity = Identity {
        username: "system:apiserver",
        uid: &uid,
        groups: &["system:authenticated", "system:masters"],
        ..Identity::default()
    };
    Caller::new(identity, &["::1"], &format!("kube-apiserver/{AGENT_SUFFIX}"), "")
}

/// Somebody who did not log in.
pub(crate) fn anonymous(ip: &str, agent: &str, reason: &str) -> Caller {
    let identity = Identity {
        username: "system:anonymous",
        groups: &["system:unauthenticated"],
        ..Identity::default()
    };
    Caller::new(identity, &[ip], agent, reason)
}

fn probe() -> Caller {
    let reason = "RBAC: allowed by ClusterRoleBinding \"system:public-info-viewer\" of ClusterRole \
                  \"system:public-info-viewer\" to Group \"system:unauthenticated\"";
    anonymous("10.20.0.11", "kube-probe/1.33", reason)
}

fn people(rng: &mut Rng) -> Vec<Person> {
    const NAMES: [(&str, usize); 15] = [
        ("anna.schulz", 0),
        ("jonas.weber", 0),
        ("leila.haddad", 0),
        ("piotr.nowak", 0),
        ("marta.rossi", 0),
        ("david.kim", 1),
        ("grace.okafor", 1),
        ("miguel.santos", 1),
        ("emily.chen", 1),
        ("noah.fischer", 1),
        ("wei.ling.tan", 2),
        ("arjun.mehta", 2),
        ("siti.rahman", 2),
        ("kenji.sato", 2),
        ("hana.park", 2),
    ];
    NAMES
        .iter()
        .enumerate()
        .map(|(index, (name, office))| person(rng, index, name, *office))
        .collect()
}

fn person(rng: &mut Rng, index: usize, name: &str, office: usize) -> Person {
    let (first, _) = *TEAMS.get(index % TEAMS.len()).expect("an index of the table");
    let (second, _) = *TEAMS.get((index + 5) % TEAMS.len()).expect("an index of the table");
    let group = OFFICES.get(office).map_or("", |(group, _)| group);
    let team = format!("team:{first}");
    let username = format!("{name}@shop.example");
    let identity = Identity {
        username: &username,
        groups: &[group, &team, "system:authenticated"],
        ..Identity::default()
    };
    // Old clients execute commands by POST; kubectl 1.31 and later by GET.
    let websocket = rng.chance(700);
    let system = *rng.pick(&["linux/amd64", "darwin/arm64", "windows/amd64"]);
    let agent = if websocket {
        format!("kubectl/v1.33.1 ({system}) kubernetes/8adc0f0")
    } else {
        format!("kubectl/v1.28.9 ({system}) kubernetes/587f5fe")
    };
    let reason = format!(
        "RBAC: allowed by RoleBinding \"{first}-developers/{first}\" of ClusterRole \"edit\" to \
         Group \"{team}\""
    );
    let ip = format!("10.8.{}.{}", office + 1, 20 + index);
    let caller = Caller::new(identity, &[&ip], &agent, &reason);
    Person { office, namespaces: [first, second], caller, websocket }
}
