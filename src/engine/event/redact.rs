//! Secrets in what leaves as evidence: command lines, URIs and bodies hold passwords.
//!
//! Recognised are names that say so (`--password=…`, `TOKEN: …`, `"secret": "…"`), well-known ways to
//! pass one (`curl -u`, `mysql -p…`, `Authorization: …`, `https://user:password@…`), and what can be
//! nothing else (JSON web tokens, private keys, access keys of large services); plainly and
//! percent-encoded. A secret under a harmless name is not recognised: this narrows who learns a secret
//! from an alert, and is no promise. Matching never sees redacted text.

use std::{borrow::Cow, sync::LazyLock};

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexSet};

/// White space, as it is and in URIs, where an argument may also be a parameter of its own.
const SPACE: &str = r"(?:[ \t\r\n]|\+|%20)";

/// Between an option and its value.
const GAP: &str = r"(?:(?:[ \t\r\n]|\+|%20)+|&(?:command|cmd)=)";

/// A value, quoted or not, or in pieces as a shell joins them.
const VALUE: &str = r#"(?:"[^"]*"|'[^']*'|[^\s&"'+,;|<>])+"#;

/// Words that names of secrets end with.
const NAME: &str = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key|private[_-]?key|credentials?|authorization|cookie)";

/// What is recognised, and what is put there instead. `S`, `G`, `V` and `N` in angle brackets stand
/// for the parts above; `\w` and `\s` stand in character classes only.
const PATTERNS: &[(&str, &str)] = &[
    // Private keys, to their end or that of the text.
    (
        r"-----BEGIN[A-Z0-9 +%]*PRIVATE<S>KEY-----(?s:.*?)(?:-----END[A-Z0-9 +%]*-----|\z)",
        "[redacted]",
    ),
    // JSON web tokens: two or three parts, the first of which begins with `{"`.
    (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", "[redacted]"),
    // Keys of AWS, GitHub, GitLab, Slack, OpenAI, Google, Vault and npm.
    (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", "[redacted]"),
    (
        r"\b(?:gh[pousr]_[\w]{20,}|github_pat_[\w]{20,}|glpat-[\w-]{16,}|npm_[\w]{30,})",
        "[redacted]",
    ),
    (r"\b(?:xox[abeprs]-[\w-]{10,}|sk-[\w-]{20,}|AIza[\w-]{30,}|hvs\.[\w-]{20,})", "[redacted]"),
    // https://user:password@host; if the text was cut, its end stands for the `@`.
    (r#"(://[^\s/:@?&"']*:)[^\s/@?&"']+(@|…)"#, "${1}[redacted]${2}"),
    (r"(?i)(%3A%2F%2F[^\s/&+]*?%3A)[^\s/&+]+?(%40)", "${1}[redacted]${2}"),
    // Bearer …
    (r"(?i)\b(bearer<S>+)[\w.~/=%-]{8,}", "${1}[redacted]"),
    // name=value, name: value, "name": "value"
    (
        r#"(?i)([\w.-]*<N>(?:\\*["']|%22|%27)?<S>*(?:=|:|%3D|%3A)<S>*)(?:(?:basic|bearer|token|digest)<S>+)?(?:%22.*?%22|\\+".*?\\+"|<V>)"#,
        "${1}[redacted]",
    ),
    // --name value
    (
        r#"(?i)(--?[\w-]*<N><G>)(?:"[^"]*"|'[^']*'|[^\s&"'+-])(?:"[^"]*"|'[^']*'|[^\s&"'+])*"#,
        "${1}[redacted]",
    ),
    // curl -u name:password
    (
        r"((?:^|<S>|=)(?:-u|--user|--proxy-user)(?:<G>|=)?[^\s:&+%]+(?::|%3A))[^\s&+]+",
        "${1}[redacted]",
    ),
    // mysql -ppassword, sshpass -p password, redis-cli -a password
    (r"((?:mysql|mariadb)[\w-]*<G>(?:[^|;]*?<G>)?-p)[^\s&+-][^\s&+]*", "${1}[redacted]"),
    (r"(sshpass<G>-p<G>?|redis-cli<G>(?:[^|;]*?<G>)?-a<G>)[^\s&+]+", "${1}[redacted]"),
];

/// What every match has somewhere, in any case: most texts have none of it.
const SIGNS: &[&str] = &[
    "passw",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "authorization",
    "cookie",
    "bearer",
    "eyj",
    "akia",
    "asia",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "npm_",
    "xox",
    "sk-",
    "aiza",
    "hvs.",
    "://",
    "%3a%2f%2f",
    "-u",
    "--user",
    "--proxy-user",
    "mysql",
    "mariadb",
    "sshpass",
    "redis-cli",
];

struct Patterns {
    signs: AhoCorasick,
    /// All patterns, to leave most texts after one more pass.
    any: RegexSet,
    each: Vec<(Regex, &'static str)>,
}

static COMPILED: LazyLock<Patterns> = LazyLock::new(|| {
    let sources: Vec<String> = PATTERNS
        .iter()
        .map(|(source, _)| {
            source
                // Words and white space of ASCII make automata that are a tenth of the size.
                .replace("<S>", SPACE)
                .replace("<G>", GAP)
                .replace("<V>", VALUE)
                .replace("<N>", NAME)
                // Words and white space of ASCII make automata that are a tenth of the size.
                .replace(r"\w", "A-Za-z0-9_")
                .replace(r"\s", r" \t\r\n")
                .replace(r"\b", r"(?-u:\b)")
        })
        .collect();
    let each = sources
        .iter()
        .zip(PATTERNS)
        .map(|(source, (_, by))| {
            (Regex::new(source).expect("a constant that a test compiles"), *by)
        })
        .collect();
    Patterns {
        signs: AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(SIGNS)
            .expect("constants that a test compiles"),
        any: RegexSet::new(&sources).expect("constants that a test compiles"),
        each,
    }
});

/// The text with `[redacted]` in the place of secrets. Linear in the text; about a microsecond for a
/// command line without any.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !COMPILED.signs.is_match(text) || !COMPILED.any.is_match(text) {
        return Cow::Borrowed(text);
    }
    let mut redacted = Cow::Borrowed(text);
    for (regex, by) in &COMPILED.each {
        // A replacement may be what another pattern looks for, so all are tried, in order.
        if let Cow::Owned(changed) = regex.replace_all(&redacted, *by) {
            redacted = Cow::Owned(changed);
        }
    }
    redacted
}

/// What Secrets and ConfigMaps hold, in a body or in a text within one.
static DATA: LazyLock<Regex> = LazyLock::new(|| {
    let plain =
        r#"("(?:data|stringData|binaryData)"\s*:\s*\{)(?:[^"{}]|"(?:[^"\\]|\\.)*(?:"|\z))+"#;
    let within = r#"(\\+"(?:data|stringData|binaryData)\\+"\s*:\s*\{)[^{}]+"#;
    Regex::new(&format!("(?s){plain}|{within}")).expect("a constant that a test compiles")
});

/// `"name": [redacted]`, which is no JSON, also in a text within one.
static BARE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"((\\*)"\s*:\s*)\[redacted\]"#).expect("a constant that a test compiles")
});

/// What the name of a member ends with whose value is a secret.
static SECRET_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("(?i){NAME}$")).expect("a constant that a test compiles"));

/// Where JSON may begin in a text.
static JSON: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"[\[{][ \t\r\n]*["\[\]{}]"#).expect("a constant that a test compiles")
});

/// Texts within texts that are looked into: 8 deep.
const WITHIN_MAX: usize = 8;

/// A record, or a part of one, with `[redacted]` in the place of secrets and of all that Secrets and
/// ConfigMaps hold. What is JSON stays JSON, and loses nothing else: each of its texts is looked at by itself.
/// Bytes that are no text stay as they are unless a secret stands among them. Linear, some milliseconds for
/// 1 MiB.
pub fn redact_record(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let redacted = redact_mixed(&text, 0);
    if redacted == text { bytes.to_vec() } else { redacted.into_bytes() }
}

/// JSON as [`redact_record`] has it.
pub fn redact_json(json: &str) -> String {
    redact_mixed(json, 0)
}

/// Of a text with JSON in it.
fn redact_mixed(text: &str, within: usize) -> String {
    let text = DATA.replace_all(text, "${1}${2}");
    let (mut redacted, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(begin) = JSON.find(rest).map(|found| found.start()) {
        let (before, json) = rest.split_at(begin);
        redacted += &redact_plain(before);
        let mut walk = Walk { text: json, at: 0, redacted: &mut redacted, within };
        walk.value();
        rest = json.get(walk.at..).unwrap_or_default();
    }
    redacted + &redact_plain(rest)
}

/// Of a text without JSON, or a part of one whose quotes cannot be told apart.
fn redact_plain(text: &str) -> Cow<'_, str> {
    match redact(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(text) => {
            Cow::Owned(BARE.replace_all(&text, "${1}${2}\"[redacted]${2}\"").into_owned())
        }
    }
}

/// Goes over one JSON value.
struct Walk<'t> {
    text: &'t str,
    /// What comes next.
    at: usize,
    redacted: &'t mut String,
    /// How many texts it stands in.
    within: usize,
}

impl Walk<'_> {
    /// To the end of the value, or as far as it is JSON: what does not belong there is no longer its.
    fn value(&mut self) {
        // Where a value is a secret: how deep the member is whose name says so.
        let (mut depth, mut secret) = (0_usize, None);
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => {
                    if !self.string(depth, &mut secret) {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => {
                    depth += 1;
                    // Objects say themselves what of theirs is one.
                    secret = secret.filter(|_| byte == b'[');
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b',' => secret = secret.filter(|of| *of != depth),
                b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    if !self.scalar(secret.is_some()) {
                        return;
                    }
                    continue;
                }
            }
            self.redacted.push(char::from(byte));
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// A text, which may be the name of a member. `false` if what follows it cannot follow a text.
    fn string(&mut self, depth: usize, secret: &mut Option<usize>) -> bool {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let mut is_escaped = false;
        let end = rest.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        let (text, behind) = match end {
            Some(end) => (rest.get(..end), rest.get(end + 1..)),
            None => (Some(rest), None),
        };
        let text = text.unwrap_or_default();
        let next = behind.and_then(|behind| behind.trim_ascii_start().bytes().next());
        let is_name = next == Some(b':');
        if !matches!(next, None | Some(b':' | b',' | b'}' | b']')) {
            return false;
        }
        self.redacted.push('"');
        if secret.is_some() && !is_name && !text.is_empty() {
            self.redacted.push_str("[redacted]");
        } else {
            let redacted = self.inner(text);
            self.redacted.push_str(&redacted);
        }
        if is_name {
            *secret = SECRET_NAME.is_match(text).then_some(depth);
        }
        if end.is_some() {
            self.redacted.push('"');
        }
        self.at += 1 + text.len() + usize::from(end.is_some());
        true
    }

    /// Of a text as it is written, which may hold JSON in its turn.
    fn inner<'s>(&self, written: &'s str) -> Cow<'s, str> {
        if !written.contains('\\') || self.within == WITHIN_MAX {
            return redact_plain(written);
        }
        let Ok(text) = serde_json::from_str::<String>(&format!("\"{written}\"")) else {
            return redact_plain(written);
        };
        let redacted = redact_mixed(&text, self.within + 1);
        if redacted == text {
            return Cow::Borrowed(written);
        }
        let quoted = serde_json::Value::from(redacted).to_string();
        let inner = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
        Cow::Owned(inner.unwrap_or(&quoted).to_owned())
    }

    /// A number, or a word. `false` if it is neither.
    fn scalar(&mut self, is_secret: bool) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find(|one: char| !one.is_ascii_alphanumeric() && !"+-.".contains(one));
        let scalar = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let is_word = ["true", "false", "null"].contains(&scalar);
        let is_number = scalar.starts_with(|one: char| one == '-' || one.is_ascii_digit());
        if !is_word && !is_number {
            return false;
        }
        self.redacted.push_str(if is_secret && is_number { "\"[redacted]\"" } else { scalar });
        self.at += scalar.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_loses_its_secrets_and_stays_what_it_is() {
        for (record, expected) in [
            (r#"{"password":"hunter2","a":1}"#, r#"{"password":"[redacted]","a":1}"#),
            (r#"{"log":"{\"token\": \"abc\"}"}"#, r#"{"log":"{\"token\": \"[redacted]\"}"}"#),
            (
                r#"{"kind":"Secret","data":{"tls.key":"LS0t","a":"b{\"c"},"type":"x"}"#,
                r#"{"kind":"Secret","data":{},"type":"x"}"#,
            ),
            (r#"{"stringData": {"a": "hunter2", "b": "hun"#, r#"{"stringData": {"#),
            (
                r#"{"last-applied":"{\"data\":{\"a\":\"aHVudGVyMg==\"},\"kind\":\"Secret\"}"}"#,
                r#"{"last-applied":"{\"data\":{},\"kind\":\"Secret\"}"}"#,
            ),
            (r#"{"data":{}}"#, r#"{"data":{}}"#),
            // Texts end where JSON says.
            (
                r#"{"note":"token=x","roleRef":{"name":"all"},"subjects":[{"name":"m"}]}"#,
                r#"{"note":"token=[redacted]","roleRef":{"name":"all"},"subjects":[{"name":"m"}]}"#,
            ),
            (
                r#"{"example.org/token": "see secret: none", "b": "c"}"#,
                r#"{"example.org/token": "[redacted]", "b": "c"}"#,
            ),
            (
                r#"{"note":"token=A","last-applied":"{\"password\": \"B C\",\"d\":1}"}"#,
                r#"{"note":"token=[redacted]","last-applied":"{\"password\": \"[redacted]\",\"d\":1}"}"#,
            ),
            (
                r#"{"args":["--password=\"a b\"","c"],"pin_token":1234,"has_token":true}"#,
                r#"{"args":["--password=[redacted]","c"],"pin_token":"[redacted]","has_token":true}"#,
            ),
            (
                r#"{"credentials":["a","b"],"secret":{"secretName":"tls"},"x":"y"}"#,
                r#"{"credentials":["[redacted]","[redacted]"],"secret":{"secretName":"tls"},"x":"y"}"#,
            ),
            // What only begins like JSON.
            (r#"{"a" --password="hun ter" b"#, r#"{"a" --password=[redacted] b"#),
            (r#"{"a":"token=x","b":"c"} BROKEN"#, r#"{"a":"token=[redacted]","b":"c"} BROKEN"#),
            (
                r#"I {"token":"x"} --password "a b" c"#,
                r#"I {"token":"[redacted]"} --password [redacted] c"#,
            ),
            (r#"{"a":{"token":"abc"#, r#"{"a":{"token":"[redacted]"#),
            ("{nope", "{nope"),
        ] {
            let redacted = redact_record(record.as_bytes());
            assert_eq!(String::from_utf8(redacted).unwrap(), expected, "{record}");
        }
        assert_eq!(redact_record(&[0xff, 0x00, b'a']), [0xff, 0x00, b'a']);
        let mixed = redact_record(b"\xff --password=hunter2");
        assert_eq!(String::from_utf8(mixed).unwrap(), "\u{fffd} --password=[redacted]");
    }

    #[test]
    fn secrets_are_redacted_plainly_and_encoded() {
        for (text, expected) in [
            ("mysql --password=hunter2 -h db", "mysql --password=[redacted] -h db"),
            ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
            ("mysql -u root -phunter2 shop", "mysql -u root -p[redacted] shop"),
            ("mysqldump -phunter2", "mysqldump -p[redacted]"),
            ("sshpass -p hunter2 ssh x", "sshpass -p [redacted] ssh x"),
            ("redis-cli -h r -a hunter2 keys", "redis-cli -h r -a [redacted] keys"),
            ("PGPASSWORD='hun ter2' psql", "PGPASSWORD=[redacted] psql"),
            ("export AWS_SECRET_ACCESS_KEY=abc/def", "export AWS_SECRET_ACCESS_KEY=[redacted]"),
            ("curl -u bob:hunter2 https://x", "curl -u bob:[redacted] https://x"),
            ("curl https://bob:hunter2@x/y", "curl https://bob:[redacted]@x/y"),
            ("curl -H 'Authorization: Basic Ym9iOmh1'", "curl -H 'Authorization: [redacted]'"),
            (
                "curl -H \"X: y\" -H \"Authorization: Bearer abcdefgh\"",
                "curl -H \"X: y\" -H \"Authorization: [redacted]\"",
            ),
            ("curl -H 'Cookie: session=abc' x", "curl -H 'Cookie: [redacted]' x"),
            ("say bearer abc.def-ghi now", "say bearer [redacted] now"),
            ("{\"password\": \"hun ter2\", \"a\": 1}", "{\"password\": [redacted], \"a\": 1}"),
            ("api_key: abc, b", "api_key: [redacted], b"),
            (
                "kubectl create secret generic x --from-literal=password=hunter2",
                "kubectl create secret generic x --from-literal=password=[redacted]",
            ),
            ("echo AKIAIOSFODNN7EXAMPLE", "echo [redacted]"),
            ("t eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "t [redacted]"),
            ("ghp_abcdefghijklmnopqrstuvwxyz012345", "[redacted]"),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b",
                "a [redacted] b",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMII", "[redacted]"),
            (
                "/exec?command=mysql&command=--password%3Dhunter2&tty=true",
                "/exec?command=mysql&command=--password%3D[redacted]&tty=true",
            ),
            (
                "/exec?command=mysql&command=--password&command=hunter2&tty=true",
                "/exec?command=mysql&command=--password&command=[redacted]&tty=true",
            ),
            (
                "/exec?command=mysql&command=-phunter2&tty=true",
                "/exec?command=mysql&command=-p[redacted]&tty=true",
            ),
            ("/exec?command=sh+-c+TOKEN%3Dabc+run", "/exec?command=sh+-c+TOKEN%3D[redacted]+run"),
            (
                "/x?command=curl&command=http%3A%2F%2Fbob%3Ahunter2%40h%2Fp",
                "/x?command=curl&command=http%3A%2F%2Fbob%3A[redacted]%40h%2Fp",
            ),
            ("/proxy/?access_token=abc&x=1", "/proxy/?access_token=[redacted]&x=1"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
            assert_eq!(redact(expected), expected, "a second time");
            assert!(expected.contains("[redacted]"));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "/api/v1/namespaces/shop/secrets/db-password",
            "/api/v1/namespaces/kube-system/serviceaccounts/default/token?timeout=10s",
            "/api/v1/secrets?fieldSelector=metadata.name%3Dtoken-x&limit=500&continue=eyJ2IjoibWV0",
            "kubectl/v1.33.0 (linux/amd64) kubernetes/abc1234",
            "sh -c cat /etc/passwd",
            "mkdir -p /tmp/a",
            "docker login --password-stdin --token-file /x",
            "useradd -u 1000 bob",
            "ls -la",
            "",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text} became {}", redact(text));
        }
    }
}
