//! Of each rule that a binding gives: whether it was used.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    super::{
        Answer, AskError, Asked, CLUSTER, Format, Mistake, PERIOD, Parameter, ParameterKind,
        Params, Period, QuestionKind, answer::json_of, shown_time, table::table,
    },
    gather::{Gathered, coverage_text, gather, period_text, rfc3339, snapshot_text},
};
use crate::{
    archive::Reader,
    engine::{
        diagnostic::nearest,
        permissions::{GrantVerdict, Grants, Id, Uses, Verdict, Wanted, Who, verdicts},
        text::printable,
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "permissions",
    about: "Of each rule that a binding gives to somebody: whether it was used. `used`, `unused` (all of the time \
            was observed), `not observed` or `cannot tell`, with why.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text(
        "subject",
        "What a user is given and uses; or group:NAME, serviceaccount:NAMESPACE/NAME.",
    ),
    Parameter::text("binding", "One binding: NAME, or NAMESPACE/NAME."),
    Parameter::text("role", "All bindings of a role: NAME, or NAMESPACE/NAME."),
    Parameter::of(
        ParameterKind::Flag,
        "unused",
        "Only what was not seen to be used: `unused` and `not observed`.",
    ),
];

const COLUMNS: [&str; 8] =
    ["verdict", "last", "by", "binding", "role", "rule", "granted since", "why"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// Whose grants.
    pub who: Option<Who>,
    /// Which binding.
    pub binding: Option<String>,
    /// Which role.
    pub role: Option<String>,
    /// Only what was not used.
    pub unused: bool,
    /// In which cluster; the only one, if it is not given.
    pub cluster: Option<String>,
}

/// Grants with verdicts, and what they rest on.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The cluster; empty if it has no name.
    pub cluster: String,
    /// In the order of bindings and their rules.
    pub verdicts: Vec<GrantVerdict>,
    /// Objects of which nothing is known but that they changed, with why.
    pub unknown: Vec<(String, String)>,
    head: [String; 3],
    period: Period,
    observed: (i64, i64),
    taken: Option<EventTime>,
    of_somebody: bool,
}

impl Granted {
    /// What it rests on, in words: which time was observed, and where roles and bindings are known from.
    pub fn rests_on(&self) -> [&str; 2] {
        let [_, coverage, snapshot] = &self.head;
        [coverage, snapshot]
    }

    /// When roles and bindings were brought; `None` if nobody brought them.
    pub const fn taken(&self) -> Option<EventTime> {
        self.taken
    }
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        Ok(Question {
            period: Period::read(params, now, "30d")?,
            who: params.text("subject").map(who).transpose()?,
            binding: params.owned("binding"),
            role: params.owned("role"),
            unused: params.flag("unused")?,
            cluster: params.owned("cluster"),
        })
    }
}

/// Who is meant.
pub(super) fn who(text: &str) -> Result<Who, Mistake> {
    Who::parse(text).ok_or_else(|| {
        let message = format!("`{}` is nobody", printable(text));
        Mistake::bad(message, "write a user, group:NAME or serviceaccount:NAMESPACE/NAME")
    })
}

/// Answers.
///
/// # Errors
/// Something is asked about that is not known, more rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Granted, AskError> {
    let period = &question.period;
    let gathered = gather(reader, period, question.cluster.as_deref(), question.who.as_ref())?;
    let Gathered { cluster, grants, uses, observed, .. } = &gathered;
    let wanted = Wanted {
        who: question.who.clone(),
        binding: question
            .binding
            .as_deref()
            .map(|text| id_of(text, false, grants, uses))
            .transpose()?,
        role: question.role.as_deref().map(|text| id_of(text, true, grants, uses)).transpose()?,
    };
    let mut verdicts = verdicts(grants, uses, observed, &wanted);
    if let Some(who) = &question.who
        && verdicts.is_empty()
        && uses.is_empty()
        && !is_known(who, grants, reader)
    {
        return Err(unknown(who, grants, reader).into());
    }
    if question.unused {
        verdicts.retain(|one| matches!(one.verdict, Verdict::Unused | Verdict::NotObserved));
    }
    let cluster_text = match cluster.as_str() {
        "" => "the cluster".to_owned(),
        name => format!("cluster {name}"),
    };
    Ok(Granted {
        head: [
            format!("{cluster_text}, {}", period_text(period)),
            coverage_text(observed, period, true),
            snapshot_text(grants, period),
        ],
        cluster: cluster.clone(),
        unknown: grants.strangers().map(|(name, why)| (name.clone(), why.clone())).collect(),
        verdicts,
        period: period.clone(),
        observed: (observed.whole(true), observed.hours()),
        taken: grants.taken,
        of_somebody: question.who.is_some(),
    })
}

/// All who did something at some time, or whom bindings name.
fn all_known(grants: &Grants, reader: &Reader) -> Vec<String> {
    let mut known = reader.texts("actor");
    known.extend(grants.subjects());
    known
}

/// Whether somebody did something at some time: if only to be refused.
fn is_known(who: &Who, grants: &Grants, reader: &Reader) -> bool {
    all_known(grants, reader).contains(&who.to_string())
}

/// Nothing is known of somebody; says who may have been meant.
pub(super) fn unknown(who: &Who, grants: &Grants, reader: &Reader) -> Mistake {
    let known = all_known(grants, reader);
    let text = who.to_string();
    if known.contains(&text) {
        return Mistake {
            code: "unknown_name",
            message: format!("`{}` used nothing in this time", printable(&text)),
            hint: "it is known of another time: ask for a longer one".to_owned(),
        };
    }
    let near = nearest(&text, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "no binding names it, and it used nothing in this time".to_owned(),
        |near| format!("did you mean `{}`?", printable(near)),
    );
    let message = format!("nothing is known of `{}`", printable(&text));
    Mistake { code: "unknown_name", message, hint }
}

/// A role or a binding by what people write, with or without its kind.
fn id_of(text: &str, is_role: bool, grants: &Grants, uses: &Uses) -> Result<Id, Mistake> {
    let kind = if is_role { "Role" } else { "RoleBinding" };
    let bare = text
        .strip_prefix("Cluster")
        .unwrap_or(text)
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix(' '))
        .unwrap_or(text);
    let id = match bare.split_once('/') {
        Some((namespace, name)) => Id::new(Some(namespace), name),
        None => Id::new(None, bare),
    };
    let named = if is_role { id.role() } else { id.binding() };
    let mut known = grants.names(is_role);
    if !is_role {
        known.extend(uses.iter().filter_map(|(key, _)| key.binding()).map(|id| id.binding()));
    }
    if known.contains(&named) {
        return Ok(id);
    }
    let near = nearest(&named, known.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean `{}`?", printable(near)),
        None if grants.taken.is_none() => {
            "bring roles and bindings with `permissions import`".to_owned()
        }
        None => "neither the snapshot nor the log has it".to_owned(),
    };
    let message = format!("there is no {}", printable(&named));
    Err(Mistake { code: "unknown_name", message, hint })
}

#[derive(Serialize)]
struct View<'a> {
    verdict: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    by: &'a [String],
    binding: String,
    role: String,
    subjects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a crate::engine::permissions::PolicyRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_since: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
struct Head<'a> {
    cluster: &'a str,
    from: String,
    to: String,
    hours: i64,
    hours_complete: i64,
    coverage: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_taken: Option<String>,
    snapshot: &'a str,
    unknown: Vec<Unknown<'a>>,
}

#[derive(Serialize)]
struct Unknown<'a> {
    object: &'a str,
    reason: &'a str,
}

impl Answer for Granted {
    fn json(&self) -> String {
        let [_, coverage, snapshot] = &self.head;
        let head = json_of(&Head {
            cluster: &self.cluster,
            from: self.period.from.rfc3339(),
            to: self.period.to.rfc3339(),
            hours: self.observed.1,
            hours_complete: self.observed.0,
            coverage,
            snapshot_taken: rfc3339(self.taken),
            snapshot,
            unknown: self
                .unknown
                .iter()
                .map(|(object, reason)| Unknown { object, reason })
                .collect(),
        });
        let open = head.strip_suffix('}').unwrap_or(&head);
        format!("{open},\"grants\":[{}]}}", self.items().join(","))
    }

    fn items(&self) -> Vec<String> {
        let item = |one: &GrantVerdict| {
            json_of(&View {
                verdict: one.verdict.as_str(),
                reason: &one.reason,
                last: rfc3339(one.last),
                by: &one.by,
                binding: one.binding.binding(),
                role: one.role.role(),
                subjects: one.subjects.iter().map(ToString::to_string).collect(),
                rule_index: one.rule_index,
                rule: one.rule.as_ref(),
                granted_since: rfc3339(one.since),
                notes: &one.notes,
            })
        };
        self.verdicts.iter().map(item).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let day = |time: Option<EventTime>| {
            let text = time.map(|time| shown_time(time, zone)).unwrap_or_default();
            text.get(..10).unwrap_or("").to_owned()
        };
        let line = |one: &GrantVerdict| {
            let why = [std::slice::from_ref(&one.reason), &one.notes].concat().join("; ");
            vec![
                one.verdict.as_str().to_owned(),
                day(one.last),
                one.by.join(", "),
                one.binding.binding(),
                one.role.role(),
                one.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
                day(one.since),
                why,
            ]
        };
        self.verdicts.iter().map(line).collect()
    }

    fn if_empty(&self) -> &'static str {
        if self.of_somebody {
            "no binding that is known names them, and they used nothing like it in this time"
        } else {
            "no binding gives anything like it"
        }
    }

    fn text(&self, zone: &TimeZone) -> Option<String> {
        let mut text = String::new();
        for line in &self.head {
            text.push_str(&printable(line));
            text.push('\n');
        }
        for (object, why) in &self.unknown {
            text.push_str(&printable(&format!("not known: {object}: {why}")));
            text.push('\n');
        }
        text.push('\n');
        if self.verdicts.is_empty() {
            text.push_str(self.if_empty());
            text.push('\n');
        } else {
            text.push_str(&table(&COLUMNS, &self.cells(zone, Format::Text)));
        }
        Some(text)
    }
}
