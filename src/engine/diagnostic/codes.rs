//! What the codes mean that are not about rules: of files in general, of the configuration, of audit
//! policies and of rule tests.

/// Code, a few words, and a sentence or two: what it means, and what to do. Sorted.
pub const GENERAL_CODES: &[(&str, &str, &str)] = &[
    (
        "C001",
        "unknown key",
        "The configuration has no such key here. Nothing is ignored silently: remove it or correct it.",
    ),
    ("C002", "missing key", "A key that must be there is not."),
    ("C003", "wrong type", "The value is, say, a list where a text is wanted."),
    ("C004", "value not accepted", "The value is of the right kind, but cannot be used."),
    ("C005", "said twice", "Two keys say the same thing, or contradict each other. Keep one."),
    (
        "C006",
        "setting cannot be laid over the file",
        "A setting of the environment or the command line has no place in the configuration file.",
    ),
    (
        "C007",
        "configuration cannot be read",
        "The file is missing, may not be read, or is no text.",
    ),
    ("C008", "several configurations", "The configuration file has one YAML document."),
    (
        "C009",
        "unknown variable",
        "A variable of the environment begins with `TRIPLINE_`, but names no setting.",
    ),
    (
        "C020",
        "receiver cannot be made",
        "What a receiver needs is missing or wrong, such as a secret that cannot be read.",
    ),
    ("C021", "dead letters have no place", "The place of dead letters cannot be made ready."),
    ("C030", "Kafka source cannot be made", "The Kafka client refuses these settings."),
    ("C031", "stream cannot be taken over", "The consumer group could not be joined."),
    ("P001", "unknown key of a policy", "The API server does not look at such a key."),
    ("P002", "missing key of a policy", "A key that must be there is not."),
    ("P003", "wrong type in a policy", "The value is, say, a text where a list is wanted."),
    (
        "P004",
        "value not accepted in a policy",
        "The value is of the right kind, but the API server refuses it, or it can never fit a request.",
    ),
    (
        "P020",
        "rule is blind",
        "The audit policy leaves a rule without what it names: nothing of these requests is recorded, \
         or not the bodies that its condition looks at, or not the stages in which it sees them. \
         `tripline policy` prints a policy that suffices.",
    ),
    (
        "P021",
        "rules may be blind in part",
        "The audit policy hides some of the requests that these rules could match: those of one user, \
         say, or for one of the resources that a rule never named. Often that is what was meant.",
    ),
    ("T001", "several documents of tests", "A file of rule tests has one YAML document."),
    (
        "T002",
        "events have no such field",
        "A rule test sets fields as they are in audit events; what Tripline derives follows from them.",
    ),
    (
        "Y001",
        "not YAML",
        "The file cannot be understood as YAML from this place on. Keys are unique, and lines are \
         indented with spaces.",
    ),
    ("Y002", "file too large", "Nothing of a file with more bytes than this is read."),
    (
        "Y003",
        "file holds too much",
        "A bound of YAML files was passed: documents, values, levels, or what aliases stand for.",
    ),
    (
        "Y004",
        "too many problems",
        "Of errors and of warnings so many are shown that nobody would read more; the rest is counted.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_explained() {
        assert!(GENERAL_CODES.is_sorted_by_key(|(code, _, _)| code));
        for (code, title, explanation) in GENERAL_CODES {
            assert!(explanation.ends_with('.') && !title.ends_with('.'), "{code}");
        }
    }
}
