//! The suggested role against an evaluator of RBAC: it allows each request that was made, and nothing besides.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use tripline::engine::{
    diagnostic::SourceText,
    permissions::{About, Uses, Who, suggest, yaml},
    time::EventTime,
    yaml::{Node, NodeKind, parse},
};

use super::{
    EventText, START,
    evaluator::{Request, is_allowed},
};
use crate::ledger::{Recording, rules};

const USER: &str = "system:serviceaccount:shop:web";

const NAMESPACES: [&str; 3] = ["shop", "dev", ""];

/// Group, resource, subresource.
const PLACES: [(&str, &str, &str); 6] = [
    ("", "pods", ""),
    ("", "pods", "log"),
    ("", "secrets", ""),
    ("apps", "deployments", ""),
    ("apps", "deployments", "scale"),
    // What a client asked for that may do everything; a rule with it would allow everything.
    ("", "*", ""),
];

const VERBS: [&str; 6] = ["get", "list", "update", "patch", "delete", "create"];

const NAMES: [&str; 7] =
    ["db", "leader", "config", "web-7d9f8c6b5-x2x9p", "a", "b", "nobody-asked-for-it"];

const REASONS: [&str; 3] = [
    r#"RBAC: allowed by ClusterRoleBinding \"web\" of ClusterRole \"web\" to ServiceAccount \"web/shop\""#,
    r#"RBAC: allowed by RoleBinding \"edit/shop\" of Role \"edit\" to Group \"system:serviceaccounts:shop\""#,
    "",
];

/// One request that was made.
#[derive(Clone, Debug)]
struct Made {
    day: u32,
    place: usize,
    verb: usize,
    namespace: usize,
    name: usize,
    reason: usize,
    path: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let numbers = (0..3_u32, 0..6_usize, 0..6_usize, 0..3_usize, 0..6_usize, 0..3_usize);
    (numbers, proptest::bool::weighted(0.1)).prop_map(
        |((day, place, verb, namespace, name, reason), path)| Made {
            day,
            place,
            verb,
            namespace,
            name,
            reason,
            path,
        },
    )
}

impl Made {
    fn has_name(&self) -> bool {
        !self.path && !matches!(VERBS[self.verb], "list" | "create")
    }

    fn request(&self) -> Request {
        let (group, resource, subresource) = PLACES[self.place];
        let of_resource = |text: &str| if self.path { String::new() } else { text.to_owned() };
        Request {
            user: USER.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            verb: VERBS[self.verb].to_owned(),
            group: of_resource(group),
            resource: of_resource(resource),
            subresource: of_resource(subresource),
            namespace: of_resource(NAMESPACES[self.namespace]),
            name: if self.has_name() { NAMES[self.name].to_owned() } else { String::new() },
            path: if self.path { "/metrics".to_owned() } else { String::new() },
        }
    }

    fn is_hidden(&self) -> bool {
        !self.path && PLACES[self.place].1 == "*"
    }
}

fn value_of(node: &Node) -> Value {
    match &node.kind {
        NodeKind::List(items) => items.iter().map(value_of).collect(),
        NodeKind::Map(entries) => {
            entries.iter().map(|(key, value)| (key.text.clone(), value_of(value))).collect()
        }
        NodeKind::Null => Value::Null,
        _ => Value::from(node.scalar_text().unwrap()),
    }
}

/// The suggested objects, by way of events, the ledger's rows and the printed YAML.
fn suggested(made: &[Made]) -> Vec<Value> {
    let start = EventTime::parse(START).unwrap();
    let mut recording = Recording::new(&rules(super::RULES), start);
    let mut made: Vec<(usize, &Made)> = made.iter().enumerate().collect();
    made.sort_by_key(|(index, made)| (made.day, *index));
    for (index, one) in made {
        let at =
            start.plus(std::time::Duration::from_secs(u64::from(one.day) * 86_400 + index as u64));
        let request = one.request();
        let event = EventText {
            id: index,
            at,
            user: USER,
            groups: if one.reason == 2 { &["system:masters"] } else { &["system:authenticated"] },
            request: &request,
            reason: REASONS[one.reason],
            is_allowed: true,
        };
        recording.read(0, at, &[event.to_string().as_bytes()]);
    }
    recording.rest(5);
    let mut uses = Uses::default();
    recording.rows.iter().filter_map(|row| row.usage()).for_each(|usage| uses.add(usage));
    let who = Who::parse("serviceaccount:shop/web").unwrap();
    let text = yaml(&who, &suggest(&who, &uses), &About::default());
    let nodes = parse(&SourceText::new("role.yaml", text.as_str())).unwrap();
    nodes.iter().map(value_of).collect()
}

/// The names to which requests like one are limited, by plain loops; `None`: any name.
fn limits<'m>(made: &'m [Made], like: &Made) -> Option<BTreeSet<&'m str>> {
    let alike: Vec<&Made> = made
        .iter()
        .filter(|one| {
            !one.path
                && (one.place, one.verb, one.namespace) == (like.place, like.verb, like.namespace)
        })
        .collect();
    if !like.has_name() {
        return None;
    }
    let names: BTreeSet<&str> = alike.iter().map(|one| NAMES[one.name]).collect();
    let mut days_most = 0;
    for reason in 0..3 {
        let of_reason = || alike.iter().filter(move |one| one.reason == reason);
        let days: BTreeSet<u32> = of_reason().map(|one| one.day).collect();
        days_most = days_most.max(days.len());
        for day in days {
            let of_day = of_reason().filter(|one| one.day == day);
            if of_day.map(|one| one.name).collect::<BTreeSet<_>>().len() > 4 {
                return None;
            }
        }
    }
    let is_stable = names.len() <= 5 && days_most >= 2 && !names.contains(NAMES[3]);
    is_stable.then_some(names)
}

/// Whether some request that was made explains why one is allowed.
fn is_explained(made: &[Made], request: &Request) -> bool {
    made.iter().filter(|one| !one.is_hidden()).any(|one| {
        let own = one.request();
        let is_alike = own.verb == request.verb
            && own.path == request.path
            && (&own.group, &own.resource, &own.subresource)
                == (&request.group, &request.resource, &request.subresource);
        // What was done in all of the cluster may be done in each namespace.
        let is_there = own.namespace.is_empty() || own.namespace == request.namespace;
        let has_name =
            || limits(made, one).is_none_or(|names| names.contains(request.name.as_str()));
        is_alike && is_there && has_name()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn it_allows_what_was_done_and_nothing_besides(made in proptest::collection::vec(made(), 1..40)) {
        let objects = suggested(&made);
        for one in made.iter().filter(|one| !one.is_hidden()) {
            let request = one.request();
            prop_assert!(is_allowed(&objects, &request), "{request:?} is not allowed by {objects:#?}");
        }
        let like = Request { path: String::new(), ..made[0].request() };
        for (group, resource, subresource) in PLACES {
            for namespace in NAMESPACES.into_iter().chain(["elsewhere"]) {
                for verb in VERBS.into_iter().chain(["deletecollection", "*"]) {
                    for name in NAMES.into_iter().chain([""]) {
                        let request = Request {
                            verb: verb.to_owned(),
                            group: group.to_owned(),
                            resource: resource.to_owned(),
                            subresource: subresource.to_owned(),
                            namespace: namespace.to_owned(),
                            name: name.to_owned(),
                            ..like.clone()
                        };
                        let expected = is_explained(&made, &request);
                        prop_assert_eq!(is_allowed(&objects, &request), expected, "{:?} by {:#?}", request, objects);
                    }
                }
            }
        }
        for path in ["/metrics", "/metrics/slis", "/"] {
            let request = Request {
                verb: "get".to_owned(), path: path.to_owned(), resource: String::new(),
                group: String::new(), subresource: String::new(), namespace: String::new(),
                name: String::new(), ..like.clone()
            };
            let expected = is_explained(&made, &request);
            prop_assert_eq!(is_allowed(&objects, &request), expected, "{:?}", request);
        }
    }
}

#[test]
fn what_is_asked_besides_a_request_is_said() {
    let rbac = "rbac.authorization.k8s.io";
    let certificates = "certificates.k8s.io";
    for (verb, group, resource, subresource, note) in [
        ("create", rbac, "rolebindings", "", "the verb `bind`"),
        ("patch", rbac, "clusterroles", "", "the verb `escalate`"),
        ("update", certificates, "certificatesigningrequests", "approval", "the verb `approve`"),
        ("update", certificates, "certificatesigningrequests", "status", "the verb `sign`"),
        ("get", "", "pods", "exec", "pods/exec: Kubernetes 1.35"),
        ("get", "", "pods", "portforward", "pods/portforward: Kubernetes 1.35"),
        ("create", "", "pods", "exec", ""),
        ("get", rbac, "rolebindings", "", ""),
        ("update", "", "configmaps", "", ""),
    ] {
        let start = EventTime::parse(START).unwrap();
        let mut recording = Recording::new(&rules(super::RULES), start);
        let request = Request {
            user: USER.to_owned(),
            groups: Vec::new(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: "shop".to_owned(),
            name: String::new(),
            path: String::new(),
        };
        let event = EventText {
            id: 1,
            at: start,
            user: USER,
            groups: &["system:authenticated"],
            request: &request,
            reason: REASONS[0],
            is_allowed: true,
        };
        recording.read(0, start, &[event.to_string().as_bytes()]);
        recording.rest(5);
        let mut uses = Uses::default();
        recording.rows.iter().filter_map(|row| row.usage()).for_each(|usage| uses.add(usage));
        let who = Who::parse("serviceaccount:shop/web").unwrap();
        let text = yaml(&who, &suggest(&who, &uses), &About::default());
        let asked = text.matches("which is left out").count() + text.matches("1.35").count();
        assert_eq!(asked, usize::from(!note.is_empty()), "{text}");
        assert!(text.contains(note), "{note} is not in\n{text}");
    }
}
