//! `/alerts/FINGERPRINT/START/rule`: the rule of an alert as it was when that began.

use askama::Template;
use axum::{extract::Path, http::Uri, response::Response};

use super::{
    alert::{episode_of, nowhere, then},
    asked::{Asked, When},
    frame::{Frame, refuse, show},
    ledger::Trouble,
    link::Link,
    rule::document_of,
    view::View,
};
use crate::{
    archive::RulesThen,
    engine::{alert::Alert, rule::RuleSet},
};

#[derive(Template)]
#[template(path = "console/rule_then.html", config = "src/html/askama.toml")]
struct RuleThenPage {
    frame: Frame,
    title: String,
    alert: Link,
    now: Link,
    version: String,
    since: Option<When>,
    /// Whether it says the same now; `None` if there is no such rule any more.
    is_same: Option<bool>,
    place: String,
    source: Vec<String>,
    meaning: Vec<String>,
    /// Why there is less than there should be.
    lacks: String,
    troubles: Vec<Trouble>,
}

/// What a rule set says of a rule: its place, its document, and what that means.
fn said(rules: &RuleSet, id: &str) -> Option<(String, Vec<String>, Vec<String>)> {
    let rule = rules.rule(rules.written_for(rules.find(id)?));
    let place = rule.meta().place.as_ref()?;
    let meaning = rules.describe_rule(rule).lines().map(str::to_owned).collect();
    Some((place.location(), document_of(place), meaning))
}

/// The files of a rule set that name a rule by its id: what there is where it cannot be loaded.
fn files_naming(told: &RulesThen, id: &str) -> Vec<String> {
    let texts = told.files.iter().filter_map(|file| Some((&file.name, file.text.as_ref()?)));
    let naming = texts.filter(|(_, text)| text.contains(id));
    naming
        .flat_map(|(name, text)| {
            std::iter::once(format!("# {name}")).chain(text.lines().map(str::to_owned))
        })
        .collect()
}

/// The rule as it was.
pub(in crate::server) async fn page(
    context: View,
    Path((fingerprint, start)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/alerts", mistake),
    };
    let Some((fingerprint, start)) = episode_of(&fingerprint, &start) else {
        return nowhere(&context);
    };
    let told = then::load(&context, (fingerprint, start)).await;
    let Some(Alert { rule_id, rule_title, .. }) = told.found.alerts.first().cloned() else {
        return nowhere(&context);
    };
    let found = &told.found.told;
    let now = said(&context.status.read().rules, &rule_id);
    let (then, lacks) = match &told.found.rules {
        Ok((rules, _)) => match said(rules, &rule_id) {
            Some(said) => (Some(said), String::new()),
            None => (
                None,
                "No rule file of that set has it: Tripline made the alert itself.".to_owned(),
            ),
        },
        Err(why) => (None, format!("It cannot be shown as it was: {why}.")),
    };
    let is_same = match (&then, &now) {
        (Some((_, then, meaning)), Some((_, now, means))) => Some(then == now && meaning == means),
        _ => None,
    };
    let (place, source, meaning) =
        then.unwrap_or_else(|| (String::new(), files_naming(found, &rule_id), Vec::new()));
    let page = RuleThenPage {
        title: rule_title,
        alert: asked.alert_link(&fingerprint.to_string(), start),
        now: asked.link("/rule").with("id", &rule_id),
        version: found.version.clone(),
        since: found.since.map(|since| asked.when(since)),
        is_same,
        place,
        source,
        meaning,
        lacks,
        troubles: told.troubles,
        frame: Frame::new(&context, asked, "/rules", "Rule as it was"),
    };
    show(&page)
}
