//! Request and response objects, written as text.
//!
//! Most events carry none. The few that do make the long tail of sizes: a status of a node has some
//! kilobytes, the status of a GitOps application up to thirty.

use std::fmt::Write as _;

use super::{
    cluster::{Node, Pod},
    rng::Rng,
};

/// What a kubelet sends every ten seconds and when something changes: the conditions of its node.
pub(crate) fn node_status(node: &Node, rng: &mut Rng, minute: i64) -> String {
    let mut body = String::with_capacity(1_400);
    body.push_str("{\"status\":{\"$setElementOrder/conditions\":[");
    let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    for (index, condition) in conditions.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(body, "{comma}{{\"type\":\"{condition}\"}}");
    }
    body.push_str("],\"conditions\":[");
    for (index, condition) in conditions.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"lastHeartbeatTime\":\"{}\",\"type\":\"{condition}\"}}",
            minute_text(minute)
        );
    }
    body.push_str("],\"images\":[");
    for index in 0..8 {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"names\":[\"registry.shop.example/base@sha256:{}\"],\"sizeBytes\":{}}}",
            rng.hex(64),
            rng.between(10_000_000, 900_000_000),
        );
    }
    let _ = write!(
        body,
        "],\"addresses\":[{{\"address\":\"{}\",\"type\":\"InternalIP\"}}]}}}}",
        node.ip,
    );
    body
}

/// A pod as its controller sends it.
pub(crate) fn pod(pod: &Pod) -> String {
    format!(
        "{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"generateName\":\"{workload}-\",\
         \"namespace\":\"{namespace}\",\"labels\":{{\"app\":\"{workload}\"}}}},\"spec\":{{\
         \"containers\":[{{\"name\":\"{workload}\",\"image\":\"registry.shop.example/{namespace}/\
         {workload}:1.42.0\",\"ports\":[{{\"containerPort\":8080,\"protocol\":\"TCP\"}}],\
         \"resources\":{{\"limits\":{{\"memory\":\"512Mi\"}},\"requests\":{{\"cpu\":\"100m\"}}}},\
         \"securityContext\":{{\"allowPrivilegeEscalation\":false,\"runAsNonRoot\":true,\
         \"capabilities\":{{\"drop\":[\"ALL\"]}}}}}}],\"restartPolicy\":\"Always\",\
         \"serviceAccountName\":\"default\",\"automountServiceAccountToken\":false}}}}",
        workload = pod.workload,
        namespace = pod.namespace,
    )
}

/// What a kubelet says about a pod of its own.
pub(crate) fn pod_status(pod: &Pod, minute: i64) -> String {
    format!(
        "{{\"metadata\":{{\"uid\":\"{uid}\"}},\"status\":{{\"$setElementOrder/conditions\":[\
         {{\"type\":\"Initialized\"}},{{\"type\":\"Ready\"}},{{\"type\":\"ContainersReady\"}}],\
         \"conditions\":[{{\"lastTransitionTime\":\"{time}\",\"status\":\"True\",\"type\":\"Ready\"\
         }}],\"containerStatuses\":[{{\"containerID\":\"containerd://{uid}\",\"name\":\
         \"{workload}\",\"ready\":true,\"restartCount\":0,\"state\":{{\"running\":{{\"startedAt\":\
         \"{time}\"}}}}}}],\"podIP\":\"{ip}\"}}}}",
        uid = pod.uid,
        time = minute_text(minute),
        workload = pod.workload,
        ip = pod.ip,
    )
}

/// A patch of a deployment by a person or a pipeline.
pub(crate) fn rollout(workload: &str, build: u64) -> String {
    format!(
        "{{\"spec\":{{\"template\":{{\"spec\":{{\"containers\":[{{\"name\":\"{workload}\",\
         \"image\":\"registry.shop.example/{workload}:1.42.{build}\"}}]}}}}}}}}"
    )
}

/// The status of a GitOps application that looks after so many objects, about 170 bytes each.
pub(crate) fn application_status(rng: &mut Rng, pods: &[Pod], objects: u64) -> String {
    let mut body = String::with_capacity(usize::try_from(objects).unwrap_or(0) * 180 + 300);
    body.push_str("{\"status\":{\"health\":{\"status\":\"Healthy\"},\"resources\":[");
    for index in 0..objects {
        let pod = rng.pick(pods);
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(
            body,
            "{comma}{{\"group\":\"apps\",\"version\":\"v1\",\"kind\":\"Deployment\",\"namespace\":\
             \"{}\",\"name\":\"{}-{index}\",\"status\":\"Synced\",\"health\":{{\"status\":\
             \"Healthy\"}}}}",
            pod.namespace, pod.workload
        );
    }
    let _ =
        write!(body, "],\"sync\":{{\"revision\":\"{}\",\"status\":\"Synced\"}}}}}}", rng.hex(40));
    body
}

/// An event object: something happened to a pod.
pub(crate) fn happening(pod: &Pod, reason: &str, note: &str) -> String {
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"{name}.17c1\",\
         \"namespace\":\"{namespace}\"}},\"involvedObject\":{{\"kind\":\"Pod\",\"namespace\":\
         \"{namespace}\",\"name\":\"{name}\",\"uid\":\"{uid}\",\"apiVersion\":\"v1\"}},\"reason\":\
         \"{reason}\",\"message\":\"{note}\",\"source\":{{\"component\":\"kubelet\"}},\"type\":\
         \"Normal\",\"count\":1}}",
        name = pod.name,
        namespace = pod.namespace,
        uid = pod.uid,
    )
}

/// `2026-01-05T22:14:00Z`, for times inside objects.
fn minute_text(minute: i64) -> String {
    let text = crate::engine::time::EventTime::from_millis(minute * 60_000).rfc3339();
    text.get(..19).map_or_else(String::new, |head| format!("{head}Z"))
}
