//! Fields that no audit event has, but that people think in: who acted, how it ended, what was run.
//!
//! [`DERIVATIONS`] is the list of them, with where each comes from and when it is absent. They are
//! computed when a rule first asks, at most once an event, and only if a rule names them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    Event, FieldId, Identities, Stage,
    network::{network_of, parse_address},
    unseen, well_known,
};
use crate::engine::{
    kubernetes::{
        AuditLevel,
        fields::{CLUSTER, FieldKind, KnownField, NO_IMPERSONATION, Presence},
        resources::{RUNS_COMMANDS, subresource},
        stages::UNAUTHORIZED,
        users::{self, ANONYMOUS, kind_of_name},
    },
    time::EventTime,
    value::{Value, unescape},
};

/// A derived field.
#[derive(Debug)]
pub struct Derivation {
    /// What rules, schemas and people know of it.
    pub field: KnownField,
    compute: Compute,
}

/// How a derived field gets its values.
#[derive(Debug)]
enum Compute {
    /// From other fields of the event.
    With(fn(&mut Event<'_>, FieldId, &Identities)),
    /// The decoder has put them there.
    Decoded,
}

use Compute::{Decoded, With};
use FieldKind::{Address, Bool, Number, Text, Tree, Words};
use Presence::{Always, Often, Rarely};

const fn derived(
    path: &'static str,
    kind: FieldKind,
    presence: Presence,
    compute: Compute,
    doc: &'static str,
) -> Derivation {
    Derivation { field: KnownField::new(path, kind, presence, doc).derived(), compute }
}

impl Derivation {
    const fn free_text(self) -> Derivation {
        Derivation { field: self.field.free_text(), compute: self.compute }
    }

    const fn many(self) -> Derivation {
        Derivation { field: self.field.many(), compute: self.compute }
    }

    const fn from(self, level: AuditLevel) -> Derivation {
        Derivation { field: self.field.from(level), compute: self.compute }
    }
}

/// Prefix of the fields of a pod spec, wherever in the request's body that is.
pub const POD_SPEC: &str = "pod_spec";

/// The field in which keywords are searched.
pub const EVENT_TEXT: &str = "event.text";

/// All derived fields; sorted by path.
pub const DERIVATIONS: &[Derivation] = &[
    derived(
        "actor.credential_id",
        Text,
        Often("absent unless the authenticator adds it"),
        With(|event, field, _| copy_first(event, well_known::CREDENTIAL_ID, field)),
        "Which token or certificate was used: `user.extra` under \
         `authentication.kubernetes.io/credential-id`. Absent if the API server does not record it.",
    ),
    derived(
        "actor.human",
        Bool,
        Always,
        With(|event, field, identities| {
            let human = identities.of(event).human;
            let human = human.unwrap_or_else(|| actor_kind(event) == "human");
            event.push(field, Value::Bool(human));
        }),
        "Whether a person acts: what `identities.yaml` says of the user or its groups, else whether \
         `actor.kind` is `human`. Never absent.",
    ),
    derived(
        "actor.id",
        Text,
        Often("absent if nobody is named; a failed login is `system:anonymous`"),
        With(|event, field, _| actor_id(event, field)),
        "Who acted: `impersonatedUser.username`, else `user.username`; `system:anonymous` if a 401 \
         names nobody. Absent if there is no name otherwise.",
    ),
    derived(
        "actor.kind",
        Words(users::KINDS),
        Always,
        With(|event, field, _| {
            let kind = actor_kind(event);
            event.push(field, Value::Str(Cow::Borrowed(kind)));
        }),
        "What `actor.id` is: `human`, `serviceaccount`, `node`, `system`, `anonymous` or `unknown` (no \
         name). Told from the name alone; `system:admin`, the administrator of k3s and OpenShift, is \
         `human`. Never absent.",
    ),
    derived(
        "actor.on_behalf_of",
        Text,
        Rarely(NO_IMPERSONATION),
        With(|event, field, _| {
            if event.has(well_known::IMPERSONATED_USERNAME) {
                copy_first(event, well_known::USERNAME, field);
            }
        }),
        "The real caller, `user.username`, of a request that impersonates. Absent if it does not.",
    ),
    derived(
        "actor.team",
        Text,
        Often("absent unless `identities.yaml` says it"),
        With(|event, field, identities| {
            if let Some(team) = identities.of(event).team {
                event.push_owned(field, |text| text.push_str(team));
            }
        }),
        "The team of the actor: what `identities.yaml` says of the user or its groups. Absent if it \
         says nothing.",
    ),
    derived(
        CLUSTER,
        Text,
        Often("absent unless the source, a wrapper or a header names it"),
        Decoded,
        "Which cluster it happened in: what the source says, else what the shipper's wrapper says, \
         else a field `cluster` that the shipper added. Absent if nobody says.",
    ),
    derived(
        "duration",
        Number,
        Often("only at stage ResponseComplete"),
        With(|event, field, _| duration(event, field)),
        "Seconds from the request's arrival to its end. Only at stage `ResponseComplete`; absent if a \
         time is missing. 0 for GKE, whose log has one time of each request.",
    ),
    derived(
        EVENT_TEXT,
        Text,
        Always,
        With(|event, field, _| event_text(event, field)),
        "The whole event as JSON, with the escapes of its strings undone: what keywords are searched \
         in. Never absent.",
    )
    .free_text(),
    derived(
        "exec.command",
        Text,
        Rarely("only for exec, and for the kubelet's API behind nodes/proxy"),
        With(|event, field, _| exec_command(event, field)),
        "What was run in a container: the `command` parameters of `requestURI`, decoded and joined by \
         spaces; also `cmd`, of the kubelet's API behind `nodes/proxy`. Absent but for `exec` and \
         `proxy`. What is typed into a shell is not logged.",
    )
    .free_text(),
    derived(
        "outcome",
        Words(&["success", "denied", "error"]),
        Often("absent at stage RequestReceived"),
        With(|event, field, _| outcome(event, field)),
        "How it ended: `success` (1xx to 3xx), `denied` (401, 403) or `error`, by \
         `responseStatus.code`; without a code by the authorization decision. Absent without both, as \
         at stage `RequestReceived`.",
    ),
    derived(
        POD_SPEC,
        Tree,
        Rarely("only for requests whose body holds a pod spec"),
        Decoded,
        "The pod spec, wherever it is: in a pod, a workload's template or a cron job.",
    )
    .free_text()
    .from(AuditLevel::Request),
    derived(
        "source.ip",
        Address,
        Often("absent for requests without an address"),
        With(|event, field, _| source_ip(event, field)),
        "The last of `sourceIPs`: the one that the client cannot choose, without port and zone, IPv4 \
         within IPv6 as IPv4. Absent if there is none.",
    ),
    derived(
        "source.network",
        Text,
        Often("absent for requests without an address"),
        With(|event, field, _| {
            if let Some(ip) = source_address(event) {
                event.push(field, Value::Str(Cow::Owned(network_of(ip))));
            }
        }),
        "The network of `source.ip` that one client has: of IPv6 the first 64 bits, `2001:db8::/64`; of \
         IPv4 the address. For counting and grouping. Absent if `source.ip` is no address.",
    ),
    derived(
        "source.public",
        Bool,
        Often("absent for requests without an address"),
        With(|event, field, _| {
            if let Some(ip) = source_address(event) {
                event.push(field, Value::Bool(is_public(ip)));
            }
        }),
        "Whether `source.ip` is an address of the public internet. Absent if it is none.",
    ),
    derived(
        "truncated",
        Bool,
        Always,
        With(|event, field, _| {
            let truncated = unseen::is_truncated(event);
            event.push(field, Value::Bool(truncated));
        }),
        "Whether a part of the event is missing: it was cut off on its way (AKS, EKS, syslog), or the \
         API server dropped its bodies (`audit.k8s.io/truncated`). Never absent.",
    ),
    derived(
        "unseen",
        Words(unseen::CAUSES),
        Rarely("only for events of which rules do not see all"),
        With(|event, field, _| {
            for cause in unseen::causes(event) {
                event.push(field, Value::Str(Cow::Borrowed(cause)));
            }
        }),
        "What of the event rules cannot see, or can read in two ways: `bodies` (the API server or AKS \
         dropped them), `cut` (it was cut off on its way, or is beyond 16 MiB), `keys` (a body has a key \
         twice, or one with dots where no object has such a key; what the API server takes counts), \
         `values` (more than 4,194,304 of them). Absent if rules see all of it.",
    )
    .many(),
];

fn source_address(event: &Event<'_>) -> Option<IpAddr> {
    event.last_str(well_known::SOURCE_IPS).and_then(parse_address).map(|ip| ip.to_canonical())
}

fn source_ip(event: &mut Event<'_>, field: FieldId) {
    let Some(value @ Value::Str(text)) = event.last(well_known::SOURCE_IPS) else { return };
    let value = match parse_address(text) {
        // As it stands, nearly always.
        Some(ip) => {
            let canonical = ip.to_canonical().to_string();
            if canonical == **text { value.clone() } else { Value::Str(Cow::Owned(canonical)) }
        }
        None => value.clone(),
    };
    event.push(field, value);
}

/// Whether a path names a derived field. `pod_spec.…` does not: it is read from the document.
pub fn is_derived(path: &str) -> bool {
    index_of(path).is_some()
}

/// The index of a derived field in [`DERIVATIONS`].
pub(in crate::engine) fn index_of(path: &str) -> Option<u8> {
    let index = DERIVATIONS.iter().position(|derivation| derivation.field.path == path)?;
    u8::try_from(index).ok()
}

/// Makes sure that derived field number `index` was computed, into `field`.
#[inline]
pub(in crate::engine) fn derive(
    event: &mut Event<'_>,
    index: u8,
    field: FieldId,
    identities: &Identities,
) {
    let bit = 1_u64 << index;
    if event.derived & bit != 0 {
        return;
    }
    event.derived |= bit;
    if let Some(Derivation { compute: With(compute), .. }) = DERIVATIONS.get(usize::from(index)) {
        compute(event, field, identities);
    }
}

fn copy_first(event: &mut Event<'_>, from: FieldId, to: FieldId) {
    if let Some(value @ Value::Str(_)) = event.first(from).cloned() {
        event.push(to, value);
    }
}

/// The name in `actor.id`, or why there is none.
fn actor_name<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    [well_known::IMPERSONATED_USERNAME, well_known::USERNAME]
        .into_iter()
        .filter_map(|field| event.first_str(field))
        .find(|name| !name.is_empty())
        .or_else(|| is_login_failure(event).then_some(ANONYMOUS))
}

fn actor_id(event: &mut Event<'_>, field: FieldId) {
    for from in [well_known::IMPERSONATED_USERNAME, well_known::USERNAME] {
        if event.first_str(from).is_some_and(|name| !name.is_empty()) {
            return copy_first(event, from, field);
        }
    }
    if is_login_failure(event) {
        event.push(field, Value::Str(Cow::Borrowed(ANONYMOUS)));
    }
}

fn actor_kind(event: &Event<'_>) -> &'static str {
    kind_of_name(actor_name(event))
}

fn response_code(event: &Event<'_>) -> Option<i64> {
    match event.first(well_known::RESPONSE_CODE)? {
        Value::Int(code) if *code != 0 => Some(*code),
        _ => None,
    }
}

fn is_login_failure(event: &Event<'_>) -> bool {
    response_code(event) == Some(i64::from(UNAUTHORIZED))
}

fn outcome(event: &mut Event<'_>, field: FieldId) {
    let outcome = match response_code(event) {
        Some(100..=399) => "success",
        Some(401 | 403) => "denied",
        Some(_) => "error",
        None => match event.first_str(well_known::DECISION) {
            Some("allow") => "success",
            Some("forbid") => "denied",
            _ => return,
        },
    };
    event.push(field, Value::Str(Cow::Borrowed(outcome)));
}

fn duration(event: &mut Event<'_>, field: FieldId) {
    if event.stage != Stage::ResponseComplete {
        return;
    }
    let time = |field| event.first_str(field).and_then(EventTime::parse);
    if let (Some(received), Some(ended)) =
        (time(well_known::RECEIVED), time(well_known::STAGE_TIME))
        && ended >= received
    {
        event.push(field, Value::Float(ended.since(received).as_secs_f64()));
    }
}

fn event_text(event: &mut Event<'_>, field: FieldId) {
    let json = event.json;
    if json.contains('\\') {
        event.push_owned(field, |text| unescape(json, text));
    } else {
        event.push(field, Value::Str(Cow::Borrowed(json)));
    }
}

fn exec_command(event: &mut Event<'_>, field: FieldId) {
    let below = event.first_str(well_known::SUBRESOURCE).unwrap_or("");
    let Some(known) = subresource(below).filter(|known| RUNS_COMMANDS.contains(&known.name)) else {
        return;
    };
    // What is behind the proxy is asked in its own words.
    let proxy = known.is_general;
    let Some(uri) = event.first(well_known::REQUEST_URI).cloned() else { return };
    let Value::Str(uri) = uri else { return };
    let Some((_, query)) = uri.split_once('?') else { return };
    let mut arguments = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == "command" || proxy && *name == "cmd")
        .map(|(_, value)| value)
        .peekable();
    if arguments.peek().is_some() {
        event.push_owned(field, |command| {
            for (index, argument) in arguments.enumerate() {
                if index > 0 {
                    command.push(' ');
                }
                percent_decode(argument, command);
            }
        });
    }
}

/// Appends a query value decoded: `+` is a space, `%XX` a byte. What is malformed stays as it is;
/// bytes that are not UTF-8 become U+FFFD.
fn percent_decode(text: &str, out: &mut String) {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        match (*byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    out.push_str(&String::from_utf8_lossy(&bytes));
}

/// Whether an address is reachable from anywhere. Addresses reserved for documentation count as
/// public: they stand for such addresses wherever they are seen.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || a == 0
        || a >= 224
        || a == 100 && (64..128).contains(&b)
        || a == 192 && b == 0 && c == 0
        || a == 198 && (b == 18 || b == 19))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [head, ..] = ip.segments();
    !(ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        // Site-local addresses were withdrawn, but are still in use.
        || head & 0xFFC0 == 0xFEC0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a derived field, as text, for an event with these fields.
    #[track_caller]
    fn check(name: &str, fields: &[(FieldId, Value<'static>)], expected: Option<&str>) {
        let field = FieldId(u16::try_from(well_known::PATHS.len()).unwrap());
        let mut event = Event::new(field.index() + 1);
        for (field, value) in fields {
            event.push(*field, value.clone());
        }
        let index = index_of(name).unwrap();
        let identities = Identities::default();
        derive(&mut event, index, field, &identities);
        derive(&mut event, index, field, &identities);
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
        let impersonating =
            [(USERNAME, text("eve")), (IMPERSONATED_USERNAME, text("system:node:n"))];
        check("actor.id", &impersonating, Some("system:node:n"));
        check("actor.kind", &impersonating, Some("node"));
        check("actor.on_behalf_of", &impersonating, Some("eve"));
        check("actor.on_behalf_of", &[(USERNAME, text("eve"))], None);
        check("actor.id", &[(RESPONSE_CODE, Value::Int(401))], Some("system:anonymous"));
        check("actor.kind", &[(RESPONSE_CODE, Value::Int(401))], Some("anonymous"));
        check("actor.id", &[], None);
        check("actor.kind", &[], Some("unknown"));
        check("actor.credential_id", &[(CREDENTIAL_ID, text("JTI=1"))], Some("JTI=1"));
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
    fn what_was_run() {
        use well_known::{REQUEST_URI, SUBRESOURCE};
        let run = |subresource, uri| [(SUBRESOURCE, text(subresource)), (REQUEST_URI, text(uri))];
        for (subresource, uri, expected) in [
            (
                "exec",
                "/p/exec?command=sh&command=-c&command=cat+%2Fetc%2Fpasswd&stdin=true",
                Some("sh -c cat /etc/passwd"),
            ),
            ("exec", "/p/exec?command=%e4%bd%a0%FF%zz%4&container=web", Some("你\u{fffd}%zz%4")),
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
}
