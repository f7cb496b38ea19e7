//! Diagnostics for people and for other tools: text, JSON, SARIF, GitHub annotations.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Diagnostic, DiagnosticLevel, Place};
use crate::engine::{text::printable, words::words};

words! {
    /// How diagnostics are written.
    #[derive(Default)]
    pub enum Format {
        /// Like rustc's, with a line at the end that counts them.
        #[default]
        Text = "text",
        /// One JSON document of our own; see [`render_all`].
        Json = "json",
        /// SARIF 2.1.0, for code scanning.
        Sarif = "sarif",
        /// Workflow commands of GitHub Actions: annotations in a pull request.
        Github = "github",
    }
}

/// Writes all diagnostics in one of the formats. `colours` is for text only.
///
/// JSON is `{"diagnostics": […], "error_count": n, "warning_count": n}`, each diagnostic with `code`,
/// `level`, `title`, `label`, `help`, `related` and, if it has a place, `file`, `line`, `column`,
/// `end_line` and `end_column`, all from 1, columns in characters, the end exclusive.
pub fn render_all(diagnostics: &[Diagnostic], format: Format, colours: bool) -> String {
    render_explained(diagnostics, format, colours, |_| None)
}

/// What a code means, in a few words and in a sentence or two.
pub type Explain = fn(&str) -> Option<(&'static str, &'static str)>;

/// [`render_all`] with what the codes mean, for formats that have a place for it.
pub fn render_explained(
    diagnostics: &[Diagnostic],
    format: Format,
    colours: bool,
    explain: Explain,
) -> String {
    match format {
        Format::Text => text(diagnostics, colours),
        Format::Json => pretty(&json(diagnostics)),
        Format::Sarif => pretty(&sarif(diagnostics, explain)),
        Format::Github => diagnostics.iter().map(github).collect(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn count(diagnostics: &[Diagnostic], level: DiagnosticLevel) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
}

fn text(diagnostics: &[Diagnostic], colours: bool) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&diagnostic.render(colours));
        text.push('\n');
    }
    let number = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        more => Some(format!("{more} {word}s")),
    };
    let parts = [
        number(count(diagnostics, DiagnosticLevel::Error), "error"),
        number(count(diagnostics, DiagnosticLevel::Warning), "warning"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        let _ = writeln!(text, "{}", parts.join(", "));
    }
    text
}

/// `file`, `line`, `column`, `end_line`, `end_column` of a place.
fn located(place: &Place) -> (&str, [usize; 4]) {
    let (line, column) = place.source.line_column(place.span.start);
    let (end_line, end_column) = place.source.line_column(place.span.end);
    (&place.source.name, [line, column, end_line, end_column])
}

fn json(diagnostics: &[Diagnostic]) -> Value {
    let with_place = |mut value: Value, place: Option<&Place>| {
        if let (Some(place), Some(object)) = (place, value.as_object_mut()) {
            let (file, numbers) = located(place);
            object.insert("file".to_owned(), json!(file));
            let names = ["line", "column", "end_line", "end_column"];
            object.extend(names.into_iter().zip(numbers).map(|(n, v)| (n.to_owned(), json!(v))));
        }
        value
    };
    let one = |diagnostic: &Diagnostic| {
        let related: Vec<Value> = diagnostic
            .related
            .iter()
            .map(|(place, text)| with_place(json!({"text": text}), Some(place)))
            .collect();
        let value = json!({
            "code": diagnostic.code,
            "level": diagnostic.level.as_str(),
            "title": diagnostic.title,
            "label": diagnostic.label,
            "help": diagnostic.help,
            "related": related,
        });
        with_place(value, diagnostic.place.as_ref())
    };
    json!({
        "diagnostics": diagnostics.iter().map(one).collect::<Vec<_>>(),
        "error_count": count(diagnostics, DiagnosticLevel::Error),
        "warning_count": count(diagnostics, DiagnosticLevel::Warning),
    })
}

fn message(diagnostic: &Diagnostic) -> String {
    let mut message = diagnostic.title.clone();
    if !diagnostic.label.is_empty() {
        let _ = write!(message, ": {}", diagnostic.label);
    }
    for help in &diagnostic.help {
        let _ = write!(message, "\nhelp: {help}");
    }
    message
}

fn sarif(diagnostics: &[Diagnostic], explain: Explain) -> Value {
    let mut codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let location = |place: &Place| {
        let (file, [line, column, end_line, end_column]) = located(place);
        json!({
            "physicalLocation": {
                "artifactLocation": {"uri": uri(file)},
                "region": {
                    "startLine": line,
                    "startColumn": column,
                    "endLine": end_line,
                    "endColumn": end_column,
                },
            },
        })
    };
    let result = |diagnostic: &Diagnostic| {
        let locations: Vec<Value> = diagnostic.place.iter().map(location).collect();
        let related: Vec<Value> = diagnostic
            .related
            .iter()
            .map(|(place, text)| {
                let mut value = location(place);
                if let Some(object) = value.as_object_mut() {
                    object.insert("message".to_owned(), json!({"text": text}));
                }
                value
            })
            .collect();
        json!({
            "ruleId": diagnostic.code,
            "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
            "level": diagnostic.level.as_str(),
            "message": {"text": message(diagnostic)},
            "locations": locations,
            "relatedLocations": related,
        })
    };
    let rule = |code: &&str| match explain(code) {
        Some((title, text)) => json!({
            "id": code,
            "shortDescription": {"text": title},
            "fullDescription": {"text": text},
            "help": {"text": text},
        }),
        None => json!({"id": code}),
    };
    let rules: Vec<Value> = codes.iter().map(rule).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "tripline",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "columnKind": "unicodeCodePoints",
            "results": diagnostics.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A path as a relative reference: what URIs do not allow is percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

fn github(diagnostic: &Diagnostic) -> String {
    let mut properties = Vec::new();
    if let Some(place) = &diagnostic.place {
        let (file, [line, column, end_line, end_column]) = located(place);
        properties.push(format!("file={}", escaped(&printable(file), true)));
        properties.push(format!("line={line}"));
        properties.push(format!("endLine={end_line}"));
        // Columns of a span over several lines are not shown.
        if line == end_line {
            properties.push(format!("col={column}"));
            properties.push(format!("endColumn={}", end_column.saturating_sub(1).max(column)));
        }
    }
    let title = format!("{}: {}", diagnostic.code, diagnostic.title);
    properties.push(format!("title={}", escaped(&title, true)));
    format!(
        "::{} {}::{}\n",
        diagnostic.level.as_str(),
        properties.join(","),
        escaped(&message(diagnostic), false)
    )
}

/// Workflow commands end at a line break, their properties also at `:` and `,`.
fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::diagnostic::SourceText;

    fn two() -> Vec<Diagnostic> {
        let source = SourceText::new("rules/a b.yaml", "é: 1\nverb: replace\n");
        let place = |span| Place { source: std::sync::Arc::clone(&source), span };
        vec![
            Diagnostic::error("R001", place(0..2), "unknown key").help("100% wrong, remove it"),
            Diagnostic::warning("R080", place(12..19), "cannot match")
                .related(place(6..10), "here"),
            Diagnostic::error_nowhere("R010", "file: gone"),
        ]
    }

    #[test]
    fn text_ends_with_a_count() {
        let text = render_all(&two(), Format::Text, false);
        assert!(text.ends_with("\n2 errors, 1 warning\n"), "{text}");
        assert_eq!(render_all(&[], Format::Text, false), "");
    }

    #[test]
    fn json_has_places() {
        let value: Value = serde_json::from_str(&render_all(&two(), Format::Json, false)).unwrap();
        assert_eq!(value["error_count"], 2);
        let second = &value["diagnostics"][1];
        assert_eq!((&second["line"], &second["column"]), (&json!(2), &json!(7)));
        assert_eq!((&second["end_line"], &second["end_column"]), (&json!(2), &json!(14)));
        assert_eq!(second["related"][0]["column"], 1);
        assert_eq!(value["diagnostics"][2].get("file"), None);
    }

    #[test]
    fn sarif_has_what_code_scanning_needs() {
        let explain: Explain = |code| (code == "R080").then_some(("cannot match", "Never."));
        let text = render_explained(&two(), Format::Sarif, false, explain);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["version"], "2.1.0");
        let run = &value["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 3);
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        assert_eq!(rules[2]["shortDescription"]["text"], "cannot match");
        let physical = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "rules/a%20b.yaml");
        assert_eq!(physical["region"]["endColumn"], 2);
        assert_eq!(run["results"][1]["relatedLocations"][0]["message"]["text"], "here");
    }

    #[test]
    fn github_commands_are_escaped() {
        let text = render_all(&two(), Format::Github, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "::error file=rules/a b.yaml,line=1,endLine=1,col=1,endColumn=1,title=R001%3A unknown \
             key::unknown key%0Ahelp: 100%25 wrong, remove it"
        );
        assert_eq!(lines[2], "::error title=R010%3A file%3A gone::file: gone");
    }

    #[test]
    fn formats_have_words() {
        for format in Format::ALL {
            assert_eq!(Format::parse(format.as_str()), Some(format));
        }
    }
}
