//! What the senders of requests choose. Whoever talks to an API server may write an event that never was into the
//! body of a request, its user agent, a name; so there nothing is looked for, wherever such a thing stands: in an
//! event of which parts are missing, among the columns of a table, on a line of another log.

/// Keys under which everything is chosen by clients, in their letters alone; alone or in front of a path.
const CHOSEN: [&str; 16] = [
    "annotations",
    "callersupplieduseragent",
    "impersonateduser",
    "labels",
    "objectref",
    "requestmetadata",
    "requestobject",
    "requestparameters",
    "requesturi",
    "responseobject",
    "responsestatus",
    "uri",
    "url",
    "user",
    "useragent",
    "username",
];

/// Keys in front of texts of clients on lines of text.
const ON_LINES: [&str; 5] = ["requesturi", "uri", "url", "useragent", "username"];

/// What stands between the keys of a path that became one key.
const SEPARATORS: [char; 4] = ['.', '_', '/', ':'];

/// Whether a key is that of something that clients choose, or of a part of it: `userAgent`, `audit.user.extra.x`,
/// `request_object`.
pub(super) fn is_chosen(key: &str) -> bool {
    let mut rest = key;
    loop {
        let segment = rest.split(SEPARATORS).next().unwrap_or(rest);
        if CHOSEN.iter().any(|chosen| is_alike(segment, chosen) || is_alike(rest, chosen)) {
            return true;
        }
        match rest.split_once(SEPARATORS) {
            // `request_object.spec`.
            Some((first, below)) => {
                let (second, _) = below.split_once(SEPARATORS).unwrap_or((below, ""));
                let two = |chosen: &&str| {
                    chosen.len() == first.len() + second.len()
                        && is_alike(first, chosen.get(..first.len()).unwrap_or(""))
                        && is_alike(second, chosen.get(first.len()..).unwrap_or(""))
                };
                if CHOSEN.iter().any(two) || is_alike(first, "protopayload") {
                    return true;
                }
                rest = below;
            }
            None => return false,
        }
    }
}

/// Whether a binary text in front of an event is the beginning of another one: its fields, or a stage of it, stand
/// there without the quotes of JSON.
pub(super) fn is_of_event(before: &str) -> bool {
    ["auditID", "ResponseComplete", "ResponseStarted", "RequestReceived"].iter().any(|word| {
        memchr::memmem::find_iter(before.as_bytes(), word.as_bytes())
            .any(|at| !before.get(..at).is_some_and(|before| before.ends_with('"')))
    })
}

/// Whether text in front of JSON says that it is something a client sent, not an event: the lines on which an API
/// server tells of its requests (klog's, with its header or without), and members of an object whose beginning is
/// missing.
pub(super) fn is_told_of(lead: &str) -> bool {
    let before = lead.trim_end_matches([' ', '[', '"', '\\']).strip_suffix(':');
    // A key in front of it, or one that was taken for a value and stood in front of all this.
    let is_member = before.is_some_and(|key| key.trim_ascii_end().ends_with('"'))
        || lead.trim_ascii_start().starts_with(':');
    let mut may_be_header = false;
    let is_of_server = |word: &str| {
        let was_date = std::mem::replace(&mut may_be_header, is_date_of_klog(word));
        let key = word.split(['=', ':']).next().unwrap_or(word);
        was_date && word.starts_with(|c: char| c.is_ascii_digit())
            || word == "Trace"
            || key.len() < word.len() && ON_LINES.iter().any(|chosen| is_alike(key, chosen))
    };
    is_member
        || lead.split([' ', '\t', ',', ';', '"', '[', '(', '{', '|', '&', '?']).any(is_of_server)
}

/// `I0302`: how klog begins a line.
fn is_date_of_klog(word: &str) -> bool {
    matches!(word.as_bytes(), [b'I' | b'W' | b'E' | b'F', digits @ ..]
        if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit))
}

/// Whether a key has these letters, in lower case, and no others.
fn is_alike(key: &str, name: &str) -> bool {
    let letters =
        key.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    key.len() >= name.len() && letters.eq(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_what_clients_choose_are_known_however_they_are_written() {
        for key in [
            "userAgent",
            "user_agent",
            "user-agent",
            "UserAgent",
            "user",
            "User",
            "user.username",
            "audit_user_extra",
            "kubernetes.audit.requestObject",
            "kubernetes.audit.requestObject.spec.x",
            "request_object",
            "request_object.spec",
            "audit/annotations/x.io/y",
            "protoPayload.request.spec",
            "labels",
            "requestURI",
        ] {
            assert!(is_chosen(key), "{key}");
        }
        for key in [
            "log",
            "message",
            "event.original",
            "kubernetes.audit",
            "protoPayload",
            "payload",
            "user2",
            "request",
            "data",
            "",
        ] {
            assert!(!is_chosen(key), "{key}");
        }
    }

    #[test]
    fn lines_that_tell_of_requests_are_known() {
        for lead in [
            "I1102 10:00:00.100000 1 httplog.go:132] \"HTTP\" verb=\"GET\" audit=",
            "2026-03-02T10:00:00Z stdout F E0302 10:00:00.1 1 x.go:1] ",
            "\"HTTP\" verb=\"GET\" URI=\"/api?x=",
            "x userAgent=\"",
            "Trace[1234]: \"List\" url:/api/v1/pods,user-agent:",
            "Trace[1]: \"x\" a:",
            "p\",\"x\":",
            "p\",\"x\": [\"",
            "p\\\",\\\"x\\\":\\\"",
            ":\"",
            ":{\"a\":[\"x\",\"",
        ] {
            assert!(is_told_of(lead), "{lead}");
        }
        for lead in [
            "2026-03-02T10:00:00.2Z stdout F ",
            "I0302 audit: ",
            "<134>Mar  2 10:00:00 cp-1 kube-apiserver[12]: ",
            "<134>1 2026-03-02T10:00:00Z cp-1 audit 12 - [x@1 k=\"{\\\"a\\\":1}\"] ",
            "time=\"2026-03-02T10:00:00Z\" level=info msg=\"",
            "2026,\"",
            "@cee: ",
            "",
        ] {
            assert!(!is_told_of(lead), "{lead}");
        }
    }
}
