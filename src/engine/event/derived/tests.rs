//! Derived fields of whole events.

use std::sync::Arc;

use super::{super::FieldTable, *};

/// The value of a derived field, as text, for an event with these fields.
#[track_caller]
fn check(name: &str, fields: &[(FieldId, Value<'static>)], expected: Option<&str>) {
    let field = FieldId(u16::try_from(well_known::PATHS.len()).unwrap());
    let mut event = Event::new(field.index() + 1);
    for (field, value) in fields {
        event.push(*field, value.clone());
    }
    let index = index_of(name).unwrap();
    let sources = Sources::new(&FieldTable::new(), Arc::default());
    derive(&mut event, index, field, &sources);
    derive(&mut event, index, field, &sources);
    assert!(event.count(field) <= 1, "computed twice");
    let text = event.first(field).and_then(Value::text).map(Cow::into_owned);
    assert_eq!(text.as_deref(), expected, "{name} of {fields:?}");
}

const fn text(text: &'static str) -> Value<'static> {
    Value::Str(Cow::Borrowed(text))
}

#[test]
fn the_table_is_sorted_and_documented() {
    assert!(DERIVATIONS.is_sorted_by_key(|derivation| derivation.field.path));
    assert!(DERIVATIONS.len() <= 32);
    for Derivation { field, .. } in DERIVATIONS {
        assert!(field.is_derived && field.doc.ends_with('.'), "{}", field.path);
    }
    for Derivation { field, .. } in DERIVATIONS.iter().filter(|one| one.field.kind != Tree) {
        let text = field.describe();
        let says_when = text.contains("absent") || text.contains("Absent");
        assert!(says_when || text.contains("Only at stage"), "{}: {text}", field.path);
        let always = text.contains("Never absent");
        assert_eq!(always, field.presence == Always, "{}: {text}", field.path);
    }
}

#[test]
fn who_acted() {
    use well_known::{CREDENTIAL_ID, IMPERSONATED_USERNAME, RESPONSE_CODE, USERNAME};
    for (name, kind) in [
        ("alice@example.com", "human"),
        ("kubernetes-admin", "human"),
        ("system:admin", "human"),
        ("system:serviceaccount:shop:web", "serviceaccount"),
        ("system:node:n1", "node"),
        ("system:kube-scheduler", "system"),
        ("eks:node-manager", "system"),
        ("system:anonymous", "anonymous"),
    ] {
        check("actor.id", &[(USERNAME, text(name))], Some(name));
        check("actor.kind", &[(USERNAME, text(name))], Some(kind));
        let human = if kind == "human" { "true" } else { "false" };
        check("actor.human", &[(USERNAME, text(name))], Some(human));
    }
    let impersonating = [(USERNAME, text("eve")), (IMPERSONATED_USERNAME, text("system:node:n"))];
    check("actor.id", &impersonating, Some("system:node:n"));
    check("actor.kind", &impersonating, Some("human"));
    check("actor.human", &impersonating, Some("true"));
    check("actor.caller", &impersonating, Some("eve"));
    let web = "system:serviceaccount:shop:web";
    for (acts_as, kind) in [
        ("system:anything", "serviceaccount"),
        ("system:node:n", "serviceaccount"),
        ("system:anonymous", "serviceaccount"),
        ("alice", "human"),
    ] {
        let acting = [(USERNAME, text(web)), (IMPERSONATED_USERNAME, text(acts_as))];
        check("actor.kind", &acting, Some(kind));
        check("actor.human", &acting, Some(if kind == "human" { "true" } else { "false" }));
    }
    check("actor.caller", &[(RESPONSE_CODE, Value::Int(401))], Some("system:anonymous"));
    check("actor.on_behalf_of", &impersonating, Some("eve"));
    check("actor.on_behalf_of", &[(USERNAME, text("eve"))], None);
    check("actor.id", &[(RESPONSE_CODE, Value::Int(401))], Some("system:anonymous"));
    check("actor.kind", &[(RESPONSE_CODE, Value::Int(401))], Some("anonymous"));
    check("actor.id", &[], None);
    check("actor.kind", &[], Some("unknown"));
    check("actor.credential_id", &[(CREDENTIAL_ID, text("JTI=1"))], Some("JTI=1"));
}

#[test]
fn whose_name_is_confirmed() {
    use well_known::{CREDENTIAL_ID, GROUPS, IMPERSONATED_USERNAME, RESPONSE_CODE, USERNAME};
    let own = [
        ("system:serviceaccount:shop:web", "system:serviceaccounts"),
        ("system:node:n1", "system:nodes"),
        ("system:apiserver", "system:masters"),
    ];
    for (name, group) in own {
        let by = |groups: &[&'static str]| {
            let groups = groups.iter().map(|group| (GROUPS, text(group)));
            [(USERNAME, text(name))].into_iter().chain(groups).collect::<Vec<_>>()
        };
        check("actor.confirmed", &by(&[]), Some(name));
        check("actor.confirmed", &by(&["system:authenticated", group]), Some(name));
        check("actor.confirmed", &by(&["dev", "system:authenticated"]), None);
        let acts = [by(&[group]), vec![(IMPERSONATED_USERNAME, text("alice"))]].concat();
        check("actor.confirmed", &acts, Some(name));
        // Service accounts have tokens only, whatever groups a certificate says.
        let is_account = name.starts_with("system:serviceaccount:");
        for (id, confirmed) in [("JTI=1", true), ("X509SHA256=1", !is_account)] {
            let with = [by(&[group]), vec![(CREDENTIAL_ID, text(id))]].concat();
            check("actor.confirmed", &with, confirmed.then_some(name));
        }
    }
    for (name, confirmed) in [
        ("alice", true),
        ("Alice@Example.com", true),
        ("kubernetes-admin", true),
        ("system:kube-scheduler", true),
        ("system:kube-evil", false),
        ("SYSTEM:kube-scheduler", false),
        ("system:serviceaccount:Kube-system:x", false),
        ("system:serviceaccount:\u{212a}ube-system:x", false),
    ] {
        let groups = (GROUPS, text("system:authenticated"));
        let expected = confirmed.then_some(name);
        check("actor.confirmed", &[(USERNAME, text(name)), groups], expected);
    }
    let web = (USERNAME, text("system:serviceaccount:shop:web"));
    check("actor.namespace", std::slice::from_ref(&web), Some("shop"));
    check("actor.namespace", &[web.clone(), (IMPERSONATED_USERNAME, text("alice"))], Some("shop"));
    check("actor.namespace", &[web, (GROUPS, text("system:authenticated"))], None);
    check("actor.namespace", &[(USERNAME, text("system:node:n1"))], None);
    check("actor.namespace", &[], None);
    // Where groups are not recorded, too: Kubernetes has no such name.
    check("actor.confirmed", &[(USERNAME, text("SYSTEM:node:n1"))], None);
    check("actor.confirmed", &[(IMPERSONATED_USERNAME, text("system:node:n1"))], None);
    check("actor.confirmed", &[(RESPONSE_CODE, Value::Int(401))], None);
    check("actor.confirmed", &[], None);
}

#[test]
fn a_control_plane_is_confirmed_by_who_lists_its_name() {
    use super::super::{Identities, Identity, NamePattern};
    use well_known::{GROUPS, USERNAME};
    let until = EventTime::parse("2026-02-01T00:00:00Z");
    let exact = |names: &[&str]| {
        names.iter().map(|name| NamePattern::Exact((*name).to_owned())).collect::<Vec<_>>()
    };
    let machine = |users| Identity { users, human: Some(false), ..Identity::default() };
    let person = Identity { human: Some(true), ..machine(exact(&["system:person"])) };
    let listed = [
        "eks:new",
        "system:person",
        "system:node:n",
        "system:serviceaccount:a:b",
        "system:bootstrap:x",
        "system:apiserver",
        "aksservice",
    ];
    let entries = vec![
        person,
        machine(exact(&listed)),
        machine(vec![NamePattern::Regex(r"(?is)\Asystem:.*\z".to_owned())]),
        Identity { groups: exact(&["ops"]), ..machine(exact(&["system:in-group"])) },
        Identity { until, ..machine(exact(&["system:ended"])) },
        Identity { groups: exact(&["robots"]), ..machine(Vec::new()) },
    ];
    let identities = Identities::new(entries, FieldId(u16::MAX)).unwrap();
    let sources = Sources::new(&FieldTable::new(), Arc::new(identities));
    let field = FieldId(u16::try_from(well_known::PATHS.len()).unwrap());
    for (name, group, confirmed) in [
        ("eks:new", "dev", true),
        ("EKS:new", "dev", false),
        ("eks:other", "dev", false),
        ("eks:other", "robots", false),
        ("system:fits-a-pattern", "dev", false),
        ("system:person", "dev", false),
        ("system:in-group", "ops", true),
        ("system:in-group", "dev", false),
        ("system:ended", "dev", false),
        // They have groups that confirm them.
        ("system:node:n", "dev", false),
        ("system:serviceaccount:a:b", "dev", false),
        ("system:bootstrap:x", "dev", false),
        ("system:apiserver", "dev", false),
        ("aksService", "dev", false),
    ] {
        let mut event = Event::new(field.index() + 1);
        event.time = EventTime::parse("2026-03-01T00:00:00Z").unwrap();
        event.push(USERNAME, text(name));
        event.push(GROUPS, text(group));
        derive(&mut event, index_of("actor.confirmed").unwrap(), field, &sources);
        assert_eq!(event.first_str(field), confirmed.then_some(name), "{name} in {group}");
    }
}

#[test]
fn groups_that_are_cut_speak_against_nobody() {
    use well_known::{GROUPS, USERNAME};
    let of = |is_cut, derived: &str| {
        let field = FieldId(u16::try_from(well_known::PATHS.len()).unwrap());
        let mut event = Event::new(field.index() + 1);
        event.is_cut = is_cut;
        event.push(USERNAME, text("system:node:n1"));
        event.push(GROUPS, text("system:bootstrappers"));
        event.push(GROUPS, Value::Composite);
        let sources = Sources::new(&FieldTable::new(), Arc::default());
        derive(&mut event, index_of(derived).unwrap(), field, &sources);
        event.first_str(field).map(str::to_owned)
    };
    assert_eq!(of(true, "actor.confirmed").as_deref(), Some("system:node:n1"));
    assert_eq!(of(true, "actor.kind").as_deref(), Some("node"));
    assert_eq!(of(false, "actor.confirmed"), None);
    assert_eq!(of(false, "actor.kind").as_deref(), Some("human"));
}

#[test]
fn how_it_ended() {
    use well_known::{DECISION, RESPONSE_CODE};
    for (code, expected) in [
        (101, "success"),
        (200, "success"),
        (401, "denied"),
        (403, "denied"),
        (409, "error"),
        (500, "error"),
    ] {
        // Admission refuses what authorization allowed: the code has the last word.
        let fields = [(RESPONSE_CODE, Value::Int(code)), (DECISION, text("allow"))];
        check("outcome", &fields, Some(expected));
    }
    check("outcome", &[(DECISION, text("allow"))], Some("success"));
    check("outcome", &[(DECISION, text("forbid"))], Some("denied"));
    check("outcome", &[], None);
}

#[test]
fn a_change_is_made_though_its_answer_was_refused() {
    let plain = "/apis/apps/v1/deployments";
    let table = "/apis/apps/v1/deployments?fieldManager=x&include%4Fbject=x";
    let whole = "/apis/apps/v1/deployments?includeObject=Object";
    let list =
        "you requested PartialObjectMetadataList, but the requested object is not a list (*v1.Pod)";
    let no_table =
        "Unable to convert to Table as requested: includeObject: Unsupported value: \"x\"";
    let admission =
        "admission webhook \"w\" denied the request: you requested PartialObjectMetadata";
    for (verb, uri, code, message, expected) in [
        // As API servers log it, and as one might that has the words.
        ("create", plain, 406, "", "success"),
        ("create", plain, 406, list, "success"),
        ("patch", plain, 406, "", "success"),
        ("deletecollection", plain, 406, "", "success"),
        ("create", table, 400, "", "success"),
        ("create", table, 400, no_table, "success"),
        // Nobody was shown what was asked for.
        ("get", plain, 406, "", "error"),
        ("list", table, 400, "", "error"),
        // Nothing was done.
        ("create", plain, 406, admission, "error"),
        ("create", plain, 400, "", "error"),
        ("create", whole, 400, "", "error"),
        ("create", table, 400, "the body is no JSON", "error"),
        ("create", table, 409, "", "error"),
        ("create", plain, 403, list, "denied"),
    ] {
        let mut fields = FieldTable::new();
        let [field, says] = ["outcome", "responseStatus.message"].map(|path| fields.intern(path));
        let mut event = Event::new(fields.len());
        event.push(well_known::VERB, text(verb));
        event.push(well_known::REQUEST_URI, text(uri));
        event.push(well_known::RESPONSE_CODE, Value::Int(code));
        if !message.is_empty() {
            event.push(says, text(message));
        }
        let sources = Sources::new(&fields, Arc::default());
        derive(&mut event, index_of("outcome").unwrap(), field, &sources);
        assert_eq!(event.first_str(field), Some(expected), "{verb} {uri} {code} {message}");
    }
}

#[test]
fn what_was_run() {
    use well_known::{REQUEST_URI, SUBRESOURCE};
    let run = |subresource, uri| [(SUBRESOURCE, text(subresource)), (REQUEST_URI, text(uri))];
    for (subresource, uri, expected) in [
        (
            "exec",
            "/p/exec?command=sh&command=-c&command=cat+%2Fetc%2Fpasswd&stdin=true",
            Some("sh -c cat /etc/passwd"),
        ),
        ("exec", "/p/exec?%63omm%61nd=%e4%bd%a0%FF&container=web", Some("你\u{fffd}")),
        ("exec", "/p/exec?command=%zz&command=a;b&xcommand=c", None),
        ("exec", "/p/exec?container=web", None),
        ("exec", "/p/exec", None),
        ("proxy", "/n/proxy/run/ns/pod/c?cmd=id", Some("id")),
        ("log", "/p/log?command=no", None),
    ] {
        check("exec.command", &run(subresource, uri), expected);
    }
}

#[test]
fn where_it_came_from() {
    use well_known::SOURCE_IPS;
    let forged = [(SOURCE_IPS, text("8.8.8.8")), (SOURCE_IPS, text("10.0.0.1"))];
    check("source.ip", &forged, Some("10.0.0.1"));
    check("source.public", &forged, Some("false"));
    for (ip, public) in [
        ("203.0.113.7", true),
        ("172.15.0.1", true),
        ("172.16.0.1", false),
        ("127.0.0.1", false),
        ("169.254.1.1", false),
        ("100.64.0.1", false),
        ("100.63.0.1", true),
        ("0.0.0.0", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("198.19.0.1", false),
        ("2001:4860::1", true),
        ("::1", false),
        ("fe80::1", false),
        ("fd00::1", false),
        ("::ffff:10.0.0.1", false),
        ("::ffff:8.8.8.8", true),
        ("ff02::1", false),
        ("::", false),
        ("fec0::1", false),
    ] {
        let expected = if public { "true" } else { "false" };
        check("source.public", &[(SOURCE_IPS, text(ip))], Some(expected));
    }
    for (written, ip, network) in [
        ("10.0.0.1", "10.0.0.1", Some("10.0.0.1")),
        ("::ffff:10.0.0.1", "10.0.0.1", Some("10.0.0.1")),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::9", Some("2001:db8:1:2::/64")),
        ("fe80::1%eth0", "fe80::1", Some("fe80::/64")),
        ("unix", "unix", None),
    ] {
        check("source.ip", &[(SOURCE_IPS, text(written))], Some(ip));
        check("source.network", &[(SOURCE_IPS, text(written))], network);
    }
    check("source.public", &[(SOURCE_IPS, text("[::ffff:8.8.8.8]:1"))], Some("true"));
    check("source.public", &[(SOURCE_IPS, text("unix"))], None);
    check("source.ip", &[], None);
}

#[test]
fn what_is_missing() {
    use well_known::TRUNCATED;
    check("truncated", &[], Some("false"));
    check("truncated", &[(TRUNCATED, text("true"))], Some("true"));
    check("truncated", &[(TRUNCATED, Value::Bool(true))], Some("true"));
    check("truncated", &[(TRUNCATED, text("false"))], Some("false"));
    let mut event = Event::new(well_known::PATHS.len());
    assert!(!unseen::is_truncated(&event));
    event.is_cut = true;
    assert!(unseen::is_truncated(&event));
    event.clear();
    event.bodies_skipped = true;
    assert!(unseen::is_truncated(&event));
}

#[test]
fn how_long_it_took() {
    use well_known::{RECEIVED, STAGE_TIME};
    let times = |start, end| [(RECEIVED, text(start)), (STAGE_TIME, text(end))];
    check("duration", &times("2026-01-05T22:14:01Z", "2026-01-05T22:14:36.5Z"), Some("35.5"));
    check("duration", &times("2026-01-05T22:14:01Z", "2026-01-05T22:14:00Z"), None);
    check("duration", &times("2026-01-05T22:14:01Z", "x"), None);
}
