//! What the properties are tried on: a correlation and the events of a few minutes, made so that
//! things collide. Three users, few values, and times that lie at, just before and just after the
//! places where windows begin and end.

use std::fmt;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

/// Microseconds.
pub(crate) type Micros = i64;

pub(crate) const SECOND: Micros = 1_000_000;

/// Tolerated disorder.
pub(crate) const GRACE: Micros = 30 * SECOND;

/// 2026-01-05T10:00:10Z: windows that are aligned to the minute do not begin here.
pub(crate) const START: Micros = 1_767_607_210 * SECOND;

/// One event. Which of the three detection rules it satisfies is its `input`.
#[derive(Clone, PartialEq)]
pub(crate) struct Happening {
    pub(crate) at: Micros,
    /// How much later it arrives.
    pub(crate) delay: Micros,
    pub(crate) user: Option<u8>,
    pub(crate) input: usize,
    pub(crate) value: Option<i64>,
    /// Further users and values: each counts.
    pub(crate) more_users: Vec<u8>,
    pub(crate) more_values: Vec<i64>,
    /// Tells requests apart that are otherwise the same.
    pub(crate) id: usize,
}

impl fmt::Debug for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Happening { at, delay, input, id, .. } = self;
        let users: Vec<String> = self.users().into_iter().map(user_name).collect();
        write!(f, "#{id} at {at} +{delay} {users:?} {} {:?}", NAMES[*input], self.values())
    }
}

/// `gte` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Gt,
    Gte,
    Lt,
    Lte,
    Eq,
    Neq,
}

pub(crate) type Threshold = Vec<(Op, i64)>;

/// A condition over inputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Input(usize),
    Not(Box<Seen>),
    All(Vec<Seen>),
    Any(Vec<Seen>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    EventCount(Threshold),
    ValueCount(Threshold),
    Sum(Threshold),
    Avg(Threshold),
    Median(Threshold),
    Percentile(i64, Threshold),
    /// How many of the inputs; all of them without a threshold.
    Temporal(Option<Threshold>),
    Ordered(Option<Threshold>),
    TemporalIf(Seen),
    OrderedIf(Seen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Sliding, or tumbling for conditions that need an end.
    Usual,
    Tumbling,
    Session {
        gap: Micros,
    },
}

/// A correlation over three detection rules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) span: Micros,
    pub(crate) by_user: bool,
    pub(crate) suppress: Option<Micros>,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) rule: Rule,
    /// In order of time.
    pub(crate) events: Vec<Happening>,
}

/// The verbs of the detection rules.
const VERBS: [&str; 3] = ["get", "list", "delete"];

/// A correlation over another one: the inner one looks at `a`, the outer one at its findings in place
/// of `a`.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) inner: Rule,
    pub(crate) outer: Rule,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The detection rules `a`, `b` and `c`.
fn detections() -> String {
    let rule = |(name, verb): (&str, &str)| {
        let rule = json!({
            "title": name,
            "logsource": {"product": "kubernetes", "service": "audit"},
            "detection": {"selection": {"verb": verb}, "condition": "selection"},
        });
        format!("{rule}\n---\n")
    };
    NAMES.into_iter().zip(VERBS).map(rule).collect()
}

impl Rule {
    /// The rule file.
    pub(crate) fn yaml(&self) -> String {
        detections() + &self.document("correlation", &NAMES)
    }

    fn document(&self, title: &str, rules: &[&str]) -> String {
        let (kind, condition) = self.kind.written(rules);
        let mut rule = json!({
            "title": title,
            "correlation": {
                "type": kind,
                "rules": rules,
                "timespan": format!("{}s", self.span / SECOND),
            },
            "tripline": {},
        });
        if self.by_user {
            rule["correlation"]["group-by"] = json!(["user.username"]);
        }
        if let Some(condition) = condition {
            rule["correlation"]["condition"] = condition;
        }
        match self.shape {
            Shape::Usual => {}
            Shape::Tumbling => rule["tripline"]["window"] = json!("tumbling"),
            Shape::Session { gap } => {
                rule["tripline"]["window"] = json!("session");
                rule["tripline"]["gap"] = json!(format!("{}s", gap / SECOND));
            }
        }
        if let Some(suppress) = self.suppress {
            rule["tripline"]["suppress"] = json!(format!("{}s", suppress / SECOND));
        }
        rule.to_string()
    }
}

impl Chain {
    /// The rule file.
    pub(crate) fn yaml(&self) -> String {
        let inner = self.inner.document("inner", &["a"]);
        detections()
            + &inner
            + "\n---\n"
            + &self.outer.document("correlation", &["inner", "b", "c"])
    }
}

impl Kind {
    fn written(&self, rules: &[&str]) -> (&'static str, Option<Value>) {
        let of = |threshold: &Threshold| {
            let mut condition = json!({});
            for (op, bound) in threshold {
                condition[op.word()] = json!(bound);
            }
            condition
        };
        let with = |threshold: &Threshold, more: Value| {
            let mut condition = of(threshold);
            for (key, value) in more.as_object().unwrap() {
                condition[key] = value.clone();
            }
            Some(condition)
        };
        let field = || json!({"field": "requestObject.value"});
        match self {
            Kind::EventCount(threshold) => ("event_count", Some(of(threshold))),
            Kind::ValueCount(threshold) => ("value_count", with(threshold, field())),
            Kind::Sum(threshold) => ("value_sum", with(threshold, field())),
            Kind::Avg(threshold) => ("value_avg", with(threshold, field())),
            Kind::Median(threshold) => ("value_median", with(threshold, field())),
            Kind::Percentile(share, threshold) => {
                let more = json!({"field": "requestObject.value", "percentile": share});
                ("value_percentile", with(threshold, more))
            }
            Kind::Temporal(threshold) => ("temporal", threshold.as_ref().map(of)),
            Kind::Ordered(threshold) => ("temporal_ordered", threshold.as_ref().map(of)),
            Kind::TemporalIf(seen) => ("temporal", Some(json!(seen.written(rules)))),
            Kind::OrderedIf(seen) => ("temporal_ordered", Some(json!(seen.written(rules)))),
        }
    }

    /// Whether more events can only make the condition truer: then order of arrival cannot matter
    /// either, although it fires at once.
    pub(crate) fn is_monotone(&self) -> bool {
        !matches!(self, Kind::Sum(_) | Kind::Avg(_) | Kind::Median(_) | Kind::Percentile(..))
    }
}

impl Op {
    const fn word(self) -> &'static str {
        match self {
            Op::Gt => "gt",
            Op::Gte => "gte",
            Op::Lt => "lt",
            Op::Lte => "lte",
            Op::Eq => "eq",
            Op::Neq => "neq",
        }
    }
}

impl Seen {
    fn written(&self, rules: &[&str]) -> String {
        let join = |parts: &[Seen], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.written(rules)).collect();
            format!("({})", parts.join(word))
        };
        match self {
            Seen::Input(input) => rules[*input].to_owned(),
            Seen::Not(inner) => format!("not {}", inner.written(rules)),
            Seen::All(parts) => join(parts, " and "),
            Seen::Any(parts) => join(parts, " or "),
        }
    }
}

impl Happening {
    /// All users, each once.
    pub(crate) fn users(&self) -> Vec<u8> {
        let mut users: Vec<u8> = self.user.into_iter().collect();
        for user in self.user.iter().flat_map(|_| &self.more_users) {
            if !users.contains(user) {
                users.push(*user);
            }
        }
        users
    }

    /// All values.
    pub(crate) fn values(&self) -> Vec<i64> {
        let more = self.value.iter().flat_map(|_| self.more_values.iter().copied());
        self.value.into_iter().chain(more).collect()
    }

    /// With one user and one value at most.
    pub(crate) fn plain(self) -> Happening {
        Happening { more_users: Vec::new(), more_values: Vec::new(), ..self }
    }

    /// The audit event.
    pub(crate) fn json(&self) -> Vec<u8> {
        let time = tripline::engine::time::EventTime::from_micros(START + self.at).rfc3339();
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Request",
            "auditID": format!("request-{}", self.id),
            "stage": "ResponseComplete",
            "requestURI": "/",
            "verb": VERBS[self.input],
            "user": {},
            "requestObject": {},
            "requestReceivedTimestamp": time,
            "stageTimestamp": time,
        });
        let users: Vec<String> = self.users().into_iter().map(user_name).collect();
        match users.as_slice() {
            [] => {}
            [one] => event["user"]["username"] = json!(one),
            several => event["user"]["username"] = json!(several),
        }
        match self.values().as_slice() {
            [] => {}
            [one] => event["requestObject"]["value"] = json!(one),
            several => event["requestObject"]["value"] = json!(several),
        }
        serde_json::to_vec(&event).unwrap()
    }
}

pub(crate) fn user_name(user: u8) -> String {
    ["eve", "bob", "carol"][usize::from(user)].to_owned()
}

/// Events in order of time, those of one moment in the order of the rules; numbered.
pub(crate) fn events(most: usize) -> impl Strategy<Value = Vec<Happening>> {
    // Every 10 s, and a microsecond beside it.
    let at = (0..=24_i64, select(&[0, -1, 0, 1, 0][..]));
    let user = prop_oneof![12 => (0..3_u8).prop_map(Some), 1 => Just(None)];
    // No event is late: when it arrives, nothing has arrived that happened more than grace after it.
    let delay = prop_oneof![Just(0), Just(GRACE), 0..=GRACE];
    let more_users = prop_oneof![9 => Just(Vec::new()), 1 => vec(0..3_u8, 1..3)];
    let more_values = prop_oneof![7 => Just(Vec::new()), 1 => vec(0..4_i64, 1..4)];
    let value = option::weighted(0.9, 0..4_i64);
    let happening = (at, delay, user, 0..3_usize, (value, more_users, more_values));
    // Over four minutes, or crowded into less.
    let crowd = select(&[1, 2, 4][..]);
    (vec(happening, 0..most), crowd).prop_map(|(list, crowd)| {
        let mut events: Vec<Happening> = list
            .into_iter()
            .map(|((step, beside), delay, user, input, (value, more_users, more_values))| {
                let at = (step / crowd * 10 * SECOND + beside).max(0);
                Happening { at, delay, user, input, value, more_users, more_values, id: 0 }
            })
            .collect();
        events.sort_by_key(|event| (event.at, event.input));
        for (id, event) in events.iter_mut().enumerate() {
            event.id = id;
        }
        events
    })
}

fn at_least(most: i64) -> impl Strategy<Value = Threshold> {
    (select(&[Op::Gt, Op::Gte][..]), 1..=most).prop_map(|(op, bound)| {
        // `gt 3` and `gte 4` are the same, so that both reach the same numbers.
        vec![(op, if op == Op::Gt { bound - 1 } else { bound })]
    })
}

fn any_threshold(most: i64) -> impl Strategy<Value = Threshold> {
    let ends = select(&[Op::Lt, Op::Lte, Op::Eq, Op::Neq][..]);
    prop_oneof![
        3 => at_least(most),
        // No window has less than one event.
        2 => (ends, 1..=most).prop_map(|(op, bound)| match op {
            Op::Lt => vec![(op, bound + 1)],
            _ => vec![(op, bound)],
        }),
        1 => (1..=most, 0..=most).prop_map(|(low, more)| vec![(Op::Gte, low), (Op::Lte, low + more)]),
    ]
}

/// How many of three rules: not none, and not more than there are.
fn rule_count() -> impl Strategy<Value = Threshold> {
    select(vec![
        vec![(Op::Gte, 1)],
        vec![(Op::Gte, 2)],
        vec![(Op::Gt, 1)],
        vec![(Op::Gte, 3)],
        vec![(Op::Eq, 1)],
        vec![(Op::Eq, 2)],
        vec![(Op::Lte, 2)],
        vec![(Op::Gte, 1), (Op::Lt, 3)],
    ])
}

/// Conditions that mention each rule and do not hold of nothing.
fn seen() -> impl Strategy<Value = Seen> {
    let input = || (0..3_usize).prop_map(Seen::Input);
    let not = |input: usize| Seen::Not(Box::new(Seen::Input(input)));
    let orders = || select(vec![[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]);
    prop_oneof![
        orders().prop_map(move |[a, b, c]| Seen::All(vec![
            Seen::Input(a),
            Seen::Any(vec![Seen::Input(b), Seen::Input(c)])
        ])),
        orders().prop_map(move |[a, b, c]| Seen::All(vec![Seen::Input(a), Seen::Input(b), not(c)])),
        orders().prop_map(move |[a, b, c]| Seen::All(vec![Seen::Input(a), not(b), not(c)])),
        orders().prop_map(move |[a, b, c]| Seen::Any(vec![
            Seen::All(vec![Seen::Input(a), not(b)]),
            Seen::Input(c)
        ])),
        (input(), orders()).prop_map(move |(one, [a, b, c])| Seen::All(vec![
            one,
            Seen::Any(vec![Seen::Input(a), Seen::Input(b), Seen::Input(c)])
        ])),
    ]
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => any_threshold(5).prop_map(Kind::EventCount),
        2 => any_threshold(4).prop_map(Kind::ValueCount),
        1 => any_threshold(8).prop_map(Kind::Sum),
        1 => any_threshold(3).prop_map(Kind::Avg),
        1 => any_threshold(3).prop_map(Kind::Median),
        1 => (select(&[0, 1, 50, 90, 100][..]), any_threshold(3))
            .prop_map(|(share, threshold)| Kind::Percentile(share, threshold)),
        2 => option::of(rule_count()).prop_map(Kind::Temporal),
        2 => option::of(rule_count()).prop_map(Kind::Ordered),
        2 => seen().prop_map(Kind::TemporalIf),
        2 => seen().prop_map(Kind::OrderedIf),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        3 => Just(Shape::Usual),
        1 => Just(Shape::Tumbling),
        1 => select(&[10, 20, 30][..]).prop_map(|gap| Shape::Session { gap: gap * SECOND }),
    ]
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let span = select(&[20, 30, 60][..]).prop_map(|seconds| seconds * SECOND);
    (kind(), shape(), span, any::<bool>(), option::weighted(0.2, Just(100 * SECOND))).prop_map(
        |(kind, shape, span, by_user, suppress)| Rule { kind, shape, span, by_user, suppress },
    )
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    (rule(), events(24)).prop_map(|(rule, events)| Case { rule, events })
}

pub(crate) fn chain() -> impl Strategy<Value = Chain> {
    let inner = (any_threshold(3), select(&[20, 30][..]), any::<bool>());
    (inner, rule()).prop_map(|((threshold, seconds, tumbling), outer)| {
        let shape = if tumbling { Shape::Tumbling } else { Shape::Usual };
        let kind = Kind::EventCount(threshold);
        let inner = Rule { kind, shape, span: seconds * SECOND, by_user: true, suppress: None };
        Chain { inner, outer }
    })
}
