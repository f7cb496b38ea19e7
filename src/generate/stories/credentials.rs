//! Stories about secrets, tokens, certificates and logins.

use std::time::Duration;

use super::{QUICK, Story};
use crate::generate::{
    cluster::{Cluster, service_account, service_account_with},
    event::{Caller, Decision, Failure, Object, Request},
    scene::Scene,
};

pub(super) const SECRET_BURST: Story = Story {
    id: "secret-burst",
    title: "A laptop reads every secret it can",
    description: "A developer's kubectl, driven by a script, reads one secret after another in the \
                  namespaces of their team.",
    expected_rules: &["secret_read_burst"],
    related_rules: &["secret_enumeration"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(1) else { return };
        for number in 0..24 {
            let namespace = who.namespaces.get(number % 2).copied().unwrap_or("shop");
            let name =
                format!("{}-config-{number}", scene.cluster.pod_in(scene.rng, namespace).workload);
            scene.request(&Request::object(
                &who.caller,
                "get",
                Object::core("secrets", namespace, &name),
            ));
            scene.pause(150);
        }
    },
};

pub(super) const SECRET_ENUMERATION: Story = Story {
    id: "secret-enumeration",
    title: "A broken-into pod looks for secrets everywhere",
    description: "The service account of an image resizer lists secrets in one namespace after \
                  another; most are refused, some are not.",
    expected_rules: &["secret_enumeration"],
    related_rules: &[
        "secret_read_denied_burst",
        "secret_read_burst",
        "secrets_listed",
        "secret_scripting_client",
        "forbidden_burst",
        "service_account_hand_tool",
    ],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let pod = scene.cluster.pod_in(scene.rng, "media").clone();
        let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
        let placed = Some((node, pod.workload));
        let caller = service_account(
            scene.rng,
            "media",
            "thumbnails",
            placed,
            &pod.ip,
            "python-requests/2.32.3",
        );
        for (index, namespace) in Cluster::team_namespaces().enumerate() {
            let request = Request::object(&caller, "list", Object::core("secrets", namespace, ""));
            let request = Request { query: "limit=500", ..request };
            if index % 4 == 3 {
                scene.request(&request);
            } else {
                let message = format!(
                    "secrets is forbidden: User \"{}\" cannot list resource \"secrets\" in API group \
                     \"\" in the namespace \"{namespace}\"",
                    caller.username
                );
                scene.request(&request.forbidden(&message));
            }
            scene.pause(200);
        }
    },
};

pub(super) const MINTED_TOKEN: Story = Story {
    id: "minted-token",
    title: "A token of a powerful service account is made, then used elsewhere",
    description: "Somebody asks for a token of a controller in kube-system; seconds later that very \
                  token lists secrets from another address.",
    expected_rules: &["service_account_token_minted", "minted_token_used"],
    related_rules: &[
        "secrets_listed",
        "service_account_from_public_address",
        "service_account_token_shared",
        "secret_scripting_client",
        "service_account_hand_tool",
    ],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(2) else { return };
        let name = "clusterrole-aggregation-controller";
        let credential = format!("JTI={}", scene.rng.uuid());
        let account = Object::core("serviceaccounts", "kube-system", name).sub("token");
        let annotations =
            [("authentication.kubernetes.io/issued-credential-id", credential.as_str())];
        let body = "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\
                    \":{},\"spec\":{\"audiences\":null,\"expirationSeconds\":86400,\"boundObjectRef\
                    \":null},\"status\":{\"token\":\"\",\"expirationTimestamp\":null}}";
        let request = Request::object(&who.caller, "create", account);
        let request = Request { level: "Request", sent: body, ..request };
        scene.request(&Request { annotations: &annotations, ..request });
        scene.pause(1_500);
        let caller = service_account_with(
            scene.rng,
            "kube-system",
            name,
            &credential,
            None,
            "198.51.100.23",
            "curl/8.5.0",
        );
        for resource in ["secrets", "clusterroles"] {
            let group = if resource == "secrets" { "" } else { "rbac.authorization.k8s.io" };
            scene.request(&Request::object(&caller, "list", Object::of(group, resource, "", "")));
            scene.pause(400);
        }
    },
};

pub(super) const STOLEN_TOKEN: Story = Story {
    id: "stolen-token",
    title: "A pod's token is used from the internet",
    description: "The token of a ledger pod, mounted into it by its kubelet, suddenly comes from a \
                  public address.",
    expected_rules: &["service_account_from_public_address", "service_account_token_shared"],
    related_rules: &[],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let pod = scene.cluster.pod_in(scene.rng, "ledger").clone();
        let Some(node) = scene.cluster.nodes.get(pod.node) else { return };
        let placed = Some((node, pod.workload));
        let agent = "ledger/1.42 Go-http-client/2.0";
        let inside = service_account(scene.rng, "ledger", pod.workload, placed, &pod.ip, agent);
        let outside = Caller {
            source_ips: "[\"203.0.113.140\"]".to_owned(),
            user_agent: "Go-http-client/1.1".to_owned(),
            ..inside.clone()
        };
        let name = format!("{}-config", pod.workload);
        let object = Object::core("configmaps", "ledger", &name);
        scene.request(&Request::object(&inside, "get", object));
        scene.pause(1_200);
        for object in [object, Object::core("pods", "ledger", "")] {
            let verb = if object.name.is_empty() { "list" } else { "get" };
            scene.request(&Request::object(&outside, verb, object));
            scene.pause(500);
        }
    },
};

pub(super) const SELF_SIGNED: Story = Story {
    id: "self-signed",
    title: "Somebody signs a certificate for themselves",
    description: "One user asks for a client certificate and approves the request a moment later: a \
                  login that outlives every password change.",
    expected_rules: &["certificate_self_approved"],
    related_rules: &["client_certificate_approved"],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let Some(who) = scene.cluster.people.get(8) else { return };
        let name = "grid-reader";
        let csr = Object::of("certificates.k8s.io", "certificatesigningrequests", "", name);
        let body = "{\"kind\":\"CertificateSigningRequest\",\"apiVersion\":\"certificates.k8s.io/v1\",\
                    \"metadata\":{\"name\":\"grid-reader\"},\"spec\":{\"signerName\":\"kubernetes.io/\
                    kube-apiserver-client\",\"usages\":[\"client auth\"],\"expirationSeconds\":\
                    31536000}}";
        let request = Request::object(&who.caller, "create", csr);
        scene.request(&Request { level: "Request", sent: body, ..request });
        scene.pause(2_000);
        let request = Request::object(&who.caller, "update", csr.sub("approval"));
        scene.request(&Request { level: "Request", sent: body, ..request });
    },
};

pub(super) const LOGIN_SPRAY: Story = Story {
    id: "login-spray",
    title: "Somebody tries stolen tokens",
    description: "Forty logins fail within seconds from one address. The API server audits a failed \
                  login at stage ResponseStarted only.",
    expected_rules: &["login_failures_burst"],
    related_rules: &[],
    needs_history: false,
    lasts: QUICK,
    play: |scene| {
        let caller = Caller {
            username: String::new(),
            user: "{}".to_owned(),
            source_ips: "[\"203.0.113.201\"]".to_owned(),
            user_agent: "python-requests/2.32.3".to_owned(),
            reason: String::new(),
        };
        for _ in 0..40 {
            spray(scene, &caller);
            scene.wait(Duration::from_millis(90));
        }
    },
};

fn spray(scene: &mut Scene<'_>, caller: &Caller) {
    let failure = Some(Failure {
        reason: "Unauthorized",
        message: "Authentication failed, attempted: bearer",
    });
    let request = Request::object(caller, "list", Object::core("namespaces", "", ""));
    scene.failed_login(&Request { code: 401, failure, decision: Decision::None, ..request });
}
