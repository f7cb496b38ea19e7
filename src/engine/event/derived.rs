//! Fields that no audit event has, but that people think in: who acted, how it ended, what was run.
//!
//! [`DERIVATIONS`] is the list of them, with where each comes from and when it is absent. They are
//! computed when a rule first asks, at most once an event, and only if a rule names them.

use std::{borrow::Cow, net::IpAddr};

use super::{
    Event, FieldId, Stage, actor,
    network::{is_public, network_of, parse_address},
    object, request,
    sources::{self, REQUEST_QUERY, Sources},
    unanswered, unseen, well_known,
};
use crate::engine::{
    kubernetes::{
        AuditLevel,
        fields::{CLUSTER, FieldKind, KnownField, NO_IMPERSONATION, Presence},
        users,
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
    /// Fields that it is computed from and that are not there by themselves.
    needs: &'static [&'static str],
}

/// How a derived field gets its values.
#[derive(Debug)]
enum Compute {
    /// From other fields of the event.
    With(fn(&mut Event<'_>, FieldId, &Sources)),
    /// The decoder has put them there.
    Decoded,
}

use Compute::{Decoded, With};
use FieldKind::{Address, Bool, Keyed, Number, Text, Tree, Words};
use Presence::{Always, Often, Rarely};

const fn derived(
    path: &'static str,
    kind: FieldKind,
    presence: Presence,
    compute: Compute,
    doc: &'static str,
) -> Derivation {
    Derivation { field: KnownField::new(path, kind, presence, doc).derived(), compute, needs: &[] }
}

impl Derivation {
    const fn free_text(self) -> Derivation {
        Derivation { field: self.field.free_text(), ..self }
    }

    const fn from(self, level: AuditLevel) -> Derivation {
        Derivation { field: self.field.from(level), ..self }
    }

    const fn many(self) -> Derivation {
        Derivation { field: self.field.many(), ..self }
    }

    const fn needs(self, needs: &'static [&'static str]) -> Derivation {
        Derivation { needs, ..self }
    }
}

/// Who was authenticated, where nothing speaks against the name.
pub const CONFIRMED: &str = "actor.confirmed";

/// Prefix of the fields of an object, as a request wants it to be or as it has become.
pub const OBJECT: &str = "object";

/// Prefix of the fields of a pod spec, wherever in the object that is.
pub const POD_SPEC: &str = "pod_spec";

/// The field in which keywords are searched.
pub const EVENT_TEXT: &str = "event.text";

/// What rules do not see of an event.
pub const UNSEEN: &str = "unseen";

/// All derived fields; sorted by path.
pub const DERIVATIONS: &[Derivation] = &[
    derived(
        "actor.caller",
        Text,
        Often("absent if nobody is named; a failed login is `system:anonymous`"),
        With(|event, field, _| actor::caller(event, field)),
        "Who was authenticated, whomever they act as: `user.username`; `system:anonymous` if a 401 names \
         nobody. What rules count by: somebody who impersonates sixty people is one caller. Absent if there \
         is no name otherwise.",
    ),
    derived(
        CONFIRMED,
        Text,
        Often("absent for names of Kubernetes' own that `user.groups` do not confirm"),
        With(actor::confirmed),
        "Who was authenticated, for allow-lists: `user.username`, whomever they act as, unless it is one of \
         Kubernetes' own names and `user.groups` are recorded and do not confirm it, as `actor.kind` tells it: \
         a client certificate may be made for any name, and RBAC knows a service account by its name alone. \
         A control plane that Tripline does not know is confirmed if `identities.yaml` lists its name, without \
         wildcards, with `human: false`. Nor is a service account confirmed that comes with a certificate, where \
         that is recorded. Absent if there is no name otherwise.",
    ),
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
        With(|event, field, sources| {
            let human = actor::is_human(event, sources);
            event.push(field, Value::Bool(human));
        }),
        "Whether a person acts: what `identities.yaml` says of the user or its groups, else whether nothing \
         shows a machine, as `actor.kind` tells it. Of a request that impersonates, whether the caller or the other is a person. \
         Never absent.",
    ),
    derived(
        "actor.id",
        Text,
        Often("absent if nobody is named; a failed login is `system:anonymous`"),
        With(|event, field, _| actor::id(event, field)),
        "Who acted: `impersonatedUser.username`, else `user.username`; `system:anonymous` if a 401 \
         names nobody. Absent if there is no name otherwise.",
    ),
    derived(
        "actor.kind",
        Words(users::KINDS),
        Always,
        With(|event, field, _| {
            let kind = actor::kind(event);
            event.push(field, Value::Str(Cow::Borrowed(kind)));
        }),
        "What acts: `human`, `serviceaccount`, `node`, `system`, `anonymous` or `unknown` (no name). Told \
         from the name of who was authenticated, and from `user.groups` where they are recorded: a node is in \
         `system:nodes`, a service account in `system:serviceaccounts`, a control plane has a name that one is \
         known to use, and whoever else calls itself `system:` or `eks:` is `human`, as is `system:admin`, the \
         administrator of k3s and OpenShift. Impersonation makes nobody a machine: it is `human` if either of \
         the two is, else what the caller is. Never absent.",
    ),
    derived(
        "actor.namespace",
        Text,
        Often("only for service accounts"),
        With(actor::namespace),
        "The namespace of the service account that `actor.confirmed` names, whomever it acts as. Absent for \
         everybody else.",
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
        With(|event, field, sources| {
            if let Some(team) = sources.callers.team(event, &sources.identities) {
                event.push_owned(field, |text| text.push_str(&team));
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
        "dry_run",
        Bool,
        Always,
        With(|event, field, sources| {
            let dry = request::is_dry_run(event, sources);
            event.push(field, Value::Bool(dry));
        }),
        "Whether the request asks to change nothing: `dryRun=All` as a parameter of `requestURI`; of a \
         deletion in its body, and as a parameter only if the log shows that it has no body. `false` for \
         requests that do so all the same: to read, to enter a container, for a token. Never absent.",
    )
    .needs(sources::DRY_RUN),
    derived(
        "duration",
        Number,
        Often("only at the stages ResponseComplete and Panic"),
        With(|event, field, _| duration(event, field)),
        "Seconds from the request's arrival to its end. Only at the stages `ResponseComplete` and `Panic`; \
         absent if a time is missing. 0 for GKE, whose log has one time of each request.",
    ),
    derived(
        "event.bytes",
        Number,
        Always,
        With(|event, field, _| {
            let bytes = i64::try_from(event.json.len()).unwrap_or(i64::MAX);
            event.push(field, Value::Int(bytes));
        }),
        "Bytes of the event as JSON. Never absent.",
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
        With(|event, field, _| request::command(event, field)),
        "What was run in a container: the `command` parameters of `requestURI`, decoded and joined by \
         spaces; also `cmd`, of the kubelet's API behind `nodes/proxy`. Absent but for `exec` and \
         `proxy`, and where an escape is malformed, which nobody runs. What is typed into a shell is not \
         logged.",
    )
    .free_text(),
    derived(
        "exec.plain",
        Text,
        Rarely("only for exec, and for the kubelet's API behind nodes/proxy"),
        With(|event, field, _| request::plain_command(event, field)),
        "`exec.command` as a shell takes it: without quotes, escapes and empty expansions, with one space where \
         any white space or `$IFS` stands, and with paths in their shortest form; behind it, what Base64 in it \
         stands for. What rules look for words in. Absent where `exec.command` is.",
    )
    .free_text(),
    derived(
        "field_selector",
        Text,
        Rarely("only for lists, watches and deletions of many objects that select by fields"),
        With(|event, field, _| request::selector(event, "fieldSelector", field)),
        "By which fields a list, a watch or a deletion of many objects selects: the first `fieldSelector` of \
         `requestURI`, decoded. Absent for any other request, where the API server does not look at it.",
    )
    .free_text(),
    derived(
        "host_path",
        Text,
        Rarely("only for pod specs and persistent volumes that name a directory of the node"),
        With(object::host_paths),
        "The directories and files of the node that a pod spec mounts, or a persistent volume is: \
         `hostPath.path` and `local.path`, in the shortest form: without `//`, `/./`, `/../`, a slash at the \
         end, `/proc/1/root` and the like, and with `/run` for `/var/run`. Absent if there are none.",
    )
    .many()
    .free_text()
    .from(AuditLevel::Request)
    .needs(sources::HOST_PATHS),
    derived(
        "label_selector",
        Text,
        Rarely("only for lists, watches and deletions of many objects that select by labels"),
        With(|event, field, _| request::selector(event, "labelSelector", field)),
        "By which labels a list, a watch or a deletion of many objects selects: the first `labelSelector` of \
         `requestURI`, decoded. Absent for any other request, where the API server does not look at it.",
    )
    .free_text(),
    derived(
        OBJECT,
        Tree,
        Rarely("only for requests that change something and have a body"),
        Decoded,
        "The object that a request makes or changes: what is asked for (the body, however it is written: \
         whole, as a merge or strategic merge patch, applied, or as a JSON Patch, whose values are found \
         where its steps put them) and what came of it (the answer, at audit level RequestResponse). A field \
         has the values of both. Of a list, those of each item. Absent for requests that read, and for \
         `status` and `scale`.",
    )
    .free_text()
    .from(AuditLevel::Request),
    derived(
        "outcome",
        Words(&["success", "denied", "error"]),
        Often("absent at stage RequestReceived"),
        With(outcome),
        "How it ended: `success` (1xx to 3xx), `denied` (401, 403) or `error`, by \
         `responseStatus.code`; without a code by the authorization decision. Absent without both, as \
         at stage `RequestReceived`. A change that was made, and whose answer could not be given in the form \
         that was asked for (406; 400 with an impossible `includeObject`), is a `success`. An `error` need not mean that nothing was done: 504 says that the API server \
         waited no longer for a change, which may have been made (rule `change_unfinished`).",
    )
    .needs(&[sources::MESSAGE]),
    derived(
        POD_SPEC,
        Tree,
        Rarely("only for requests whose body holds a pod spec"),
        Decoded,
        "The pod spec, wherever in `object` it is: in a pod, a workload's template or a cron job.",
    )
    .free_text()
    .from(AuditLevel::Request),
    derived(
        "request.decoys",
        Text,
        Rarely("only for requests with parameters that no client sends"),
        With(|event, field, _| request::decoys(event, field)),
        "Names of parameters of `requestURI` that the API server does not look at, or cannot read, as they \
         are written: unknown ones, encoded letters, malformed escapes, a `;`. Absent if there are none, for \
         proxies, and for resources that Kubernetes does not bring along.",
    )
    .many()
    .free_text(),
    derived(
        "request.path",
        Text,
        Always,
        With(|event, field, _| request::path(event, field)),
        "The path of `requestURI`, decoded, without `//`, `/./` and `/../`. Never absent.",
    )
    .free_text(),
    derived(
        REQUEST_QUERY,
        Keyed,
        Often("absent without this parameter"),
        With(|event, _, sources| request::query(event, sources)),
        "The parameters of `requestURI`: `request.query.timeoutSeconds`. Names and values are decoded as \
         the API server does it; one that is repeated has several values. Absent without this parameter. \
         A request may have parameters that nobody looks at.",
    )
    .free_text(),
    derived(
        "secret.account",
        Text,
        Rarely("only for secrets that are to hold a token, where their bodies are recorded"),
        With(object::secret_account),
        "The service account whose token a secret is to hold, that is of the type \
         `kubernetes.io/service-account-token`: `system:serviceaccount:NAMESPACE:NAME`. Absent for other \
         secrets, and where the bodies of secrets are not recorded, which is no reason to record them.",
    )
    .needs(sources::SECRET_ACCOUNT),
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
        "subject.id",
        Text,
        Rarely("only for requests that change a binding and name subjects"),
        With(object::subjects),
        "Whom a binding names: users and groups by their names, service accounts as \
         `system:serviceaccount:NAMESPACE:NAME`; without a namespace, with that of the binding. Absent without \
         `object.subjects`.",
    )
    .many()
    .from(AuditLevel::Request)
    .needs(sources::SUBJECTS),
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
        UNSEEN,
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
         `values` (more than 4,194,304 of them; or a JSON Patch copies what is not in it to where rules look). \
         Absent if rules see all of it.",
    )
    .many(),
];

fn source_address(event: &Event<'_>) -> Option<IpAddr> {
    event.last_str(well_known::SOURCE_IPS).and_then(parse_address).map(|ip| ip.to_canonical())
}

fn source_ip(event: &mut Event<'_>, field: FieldId) {
    let Some(value @ Value::Str(text)) = event.last(well_known::SOURCE_IPS) else { return };
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = match parse_address(text).filter(|_| !is_plain) {
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
    let in_query = path.strip_prefix(REQUEST_QUERY).is_some_and(|rest| rest.starts_with('.'));
    let path = if in_query { REQUEST_QUERY } else { path };
    let index = DERIVATIONS.iter().position(|derivation| derivation.field.path == path)?;
    u8::try_from(index).ok()
}

/// The fields that the field of a path is computed from, if they are not there by themselves.
pub(in crate::engine) fn needs(path: &str) -> &'static [&'static str] {
    let derivation = index_of(path).and_then(|index| DERIVATIONS.get(usize::from(index)));
    derivation.map_or(&[], |derivation| derivation.needs)
}

/// Makes sure that derived field number `index` was computed, into `field`.
#[inline]
pub(in crate::engine) fn derive(
    event: &mut Event<'_>,
    index: u8,
    field: FieldId,
    sources: &Sources,
) {
    let bit = 1_u64 << index;
    if event.derived & bit != 0 {
        return;
    }
    event.derived |= bit;
    if let Some(Derivation { compute: With(compute), .. }) = DERIVATIONS.get(usize::from(index)) {
        compute(event, field, sources);
    }
}

fn copy_first(event: &mut Event<'_>, from: FieldId, to: FieldId) {
    if let Some(value @ Value::Str(_)) = event.first(from).cloned() {
        event.push(to, value);
    }
}

fn outcome(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    let outcome = match actor::response_code(event) {
        Some(100..=399) => "success",
        Some(401 | 403) => "denied",
        Some(_) if unanswered::is_done_unanswered(event, sources.message) => "success",
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
    if !matches!(event.stage, Stage::ResponseComplete | Stage::Panic) {
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

#[cfg(test)]
mod tests;
