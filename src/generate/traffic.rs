//! The bulk: what machines ask a cluster all day, whether anybody looks or not.
//!
//! One table says what there is and how often. Shares follow real audit logs: half of a cluster's
//! events are leases and controllers.

use std::time::Duration;

use super::{
    body,
    cluster::{Cluster, Pod, anonymous},
    event::{Caller, Decision, Failure, Object, Request, Target},
    rng::Rng,
    scene::{Scene, WatchEnd},
};

/// One sort of request, and how many of a thousand are of it.
struct Activity {
    share: u32,
    play: fn(&mut Scene<'_>),
}

/// Sorted by share. They add up to 1,000.
const ACTIVITIES: &[Activity] = &[
    Activity { share: 240, play: kubelet_lease },
    Activity { share: 130, play: controller_status },
    Activity { share: 90, play: leader_election },
    Activity { share: 85, play: operator_reconcile },
    Activity { share: 65, play: api_server_self },
    Activity { share: 60, play: kubelet_config },
    Activity { share: 60, play: watch },
    Activity { share: 40, play: probe },
    Activity { share: 40, play: pod_status },
    Activity { share: 35, play: happening },
    Activity { share: 35, play: operator_secret },
    Activity { share: 25, play: node_status },
    Activity { share: 20, play: kubelet_token },
    Activity { share: 20, play: dashboard },
    Activity { share: 17, play: pipeline },
    Activity { share: 15, play: missing },
    Activity { share: 8, play: schedule },
    Activity { share: 15, play: gitops },
];

/// Plays one request of the bulk.
pub(crate) fn play(scene: &mut Scene<'_>) {
    let mut ticket = scene.rng.below(1_000);
    for activity in ACTIVITIES {
        let share = u64::from(activity.share);
        if ticket < share {
            return (activity.play)(scene);
        }
        ticket -= share;
    }
}

const LEASES: &str = "coordination.k8s.io";

fn version(rng: &mut Rng) -> String {
    rng.between(48_000_000, 49_000_000).to_string()
}

fn some_pod<'c>(cluster: &'c Cluster, rng: &mut Rng) -> &'c Pod {
    rng.pick(&cluster.pods)
}

fn minute(scene: &Scene<'_>) -> i64 {
    scene.now.micros() / 60_000_000
}

fn kubelet_lease(scene: &mut Scene<'_>) {
    let node = scene.rng.pick(&scene.cluster.nodes);
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let lease = Object::of(LEASES, "leases", "kube-node-lease", &node.name).at(&uid, &rv);
    let request = Request::object(&node.kubelet, "update", lease);
    scene.request(&Request { query: "timeout=10s", ..request });
}

fn leader_election(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let (caller, namespace, name) = match scene.rng.below(8) {
        0 | 1 => (&cluster.scheduler, "kube-system", "kube-scheduler"),
        2 | 3 => (&cluster.controller_manager, "kube-system", "kube-controller-manager"),
        _ => {
            let operator = scene.rng.pick(&cluster.operators);
            (&operator.caller, operator.namespace, operator.name)
        }
    };
    let lease = Object::of(LEASES, "leases", namespace, name);
    let request = if scene.rng.chance(500) {
        Request::object(caller, "get", lease)
    } else {
        Request::object(caller, "update", lease.at(&uid, &rv))
    };
    scene.request(&Request { query: "timeout=5s", ..request });
}

/// The controller manager says that it is still the leader.
pub(crate) fn heartbeat(scene: &mut Scene<'_>) {
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let lease = Object::of(LEASES, "leases", "kube-system", "kube-controller-manager");
    let caller = &scene.cluster.controller_manager;
    let request = Request::object(caller, "update", lease.at(&uid, &rv));
    scene.request(&Request { query: "timeout=5s", ..request });
}

fn controller_status(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let pod = some_pod(cluster, scene.rng);
    let caller = scene.rng.pick(&cluster.controllers);
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let replica_set = pod.name.rsplit_once('-').map_or(pod.workload, |(head, _)| head);
    let (verb, object) = match scene.rng.below(7) {
        0 => {
            ("update", Object::of("apps", "deployments", pod.namespace, pod.workload).sub("status"))
        }
        1 => {
            ("update", Object::of("apps", "replicasets", pod.namespace, replica_set).sub("status"))
        }
        2 => {
            let name = Object::of("discovery.k8s.io", "endpointslices", pod.namespace, replica_set);
            ("update", name)
        }
        3 => ("get", Object::core("serviceaccounts", "kube-system", "generic-garbage-collector")),
        4 => ("list", Object::of("apps", "replicasets", "", "")),
        5 => ("get", Object::core("namespaces", pod.namespace, pod.namespace)),
        _ => ("get", Object::core("resourcequotas", pod.namespace, "compute")),
    };
    let object = if verb == "update" { object.at(&uid, &rv) } else { object };
    let request = Request::object(caller, verb, object);
    // Two controllers that write the same object: one of them loses, and tries again.
    if verb == "update" && scene.rng.chance(30) {
        let message = "the object has been modified; please apply your changes to the latest version \
                       and try again";
        let failure = Some(Failure { reason: "Conflict", message });
        return scene.request(&Request { code: 409, failure, ..request });
    }
    scene.request(&request);
}

fn operator_reconcile(scene: &mut Scene<'_>) {
    let operator = scene.rng.pick(&scene.cluster.operators);
    let pod = some_pod(scene.cluster, scene.rng);
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let object = Object::of(operator.group, operator.resource, pod.namespace, pod.workload);
    let request = match scene.rng.below(5) {
        0 | 1 => Request::object(&operator.caller, "get", object),
        2 => {
            let all = Object { name: "", namespace: "", ..object };
            Request::object(&operator.caller, "list", all)
        }
        _ => Request::object(&operator.caller, "update", object.sub("status").at(&uid, &rv)),
    };
    scene.request(&request);
}

fn operator_secret(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    // cert-manager, external-secrets and the ingress live on reading and writing secrets.
    let index = *scene.rng.pick(&[0, 3, 4]);
    let operator =
        cluster.operators.get(index).unwrap_or_else(|| scene.rng.pick(&cluster.operators));
    let pod = some_pod(cluster, scene.rng);
    let name = format!("{}-tls", pod.workload);
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let secret = Object::core("secrets", pod.namespace, &name);
    let request = if scene.rng.chance(800) {
        Request::object(&operator.caller, "get", secret)
    } else {
        Request::object(&operator.caller, "update", secret.at(&uid, &rv))
    };
    scene.request(&request);
}

fn api_server_self(scene: &mut Scene<'_>) {
    let caller = &scene.cluster.api_server;
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let flow = "flowcontrol.apiserver.k8s.io";
    let (verb, object) = match scene.rng.below(6) {
        0 => ("get", Object::core("namespaces", "kube-system", "kube-system")),
        1 => ("get", Object::core("endpoints", "default", "kubernetes")),
        2 => ("get", Object::of(flow, "flowschemas", "", "workload-leader-election")),
        3 => ("get", Object::of(flow, "prioritylevelconfigurations", "", "leader-election")),
        4 => ("list", Object::of("rbac.authorization.k8s.io", "clusterroles", "", "")),
        _ => {
            let lease = Object::of(LEASES, "leases", "kube-system", "apiserver-eqbvkbmyi5jl");
            ("update", lease.at(&uid, &rv))
        }
    };
    scene.request(&Request::object(caller, verb, object));
}

fn kubelet_config(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
    let name = format!("{}-config", pod.workload);
    let secret = format!("{}-tls", pod.workload);
    let object = match scene.rng.below(6) {
        0 => Object::core("configmaps", pod.namespace, &name),
        1 => Object::core("secrets", pod.namespace, &secret),
        2 => Object::core("configmaps", pod.namespace, "kube-root-ca.crt"),
        3 => Object::core("pods", pod.namespace, &pod.name),
        4 => Object::core("nodes", "", &node.name),
        _ => Object::of("storage.k8s.io", "csinodes", "", &node.name),
    };
    let request = Request::object(&node.kubelet, "get", object);
    scene.request(&Request { query: "resourceVersion=0&timeout=10s", ..request });
}

fn kubelet_token(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
    let account = Object::core("serviceaccounts", pod.namespace, "default").sub("token");
    let issued = format!("JTI={}", scene.rng.uuid());
    let annotations = [("authentication.kubernetes.io/issued-credential-id", issued.as_str())];
    let request = Request::object(&node.kubelet, "create", account);
    scene.request(&Request { annotations: &annotations, ..request });
}

fn node_status(scene: &mut Scene<'_>) {
    let node = scene.rng.pick(&scene.cluster.nodes);
    let now = minute(scene);
    let body = body::node_status(node, scene.rng, now);
    let object = Object::core("nodes", "", &node.name).sub("status");
    let request = Request::object(&node.kubelet, "patch", object);
    scene.request(&Request { query: "timeout=10s", level: "Request", sent: &body, ..request });
}

fn pod_status(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
    let now = minute(scene);
    let body = if scene.rng.chance(400) { body::pod_status(pod, now) } else { String::new() };
    let object = Object::core("pods", pod.namespace, &pod.name).sub("status");
    let level = if body.is_empty() { "Metadata" } else { "Request" };
    let request = Request::object(&node.kubelet, "patch", object);
    scene.request(&Request { level, sent: &body, ..request });
}

fn happening(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
    let (reason, note) = *scene.rng.pick(&[
        ("Pulled", "Container image already present on machine"),
        ("Created", "Created container"),
        ("Started", "Started container"),
        ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
    ]);
    let body = body::happening(pod, reason, note);
    let with_body = scene.rng.chance(300);
    let name = format!("{}.{}", pod.name, scene.rng.hex(16));
    let object = Object::core("events", pod.namespace, &name);
    let request = Request::object(&node.kubelet, "create", object);
    let level = if with_body { "Request" } else { "Metadata" };
    scene.request(&Request { level, sent: if with_body { &body } else { "" }, ..request });
}

fn schedule(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let cluster = scene.cluster;
    if scene.rng.chance(500) {
        // A controller makes the pod …
        let Some(caller) = cluster.controllers.get(1) else { return };
        let body = body::pod(pod);
        let object = Object::core("pods", pod.namespace, &pod.name);
        let request = Request::object(caller, "create", object);
        return scene.request(&Request { level: "Request", sent: &body, ..request });
    }
    // … and the scheduler binds it to a node.
    let object = Object::core("pods", pod.namespace, &pod.name).sub("binding");
    scene.request(&Request::object(&cluster.scheduler, "create", object));
}

fn gitops(scene: &mut Scene<'_>) {
    let objects =
        if scene.rng.chance(200) { scene.rng.between(60, 150) } else { scene.rng.between(15, 50) };
    let body = body::application_status(scene.rng, &scene.cluster.pods, objects);
    let pod = some_pod(scene.cluster, scene.rng);
    let (uid, rv) = (scene.rng.uuid(), version(scene.rng));
    let object = Object {
        version: "v1alpha1",
        ..Object::of("argoproj.io", "applications", "argocd", pod.namespace)
    };
    let request = Request::object(&scene.cluster.gitops, "patch", object.at(&uid, &rv));
    scene.request(&Request { level: "Request", sent: &body, ..request });
}

fn pipeline(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let runner = scene.rng.pick(&cluster.runners);
    let job = format!("runner-{}-project-{}", scene.rng.suffix(8), scene.rng.between(10, 99));
    let pod = some_pod(cluster, scene.rng);
    match scene.rng.below(6) {
        0 => {
            let job_pod = Pod { namespace: "ci", workload: "build", name: job, ..pod.clone() };
            let body = body::pod(&job_pod);
            let object = Object::core("pods", "ci", &job_pod.name);
            let request = Request::object(runner, "create", object);
            scene.request(&Request { level: "Request", sent: &body, ..request });
        }
        1 | 2 => scene.request(&Request::object(runner, "get", Object::core("pods", "ci", &job))),
        3 => {
            // What a job needs, and nothing else.
            let name = *scene.rng.pick(&["registry-credentials", "deploy-key"]);
            scene.request(&Request::object(runner, "get", Object::core("secrets", "ci", name)));
        }
        4 => {
            let build = scene.rng.between(1, 400);
            let body = body::rollout(pod.workload, build);
            let object = Object::of("apps", "deployments", pod.namespace, pod.workload);
            let request = Request::object(runner, "patch", object);
            let query = "fieldManager=kubectl-set";
            scene.request(&Request { level: "Request", query, sent: &body, ..request });
        }
        _ => scene.request(&Request::object(runner, "delete", Object::core("pods", "ci", &job))),
    }
}

fn probe(scene: &mut Scene<'_>) {
    let path = *scene.rng.pick(&["/livez", "/readyz", "/healthz", "/version", "/metrics"]);
    let cluster = scene.cluster;
    let caller = if path == "/metrics" { &cluster.prometheus } else { &cluster.probe };
    scene.request(&Request::new(caller, "get", Target::Path(path)));
}

fn dashboard(scene: &mut Scene<'_>) {
    let pod = some_pod(scene.cluster, scene.rng);
    let object = match scene.rng.below(4) {
        0 => Object::core("pods", pod.namespace, ""),
        1 => Object::of("apps", "deployments", pod.namespace, ""),
        2 => Object::core("events", pod.namespace, ""),
        _ => Object::core("namespaces", "", ""),
    };
    let request = Request::object(&scene.cluster.dashboard, "list", object);
    scene.request(&Request { query: "limit=500", ..request });
}

/// Look before you create: 404 is how controllers find out that something is not there yet.
fn missing(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let operator = scene.rng.pick(&cluster.operators);
    let pod = some_pod(cluster, scene.rng);
    let name = format!("{}-canary", pod.workload);
    let message = format!("configmaps \"{name}\" not found");
    let object = Object::core("configmaps", pod.namespace, &name);
    scene.request(&Request::object(&operator.caller, "get", object).not_found(&message));
}

fn watch(scene: &mut Scene<'_>) {
    let number = scene.rng.below(u64::from(u32::MAX));
    let watch = u32::try_from(number).unwrap_or(0);
    let (caller, object) = watched(scene.cluster, watch);
    // A stream that is joined in the middle begins with ends of watches that nobody saw start.
    if scene.rng.chance(200) {
        let (audit_id, age) = (scene.audit_id(), scene.rng.between(300, 600));
        let received = scene.now.minus(Duration::from_secs(age));
        return end_watch(scene, &WatchEnd { watch, audit_id, received });
    }
    scene.watch(&watch_request(caller, object), watch);
}

/// The end of a watch.
pub(crate) fn end_watch(scene: &mut Scene<'_>, end: &WatchEnd) {
    let (caller, object) = watched(scene.cluster, end.watch);
    let request = watch_request(caller, object);
    scene.stage(&request, "ResponseComplete", &end.audit_id, end.received, scene.now);
}

fn watch_request<'a>(caller: &'a Caller, object: Object<'a>) -> Request<'a> {
    let query = "allowWatchBookmarks=true&resourceVersion=48210933&timeout=7m31s&watch=true";
    Request { query, ..Request::object(caller, "watch", object) }
}

/// Who watches what, by number.
fn watched(cluster: &Cluster, watch: u32) -> (&Caller, Object<'static>) {
    let number = watch as usize;
    let caller = match number % 3 {
        0 => cluster.nodes.get(number / 3 % cluster.nodes.len()).map(|node| &node.kubelet),
        1 => cluster.controllers.get(number / 3 % cluster.controllers.len()),
        _ => cluster.operators.get(number / 3 % cluster.operators.len()).map(|o| &o.caller),
    };
    let object = match number / 7 % 5 {
        0 => Object::core("pods", "", ""),
        1 => Object::core("services", "", ""),
        2 => Object::of("node.k8s.io", "runtimeclasses", "", ""),
        3 => Object::of("apps", "deployments", "", ""),
        _ => Object::core("configmaps", "kube-system", ""),
    };
    (caller.unwrap_or(&cluster.scheduler), object)
}

/// Small mishaps that every cluster has, at a rate that does not grow with it.
pub(crate) fn background(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let pod = some_pod(cluster, scene.rng);
    if scene.rng.chance(300) {
        // A token that has expired, on a machine somewhere in the office.
        let ip = format!("10.8.9.{}", scene.rng.between(2, 250));
        let caller = Caller {
            username: String::new(),
            user: "{}".to_owned(),
            source_ips: format!("[\"{ip}\"]"),
            user_agent: "kubectl/v1.33.1 (darwin/arm64) kubernetes/8adc0f0".to_owned(),
            reason: String::new(),
        };
        let failure = Some(Failure {
            reason: "Unauthorized",
            message: "Authentication failed, attempted: bearer",
        });
        let request = Request::object(&caller, "list", Object::core("pods", pod.namespace, ""));
        let decision = Decision::None;
        return scene.failed_login(&Request { code: 401, failure, decision, ..request });
    }
    if scene.rng.chance(200) {
        let caller = anonymous("10.20.0.5", "Go-http-client/2.0", "");
        let message = "forbidden: User \"system:anonymous\" cannot get path \"/\"";
        let request = Request::new(&caller, "get", Target::Path("/")).forbidden(message);
        return scene.request(&request);
    }
    // Somebody's service account lacks a permission, and its library asks anyway.
    let Some(node) = cluster.nodes.get(pod.node) else { return };
    let agent = format!("{}/1.42 Go-http-client/2.0", pod.workload);
    let placed = Some((node, pod.workload));
    let caller = super::cluster::service_account(
        scene.rng,
        pod.namespace,
        pod.workload,
        placed,
        &pod.ip,
        &agent,
    );
    let message = format!(
        "endpoints is forbidden: User \"{}\" cannot list resource \"endpoints\" in API group \"\" in \
         the namespace \"{}\"",
        caller.username, pod.namespace
    );
    let object = Object::core("endpoints", pod.namespace, "");
    scene.request(&Request::object(&caller, "list", object).forbidden(&message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(ACTIVITIES.iter().map(|activity| activity.share).sum::<u32>(), 1_000);
    }
}
