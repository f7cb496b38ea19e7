//! Stories that look like any other day's work, to whoever does not know what is usual.

use std::time::Duration;

use super::{QUICK, Story};
use crate::generate::{
    cluster::Person,
    event::{Caller, Object, Request},
    people::{at_work, exec_into, zones},
};

pub(super) const FIRST_EXEC: Story = Story {
    id: "first-exec",
    title: "A shell where this person never had one",
    description: "With their own laptop, in office hours if anybody is at work, somebody opens a shell in \
                  a namespace of another team for the first time.",
    expected_rules: &["first_exec_in_namespace"],
    related_rules: &["exec_outside_business_hours"],
    needs_history: true,
    lasts: QUICK,
    play: |scene| {
        let zones = zones();
        let is_here = |person: &&Person| {
            zones.get(person.office).is_some_and(|zone| at_work(zone, scene.now))
        };
        let people = &scene.cluster.people;
        let Some(who) = people.iter().find(is_here).or(people.last()) else { return };
        let other = ["analytics", "catalog", "mail"];
        let other = other.iter().find(|namespace| !who.namespaces.contains(namespace));
        let pod = scene.cluster.pod_in(scene.rng, other.unwrap_or(&"ml")).clone();
        let query = "command=sh&stdin=true&stdout=true&tty=true";
        exec_into(scene, who, pod.namespace, &pod.name, query);
    },
};

pub(super) const NEW_CLIENT: Story = Story {
    id: "new-client",
    title: "A controller that suddenly speaks kubectl",
    description: "The token of the secrets operator, which reads secrets all day and may, is used with \
                  another client from the operator's own node.",
    expected_rules: &["service_account_hand_tool", "rare_secret_client"],
    related_rules: &[],
    needs_history: true,
    lasts: QUICK,
    play: |scene| {
        let Some(operator) = scene.cluster.operators.get(3) else { return };
        let caller = Caller {
            user_agent: "kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc".to_owned(),
            ..operator.caller.clone()
        };
        for name in ["payment-gateway-tls", "card-vault-tls"] {
            let secret = Object::core("secrets", "payments", name);
            scene.request(&Request::object(&caller, "get", secret));
            scene.pause(900);
        }
    },
};

pub(super) const CI_SPIKE: Story = Story {
    id: "ci-spike",
    title: "A pipeline that reads its few secrets again and again",
    description: "A CI account that needs two secrets now and then reads those two fifty times within \
                  seconds: a job that prints them, or somebody who waits for them to change.",
    expected_rules: &["secret_read_spike"],
    related_rules: &[],
    needs_history: true,
    lasts: QUICK,
    play: |scene| {
        let Some(runner) = scene.cluster.runners.first() else { return };
        for number in 0..50 {
            let name = if number % 2 == 0 { "registry-credentials" } else { "deploy-key" };
            scene.request(&Request::object(runner, "get", Object::core("secrets", "ci", name)));
            scene.pause(100);
        }
    },
};

pub(super) const SILENCE: Story = Story {
    id: "silence",
    title: "The audit log goes quiet",
    description: "Somebody on the control plane turns the audit log off for twenty-five minutes. \
                  Everything goes on, and nothing of it is written.",
    expected_rules: &["audit_silence"],
    related_rules: &["cluster_audit_silence"],
    needs_history: true,
    lasts: SILENCE_SPAN,
    play: |scene| {
        *scene.silent_until = scene.now.plus(SILENCE_SPAN);
    },
};

/// How long nothing is written.
const SILENCE_SPAN: Duration = Duration::from_secs(25 * 60);
