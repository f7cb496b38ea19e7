//! What the codes mean that are not about rules: of files in general, and of the configuration.

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
