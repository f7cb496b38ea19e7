//! The role that would do for somebody.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    super::{
        Answer, AskError, Asked, CLUSTER, Format, Mistake, PERIOD, Parameter, Params, Period,
        QuestionKind, all_of, answer::json_of, each,
    },
    gather::{Gathered, coverage_text, gather, period_text},
    grants::{unknown, who},
};
use crate::{
    archive::{Filter, Reader},
    engine::{
        access::{Access, Outcome},
        kubernetes::users::kind_of_name,
        permissions::{About, Scope, SuggestedRule, Suggestion, Who, suggest, yaml},
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "suggested-role",
    about: "The smallest role that allows what somebody did in a time, as YAML for kubectl.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] =
    &[Parameter::text("subject", "A user; or group:NAME, serviceaccount:NAMESPACE/NAME.")
        .required()];

const COLUMNS: [&str; 6] = ["scope", "groups", "resources", "names", "paths", "verbs"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// For whom.
    pub who: Who,
    /// In which cluster; the only one, if it is not given.
    pub cluster: Option<String>,
}

/// A role with what it rests on.
#[derive(Clone, Debug)]
pub struct SuggestedRole {
    /// The rules, and what is left out.
    pub suggestion: Suggestion,
    /// As documents that kubectl takes.
    pub yaml: String,
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let subject = params.text("subject").unwrap_or("");
        Ok(Question {
            period: Period::read(params, now, "30d")?,
            who: who(subject)?,
            cluster: params.owned("cluster"),
        })
    }
}

/// Answers.
///
/// # Errors
/// Nobody is known of that name, more rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<SuggestedRole, AskError> {
    let Question { period, who, .. } = question;
    let mut gathered = gather(reader, period, question.cluster.as_deref(), Some(who))?;
    add_made_by_patch(reader, question, &mut gathered)?;
    let suggestion = suggest(who, &gathered.uses);
    let (refused, refused_count) = refused(reader, question, &gathered.cluster)?;
    let is_unknown = suggestion.is_empty() && suggestion.left_out.is_empty() && refused_count == 0;
    if is_unknown && gathered.acted_as.is_empty() {
        return Err(unknown(who, &gathered.grants, reader).into());
    }
    let of_machines = match who {
        Who::User(user) => kind_of_name(Some(user)) != "human",
        Who::Group(_) => true,
    };
    let mut text = period_text(period);
    if !gathered.cluster.is_empty() {
        text = format!("{text}, cluster {}", gathered.cluster);
    }
    let about = About {
        period: text,
        coverage: coverage_text(&gathered.observed, period, of_machines),
        refused,
        refused_count,
        acted_as: gathered.acted_as.into_iter().collect(),
    };
    let yaml = yaml(who, &suggestion, &about);
    Ok(SuggestedRole { suggestion, yaml })
}

/// Adds what the API server asked besides of a user whose patches made something.
fn add_made_by_patch(
    reader: &Reader,
    question: &Question,
    gathered: &mut Gathered,
) -> Result<(), AskError> {
    let Who::User(user) = &question.who else { return Ok(()) };
    let filters = vec![Filter::Actor(user.clone()), Filter::Verbs(vec!["patch".to_owned()])];
    let Gathered { cluster, uses, .. } = gathered;
    each(reader, all_of(filters, &question.period), |row| {
        if let Some(access) = row.access()
            && access.actor.id.as_deref() == Some(user)
            && access.cluster.as_deref().unwrap_or("") == cluster
        {
            uses.made_by_patch(access);
        }
    })
}

/// What was refused, the most frequent first.
fn refused(
    reader: &Reader,
    question: &Question,
    cluster: &str,
) -> Result<(Vec<String>, u64), AskError> {
    let Who::User(user) = &question.who else { return Ok((Vec::new(), 0)) };
    let mut requests: BTreeMap<String, u64> = BTreeMap::new();
    let filters = vec![Filter::Actor(user.clone()), Filter::Outcome(Outcome::Denied)];
    each(reader, all_of(filters, &question.period), |row| {
        let Some(access) = row.access() else { return };
        if access.actor.id.as_deref() == Some(user)
            && access.cluster.as_deref().unwrap_or("") == cluster
        {
            *requests.entry(request_of(access)).or_default() += access.count();
        }
    })?;
    let count = requests.values().sum();
    let mut sorted: Vec<(String, u64)> = requests.into_iter().collect();
    sorted.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let lines = sorted.into_iter().map(|(request, count)| format!("{request} ({count})"));
    Ok((lines.collect(), count))
}

/// `get pods/log in shop`.
fn request_of(access: &Access) -> String {
    let mut text = access.verb.as_deref().unwrap_or("something").to_owned();
    let Some(object) = &access.object else {
        return format!("{text} {}", access.detail.path.as_deref().unwrap_or(""));
    };
    text.push(' ');
    text.push_str(&object.resource);
    for (before, part) in
        [("/", &object.subresource), (" of ", &object.group), (" in ", &object.namespace)]
    {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    }
    text
}

#[derive(Serialize)]
struct View<'a> {
    yaml: &'a str,
    left_out: Vec<LeftOutView<'a>>,
}

#[derive(Serialize)]
struct LeftOutView<'a> {
    request: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct RuleView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(flatten)]
    rule: &'a crate::engine::permissions::PolicyRule,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

impl SuggestedRole {
    fn rules(&self) -> impl Iterator<Item = (&Scope, &SuggestedRule)> {
        self.suggestion
            .scopes
            .iter()
            .flat_map(|(scope, rules)| rules.iter().map(move |rule| (scope, rule)))
    }
}

impl Answer for SuggestedRole {
    fn json(&self) -> String {
        let left_out = self.suggestion.left_out.iter();
        let head = json_of(&View {
            yaml: &self.yaml,
            left_out: left_out
                .map(|one| LeftOutView { request: &one.request, reason: &one.why })
                .collect(),
        });
        let open = head.strip_suffix('}').unwrap_or(&head);
        format!("{open},\"rules\":[{}]}}", self.items().join(","))
    }

    fn items(&self) -> Vec<String> {
        let item = |(scope, rule): (&Scope, &SuggestedRule)| {
            let namespace = match scope {
                Scope::Cluster => None,
                Scope::Namespace(namespace) => Some(namespace.as_str()),
            };
            json_of(&RuleView { namespace, rule: &rule.rule, notes: &rule.notes })
        };
        self.rules().map(item).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, _: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let line = |(scope, rule): (&Scope, &SuggestedRule)| {
            let scope = match scope {
                Scope::Cluster => "cluster".to_owned(),
                Scope::Namespace(namespace) => namespace.clone(),
            };
            let rule = &rule.rule;
            let lists = [
                &rule.api_groups,
                &rule.resources,
                &rule.resource_names,
                &rule.non_resource_urls,
                &rule.verbs,
            ];
            std::iter::once(scope).chain(lists.map(|list| list.join(" "))).collect()
        };
        self.rules().map(line).collect()
    }

    fn if_empty(&self) -> &'static str {
        "nothing was used"
    }

    fn text(&self, _: &TimeZone) -> Option<String> {
        Some(self.yaml.clone())
    }
}
