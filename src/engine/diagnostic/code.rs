//! The code of every diagnostic, in one table: of rules, the configuration, policies, tests of rules,
//! and of files in general.
//!
//! Codes are stable: people search for them and silence warnings by them. A code is never given to
//! another mistake; a gap stays a gap. `tripline check` prints the explanation.

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `R…` for rules, `C…` for the configuration, `P…` for policies, `T…` for tests, `Y…` for YAML.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// A sentence or two: what it means, and what to do.
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal, $explanation:literal;)*) => {
        $(#[doc = concat!($id, ": ", $title, ".")] pub const $name: &str = $id;)*
        /// All codes.
        pub const CODES: &[Code] =
            &[$(Code { id: $id, title: $title, explanation: $explanation }),*];
    };
}

codes! {
    UNKNOWN_KEY = "R001", "unknown key",
        "The rule language has no such key here. Nothing is ignored silently: remove it or correct it.";
    MISSING_KEY = "R002", "missing key",
        "A key that must be there is not.";
    WRONG_TYPE = "R003", "wrong type",
        "The value is, say, a list where a text is wanted.";
    INVALID_VALUE = "R004", "value not accepted",
        "The value is of the right kind, but cannot be used.";
    TWICE = "R005", "said twice",
        "Two keys say the same thing, or contradict each other. Keep one.";
    NOT_A_RULE = "R006", "not a rule",
        "A document must have exactly one of `detection` (a rule), `correlation` and `filter`.";
    WRONG_LOGSOURCE = "R007", "rule for other logs",
        "Tripline reads Kubernetes audit events. A rule for other logs can never match rightly.";
    DUPLICATE_ID = "R008", "id used twice",
        "Alerts, state and correlations know a rule by its id, so it must be unique, also without \
         regard to case.";
    DUPLICATE_NAME = "R009", "name used twice",
        "Correlations and alerts refer to rules by name, so names must be unique, also without \
         regard to case. A rule without `name` has its title in snake_case as its name.";
    UNREADABLE = "R010", "file cannot be read",
        "The file or directory is missing, may not be read, or is not UTF-8 text.";
    NO_RULES = "R011", "no rules",
        "There is nothing to do without rules.";
    UNKNOWN_FIELD = "R012", "unknown field",
        "Audit events have no such field, so a test of it never holds.";
    STRANGE_KEY = "R013", "key looks misspelt or misplaced",
        "Sigma allows any further key at the top level of a rule, and this one is not looked at. Its \
         name is that of another key, or nearly so.";
    TOO_MANY = "R014", "too many",
        "A bound that keeps loading and evaluation small was passed.";
    UNKNOWN_MODIFIER = "R020", "unknown modifier",
        "Sigma 2.1 has no such modifier.";
    MODIFIER_MISUSE = "R021", "modifier cannot be used here",
        "The modifier does not go with the value, or with the modifiers before it.";
    BAD_REGEX = "R023", "not a regular expression",
        "The pattern cannot be compiled. Expressions run in linear time, so look-around and \
         back-references do not exist.";
    BAD_NETWORK = "R024", "not a network",
        "`cidr` wants a network such as `10.0.0.0/8` or `2001:db8::/32`.";
    UNKNOWN_LIST = "R025", "unknown list",
        "`%name%` stands for the file `lists/name.yaml` or `lists/name.txt`.";
    NO_PLACEHOLDER = "R026", "no placeholder",
        "`expand` replaces `%name%`, and there is none in the value.";
    NESTED_VALUE = "R028", "value is nested",
        "A field is compared with a text, a number, a boolean, null, or a list of these.";
    EMPTY_SELECTION = "R029", "nothing to match",
        "An empty list or mapping says nothing about events.";
    NULL_IN_LIST = "R030", "null in a list",
        "Sigma does not allow null in a list of values. It works here, but other tools refuse it.";
    OTHER_TOOLS = "R031", "other tools refuse it",
        "It works here, but the Sigma specification does not have it: pySigma refuses the file, or reads \
         another value.";
    UNKNOWN_SELECTION = "R041", "unknown selection",
        "The condition names a selection that the rule does not have.";
    EMPTY_SELECTOR = "R042", "selector names nothing",
        "No selection has a name that fits the pattern. Names that begin with `_` are left out.";
    CONDITION_SYNTAX = "R040", "condition is not understood",
        "Conditions are made of selection names, `and`, `or`, `not`, `1 of …`, `any of …`, `all of …` \
         and parentheses.";
    LEGACY_AGGREGATION = "R043", "aggregation in a condition",
        "`| count() by …` and `near` were removed from Sigma. Write a correlation instead.";
    LEGACY_TIMEFRAME = "R044", "timeframe in a detection",
        "`timeframe` was removed from Sigma. Write a correlation with `timespan` instead.";
    UNUSED_SELECTION = "R045", "selection is not used",
        "The condition never mentions the selection.";
    CONDITION_TOO_DEEP = "R046", "condition is nested too deep",
        "The condition has more levels than anybody could read.";
    UNKNOWN_CORRELATION = "R050", "unknown correlation type",
        "The type is neither one of Sigma's nor one of ours.";
    UNKNOWN_RULE = "R051", "unknown rule",
        "No rule has this id or name.";
    CYCLE = "R052", "correlations in a circle",
        "A correlation cannot depend on itself.";
    CORRELATION_CONDITION = "R053", "condition of a correlation is not understood",
        "A number with `gt`, `gte`, `lt`, `lte`, `eq` or `neq` (two for a range), or, for temporal \
         correlations, rule names with `and`, `or`, `not`.";
    UNSUPPORTED = "R054", "cannot be honoured",
        "Legal Sigma that Tripline cannot give a meaning to.";
    BAD_TIMESPAN = "R055", "not a timespan",
        "A number and a unit: `30s`, `5m`, `2h`, `1d`, `1w`.";
    BAD_ALIAS = "R056", "alias does not fit",
        "An alias names, for each rule of the correlation, the field that it stands for.";
    THRESHOLD_TOO_LARGE = "R057", "threshold cannot be reached",
        "A window holds a limited number of events, and the threshold lies above it.";
    RULES_DIFFER = "R058", "rules and condition differ",
        "Each rule of a temporal correlation must be mentioned in its condition, and none else.";
    BAD_FILTER_TARGET = "R059", "filter does not fit its rule",
        "Filters apply to detection rules for the same logs, not to correlations.";
    UNKNOWN_SCHEDULE = "R060", "unknown schedule",
        "Schedules are named in `schedules.yaml` beside the rules.";
    BAD_TEMPLATE = "R061", "not a template",
        "Annotations are Jinja templates.";
    BAD_LABEL = "R062", "label cannot be used",
        "Label names are those of Prometheus, values are fixed texts, and some labels, such as \
         `alertname` and those of the parts of an alert's key, are set by Tripline.";
    SHAPE_MISMATCH = "R063", "does not go together",
        "Two parts of the rule exclude each other.";
    BAD_LIST = "R070", "list cannot be used",
        "A list is a YAML sequence of texts or of mappings with `value`, or a text file with one \
         value a line.";
    BAD_SCHEDULE = "R071", "schedule cannot be used",
        "A schedule has a zone and weekly ranges such as `mon-fri 08:00-18:00`.";
    EXPIRED = "R072", "expired",
        "The entry or filter has reached its end date and has no effect any more.";
    NOT_USED = "R073", "not used",
        "No rule refers to the list or the schedule.";
    BAD_IDENTITIES = "R074", "identities cannot be used",
        "An entry of `identities.yaml` names users or groups, and says whether they are people, or \
         which team they belong to.";
    CANNOT_MATCH = "R080", "cannot match",
        "No event can ever have this value.";
    CONSTANT_CONDITION = "R081", "condition does not depend on the event",
        "The whole condition is always, or never, true.";
    FILTER_EMPTIES_RULE = "R082", "filter empties its rule",
        "A filter is joined to its rules by `and`. Without `not` only events that it describes are \
         left.";
    OFTEN_ABSENT = "R083", "key is often absent",
        "Events in which a key is absent do not count.";
    NEEDS_LEVEL = "R084", "needs a higher audit level",
        "The field is recorded only from this audit level on. Below it the rule sees nothing, which \
         `tripline: {needs: {level: …}}` says to people and to `tripline policy`.";
    NO_EFFECT = "R085", "rule has no effect",
        "The rule makes no alert of its own, and no correlation refers to it.";
    SECRET_SHOWN = "R086", "may show a secret",
        "The value would be sent to everybody who gets the alert.";
    OUT_OF_USE = "R087", "rule is out of use",
        "Its own `status` says that the rule is deprecated or cannot be used in its current state.";
    PART_BLIND = "R088", "sees only a part",
        "The same can be asked for in two ways, and the rule looks at one of them.";
    OTHER_MEANING = "R089", "means something else elsewhere",
        "Another product has a field of this name too, with another meaning.";
    CLIENT_CHOOSES = "R091", "value that clients choose",
        "Somebody who wants to be overlooked makes every event look as if it came from somebody \
         else.";
    UNUSUAL_CLASS = "R090", "class is nearly a known one",
        "Rules and questions that name the known class would not find what is recorded as this one.";
    FORGEABLE_TEXT = "R092", "text that anybody can shape",
        "Whoever makes a request can add such text without a meaning, or write what is meant in another \
         way. Compare what was decoded instead.";
    ANYBODYS_NAME = "R093", "name that anybody can take",
        "Lists mostly excuse those whom they name. Names of service accounts are only worth something \
         together with their namespace.";

    UNKNOWN_SETTING = "C001", "unknown key",
        "The configuration has no such key here. Nothing is ignored silently: remove it or \
         correct it.";
    MISSING_SETTING = "C002", "missing key",
        "A key that must be there is not.";
    WRONG_SETTING_TYPE = "C003", "wrong type",
        "The value is, say, a list where a text is wanted.";
    INVALID_SETTING = "C004", "value not accepted",
        "The value is of the right kind, but cannot be used.";
    SETTING_TWICE = "C005", "said twice",
        "Two keys say the same thing, or contradict each other. Keep one.";
    SETTING_WITHOUT_PLACE = "C006", "setting cannot be laid over the file",
        "A setting of the environment or the command line has no place in the configuration \
         file.";
    CONFIG_UNREADABLE = "C007", "configuration cannot be read",
        "The file is missing, may not be read, or is no text.";
    SEVERAL_CONFIGS = "C008", "several configurations",
        "The configuration file has one YAML document.";
    UNKNOWN_VARIABLE = "C009", "unknown variable",
        "A variable of the environment begins with `TRIPLINE_`, but names no setting.";
    RECEIVER_IMPOSSIBLE = "C020", "receiver cannot be made",
        "What a receiver needs is missing or wrong, such as a secret that cannot be read.";
    DEAD_LETTERS_IMPOSSIBLE = "C021", "dead letters have no place",
        "The place of dead letters cannot be made ready.";
    SERVER_IMPOSSIBLE = "C022", "server cannot be made",
        "What the HTTP server needs is missing or wrong, such as a certificate or a token.";
    WEAK_DOOR = "C023", "the door is weak",
        "Who may ask over HTTP is configured, but others could get in, or overhear how: passwords \
         without TLS, a proxy that may be anywhere, a token that can be guessed.";
    BUTTONS_UNHEARD = "C024", "buttons in Slack do nothing",
        "Slack's messages are to have buttons, but a click could not be heard, or nobody may act by one: the \
         app's signing secret, a URL that Slack can reach, and users of Slack belong together.";
    DOOR_SHUT = "C025", "nobody can come in",
        "`http.auth` names people who may click in Slack, and nobody who may open the console or ask the API: \
         links in messages lead to a closed door. Without `http.auth`, people on this machine come in.";
    KAFKA_IMPOSSIBLE = "C030", "Kafka source cannot be made",
        "The Kafka client refuses these settings.";
    NOT_TAKEN_OVER = "C031", "stream cannot be taken over",
        "The consumer group could not be joined.";
    UNKNOWN_POLICY_KEY = "P001", "unknown key of a policy",
        "The API server does not look at such a key.";
    MISSING_POLICY_KEY = "P002", "missing key of a policy",
        "A key that must be there is not.";
    WRONG_POLICY_TYPE = "P003", "wrong type in a policy",
        "The value is, say, a text where a list is wanted.";
    INVALID_POLICY_VALUE = "P004", "value not accepted in a policy",
        "The value is of the right kind, but the API server refuses it, or it can never fit a \
         request.";
    POLICY_KEY_TWICE = "P005", "said twice in a policy",
        "Two keys say the same thing, or contradict each other. Keep one.";
    BLIND = "P020", "rule is blind",
        "The audit policy leaves a rule without what it names: nothing of these requests is \
         recorded, or not the bodies that its condition looks at, or not the stages in which it \
         sees them. `tripline policy` prints a policy that suffices.";
    BLIND_IN_PART = "P021", "rules may be blind in part",
        "The audit policy hides some of the requests that these rules could match: those of one \
         user, say, or for one of the resources that a rule never named. Often that is what was \
         meant.";
    SEVERAL_TEST_DOCUMENTS = "T001", "several documents of tests",
        "A file of rule tests has one YAML document.";
    UNKNOWN_TEST_FIELD = "T002", "events have no such field",
        "A rule test sets fields as they are in audit events; what Tripline derives follows \
         from them.";
    TEST_OF_NO_RULE = "T003", "tests of no rule file",
        "A file of rule tests names the rule file that it is about, or has its name before \
         `.test.yaml`.";
    TEST_OVER_BEFORE = "T004", "nothing can come any more",
        "An alert is expected after the time at which the test ends.";
    NOT_YAML = "Y001", "not YAML",
        "The file cannot be understood as YAML from this place on. Keys are unique, and lines \
         are indented with spaces.";
    FILE_TOO_LARGE = "Y002", "file too large",
        "Nothing of a file with more bytes than this is read.";
    YAML_TOO_MUCH = "Y003", "file holds too much",
        "A bound of YAML files was passed: documents, values, levels, or what aliases stand \
         for.";
    TOO_MANY_PROBLEMS = "Y004", "too many problems",
        "Of errors and of warnings so many are shown that nobody would read more; the rest is \
         counted.";
}

/// What a code means.
pub fn explained(id: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let mut ids: Vec<&str> = CODES.iter().map(|code| code.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CODES.len());
        for code in CODES {
            assert!(code.explanation.ends_with('.'), "{}", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
        }
    }
}
