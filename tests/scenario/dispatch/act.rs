//! What people do in dispatch scripts.

use std::time::Duration;

use tripline::engine::{
    act::{
        Act, ActEntry, ActId, Acted, AlertName, Answer, DeedKind, Episode, NewSilence, Person,
        Silence, SilenceEnd, SilenceId, Verdict, What,
    },
    alert::Fingerprint,
    dispatch::Matcher,
    time::WallTime,
};

use crate::{
    print,
    script::{Result, duration, time},
};

/// Something that somebody does.
pub(crate) struct Line {
    pub(crate) at: WallTime,
    pub(crate) who: String,
    /// Chosen by who does it; the number of the act without one.
    pub(crate) id: Option<String>,
    pub(crate) what: Doing,
}

pub(crate) enum Doing {
    Silence {
        matchers: Vec<Matcher>,
        span: Duration,
        from: Option<WallTime>,
    },
    End(String),
    /// With alerts of these names, `exec user=eve`.
    Alert(DeedKind, String, Vec<(String, String)>, String),
}

/// `TIME WHO silences NAME for=SPAN [from=TIME] MATCHER…`, `TIME WHO ends NAME`,
/// `TIME WHO acknowledges|assigns|judges|says ALERT [LABEL=VALUE…] [to=WHOM] [as=VERDICT] [id=ID]`.
pub(crate) fn line(text: &str) -> Result<Line> {
    let mut words = text.split_whitespace();
    let at = time(words.next().unwrap_or_default())?.as_wall();
    let who = words.next().ok_or("TIME WHO …")?.to_owned();
    let verb = words.next().ok_or("TIME WHO does …")?;
    let name = words.next().ok_or("it has a name")?.to_owned();
    let (mut matchers, mut labels) = (Vec::new(), Vec::new());
    let (mut span, mut from, mut id) = (None, None, None);
    let (mut to, mut verdict) = (String::new(), None);
    for word in words {
        match word.split_once('=') {
            Some(("for", value)) => span = Some(duration(value)?),
            Some(("from", value)) => from = Some(time(value)?.as_wall()),
            Some(("to", value)) => value.clone_into(&mut to),
            Some(("as", value)) => verdict = Verdict::parse(value),
            Some(("id", value)) => id = Some(value.to_owned()),
            _ if verb == "silences" => {
                matchers.push(Matcher::parse(word).map_err(|error| error.to_string())?);
            }
            Some((label, value)) => labels.push((label.to_owned(), value.to_owned())),
            None => return Err(format!("`{word}` says nothing here")),
        }
    }
    let what = match verb {
        "silences" => {
            id = Some(name);
            Doing::Silence { matchers, span: span.ok_or("say `for=1h`")?, from }
        }
        "ends" => Doing::End(name),
        "acknowledges" => Doing::Alert(DeedKind::Acknowledge, name, labels, String::new()),
        "assigns" => Doing::Alert(DeedKind::Assign { to }, name, labels, String::new()),
        "judges" => {
            let verdict = verdict.ok_or("say `as=benign`")?;
            Doing::Alert(DeedKind::Verdict { verdict }, name, labels, String::new())
        }
        "says" => Doing::Alert(DeedKind::Comment, name, labels, "a word".to_owned()),
        _ => return Err(format!("nobody `{verb}` anything")),
    };
    Ok(Line { at, who, id, what })
}

impl Line {
    /// The act. Silences are named by who made them: `ann` made `night`.
    pub(crate) fn act(
        &self,
        number: usize,
        of: impl Fn(&str, &[(String, String)]) -> Fingerprint,
    ) -> Act {
        let number = number.to_string();
        let id = ActId::of(&self.who, self.id.as_deref().unwrap_or(&number));
        let what = match &self.what {
            Doing::Silence { matchers, span, from } => What::AddSilence(NewSilence {
                matchers: matchers.clone(),
                reason: "as the script says".to_owned(),
                starts_at: *from,
                ends: SilenceEnd::After(*span),
            }),
            Doing::End(name) => {
                // `ann/night` is another's, `night` their own.
                let (who, name) = name.split_once('/').unwrap_or((&self.who, name));
                let id = SilenceId::from(ActId::of(who, name));
                What::EndSilence { id, why: "no longer needed".to_owned() }
            }
            Doing::Alert(deed, name, labels, text) => {
                let alert = AlertName { fingerprint: of(name, labels), starts_at: None };
                What::Alerts { alerts: vec![alert], deed: deed.clone(), text: text.clone() }
            }
        };
        Act { id, by: Person::new(&self.who, "responder", "10.0.0.1"), what }
    }
}

/// What came of it, in a line.
pub(crate) fn answered(at: &str, who: &str, answer: &Answer) -> String {
    match answer {
        Ok(Acted { again, silence, alerts, .. }) => {
            let again = if *again { " again" } else { "" };
            let silence = silence.iter().map(|silence| describe(silence));
            let alerts = alerts.iter().map(|on| {
                let deed = on.episode.deeds.get(on.before).expect("it was just done");
                let first = match on.before {
                    0 => String::new(),
                    count => format!(" after {count} deeds of others"),
                };
                format!("{}{first}; {}", deed.kind.as_str(), state(&on.episode))
            });
            let all: Vec<String> = silence.chain(alerts).collect();
            format!("{at} {who}{again}: {}", all.join(", "))
        }
        Err(refused) => format!("{at} {who}: refused, {}", refused.as_str()),
    }
}

/// A silence in words.
pub(crate) fn describe(silence: &Silence) -> String {
    format!(
        "silence {} {} from {} to {}, hides {}, hid {}",
        silence.written(),
        silence.phase.as_str(),
        seconds(silence.starts_at),
        seconds(silence.ends_at),
        silence.hiding_count,
        silence.hidden_count
    )
}

/// What people did about an alert, in words.
pub(crate) fn state(episode: &Episode) -> String {
    let mut words = Vec::new();
    if let Some(deed) = episode.acknowledged() {
        let quiet = if episode.is_quieted() { "" } else { ", but it is graver now" };
        words.push(format!("acknowledged by {}{quiet}", deed.by.name));
    }
    words.extend(episode.assignee().map(|who| format!("assigned to {who}")));
    words.extend(episode.verdict().map(|verdict| verdict.as_str().to_owned()));
    if !episode.silenced_by.is_empty() {
        words.push(format!("silenced by {}", episode.silenced_by.len()));
    }
    if !episode.hidden_by.is_empty() {
        words.push(format!("was hidden by {}", episode.hidden_by.len()));
    }
    words.push(format!("{} deeds", episode.deeds.len()));
    words.join(", ")
}

/// An entry of the ledger, in a line.
pub(crate) fn entry(entry: &ActEntry, names: impl Fn(&str) -> String) -> String {
    let ActEntry { kind, at, subject, by, what, .. } = entry;
    let who = if by.name.is_empty() { "time" } else { &by.name };
    format!("{} {who} {} {what} {}", seconds(*at), kind.as_str(), names(subject))
}

fn seconds(time: WallTime) -> String {
    let text = print::time(time.as_event());
    text.split_once('.').map_or(text.clone(), |(whole, _)| whole.to_owned())
}
