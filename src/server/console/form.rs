//! Forms: what a browser sends, and what every form of ours has beside its fields.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::super::{caller::Caller, problem::Problem};
use crate::engine::act::{Person, Refused};

/// Fields of one form: 2,000, a thousand alerts among them.
const FIELDS_MAX: usize = 2_000;

/// What was sent: names and values in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    /// From a body that is `application/x-www-form-urlencoded`.
    pub(super) fn read(body: &[u8]) -> Sent {
        let fields = form_urlencoded::parse(body).into_owned();
        Sent(fields.take(FIELDS_MAX).collect())
    }

    /// From the parameters of an address.
    pub(super) fn of(pairs: &[(String, String)]) -> Sent {
        Sent(pairs.to_vec())
    }

    /// A field without blanks around it; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().rfind(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// As it is shown again once it was refused: as another one, if what it was sent with before was another act.
    pub(super) fn after(mut self, problem: &Problem) -> Sent {
        if is_another(problem) {
            self.0.retain(|(name, _)| name != "id");
        }
        self
    }

    /// All values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The identity of an act that a form will do: the same however often it is sent. Nobody can guess it: keys of
/// the standard library's maps are random.
pub(super) fn fresh_id() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

/// Where a form leads afterwards: a page of ours, or the list of alerts.
pub(super) fn back(wish: &str) -> &str {
    let is_ours = wish.starts_with('/')
        && !wish.starts_with("//")
        && wish.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { wish } else { "/alerts" }
}

/// A problem in words.
pub(super) fn said(problem: &Problem) -> (String, String) {
    if is_another(problem) {
        let hint = "What was sent then is done. Send the form below if this is to be done, too.";
        return (
            "The form was sent before, with something else in it.".to_owned(),
            hint.to_owned(),
        );
    }
    (problem.message.clone(), problem.hint.clone())
}

/// Whether another act was sent with the form before, as whoever goes back to a form and changes it sends one.
fn is_another(problem: &Problem) -> bool {
    problem.code == Refused::AnotherAct.as_str()
}

/// Who does it, as entries have it.
pub(super) fn person(caller: &Caller) -> Person {
    Person::new(&caller.name, &caller.roles_text(), &caller.address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let sent = Sent::read(b"alert=a%40b&alert=c&text=%20two+words%0A&odd=%zz&&none");
        assert_eq!(sent.all("alert").collect::<Vec<_>>(), ["a@b", "c"]);
        assert_eq!(
            (sent.text("text"), sent.text("odd"), sent.text("none")),
            ("two words", "%zz", "")
        );
    }

    #[test]
    fn a_form_leads_to_pages_of_ours_alone() {
        assert_eq!(back("/alerts?state=all"), "/alerts?state=all");
        for wish in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a b"] {
            assert_eq!(back(wish), "/alerts", "{wish}");
        }
    }
}
