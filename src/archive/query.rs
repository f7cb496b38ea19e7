//! What is asked of the ledger: which rows, of which time, from where on.

use std::{fmt, sync::Arc};

use crate::engine::{
    access::{Access, Object, Outcome, Usage},
    ledger::{About, EntryKind, Row},
    time::EventTime,
};

/// Which rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Who acted, or spoke for who acted.
    Actor(String),
    /// What was asked for.
    Object {
        /// `secrets`, `pods` …
        resource: String,
        /// In which namespace; in any, if it is not given.
        namespace: Option<String>,
        /// Which one; any, if it is not given. Lists and watches that covered it count.
        name: Option<String>,
    },
    /// Of which API group.
    Group(String),
    /// Below which part of what was asked for: `exec`, `log`.
    Subresource(String),
    /// In which namespace.
    Namespace(String),
    /// From which address.
    Source(String),
    /// With which credential.
    Credential(String),
    /// By which permission, as [`crate::engine::access::Permission::name`] says it.
    Permission(String),
    /// Of which class.
    Class(String),
    /// With one of these verbs.
    Verbs(Vec<String>),
    /// In which cluster.
    Cluster(String),
    /// Accesses that ended so.
    Outcome(Outcome),
    /// Accesses of people, and of who cannot be told from them.
    People,
    /// Accesses that are a part of a session.
    Sessions,
    /// Accesses alone.
    Accesses,
    /// Entries of a kind alone.
    Entries(EntryKind),
    /// Changes of alerts about somebody or something alone.
    Alerts(About),
    /// Uses of permissions alone: by [`Filter::Actor`], [`Filter::Permission`] and others like them.
    Usage,
}

/// Which rows are wanted, all of the filters, and how many of them.
#[derive(Clone, Debug)]
pub struct Query {
    /// All of them must fit.
    pub filters: Vec<Filter>,
    /// Not before this; of a roll-up the last request. Its row stands where the first was, so it may come before this.
    pub from: EventTime,
    /// Before this.
    pub to: EventTime,
    /// Behind this row.
    pub after: Option<Cursor>,
    /// So many at most.
    pub limit: usize,
}

/// A place between two rows, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the row before happened, in microseconds since 1970.
    pub at: i64,
    /// Its id.
    pub id: u64,
}

/// Rows in the order of time, and where the next ones begin.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where to go on; `None` if these are all.
    pub next: Option<Cursor>,
}

impl Cursor {
    /// Behind a row.
    pub fn behind(row: &Row) -> Cursor {
        Cursor { at: row.at().micros(), id: row.id }
    }

    /// From the text of one.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (at, id) = text.split_once('.')?;
        Some(Cursor { at: at.parse().ok()?, id: id.parse().ok()? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

impl Query {
    /// Whether it wants accesses, of which some are roll-ups.
    pub(super) fn may_want_roll_ups(&self) -> bool {
        let has_none = |filter: &Filter| {
            matches!(filter, Filter::Entries(_) | Filter::Usage | Filter::Alerts(_))
        };
        !self.filters.iter().any(has_none)
    }

    /// Whether a row is among those that are wanted, wherever the page begins.
    pub fn fits(&self, row: &Row) -> bool {
        let last = row.access().map_or_else(|| row.at(), Access::last);
        // Nobody who asks what was done wants to be told each of it twice.
        let is_asked_for = row.usage().is_none() || self.filters.contains(&Filter::Usage);
        last.max(row.at()) >= self.from
            && row.at() < self.to
            && is_asked_for
            && self.filters.iter().all(|filter| filter.fits(row))
    }
}

impl Filter {
    /// Whether a row is one of these.
    pub fn fits(&self, row: &Row) -> bool {
        if let Some(usage) = row.usage() {
            return self.fits_usage(usage);
        }
        let access = row.access();
        let of = |find: fn(&Access) -> Option<&Arc<str>>, wanted: &str| {
            access.and_then(find).is_some_and(|text| **text == *wanted)
        };
        match self {
            Filter::Actor(actor) => {
                of(|access| access.actor.id.as_ref(), actor)
                    || of(|access| access.on_behalf_of.as_ref(), actor)
            }
            Filter::Object { resource, namespace, name } => {
                let object = access.and_then(|access| access.object.as_ref());
                let wanted = (resource.as_str(), namespace.as_deref(), name.as_deref());
                object.is_some_and(|object| covers(object, wanted))
            }
            Filter::Group(group) => of(|access| access.object.as_ref()?.group.as_ref(), group),
            Filter::Subresource(below) => {
                of(|access| access.object.as_ref()?.subresource.as_ref(), below)
            }
            Filter::Namespace(namespace) => {
                of(|access| access.object.as_ref()?.namespace.as_ref(), namespace)
            }
            Filter::Source(source) => of(|access| access.source_ip.as_ref(), source),
            Filter::Credential(id) => of(|access| access.credential_id.as_ref(), id),
            Filter::Permission(name) => access
                .and_then(|access| access.permission.as_ref())
                .is_some_and(|permission| permission.name() == *name),
            Filter::Class(class) => {
                access.is_some_and(|access| access.classes.iter().any(|one| **one == **class))
            }
            Filter::Verbs(verbs) => {
                let verb = access.and_then(|access| access.verb.as_deref());
                verb.is_some_and(|verb| verbs.iter().any(|one| one == verb))
            }
            Filter::Cluster(cluster) => of(|access| access.cluster.as_ref(), cluster),
            Filter::Outcome(outcome) => {
                access.is_some_and(|access| access.outcome == Some(*outcome))
            }
            Filter::People => access.is_some_and(|access| !access.actor.is_machine()),
            Filter::Sessions => access.is_some_and(|access| access.session.is_some()),
            Filter::Accesses => access.is_some(),
            Filter::Entries(kind) => row.entry().is_some_and(|entry| entry.kind == *kind),
            Filter::Alerts(about) => row.entry().is_some_and(|entry| about.fits(entry)),
            Filter::Usage => row.usage().is_some(),
        }
    }
}

impl Filter {
    /// Whether a use of a permission is one of these. Uses are answers to questions about permissions, not to
    /// those about what was done.
    fn fits_usage(&self, usage: &Usage) -> bool {
        let is = |text: Option<&Arc<str>>, wanted: &str| text.is_some_and(|text| **text == *wanted);
        let object = usage.object.as_ref();
        match self {
            Filter::Usage => true,
            Filter::Actor(actor) => {
                is(usage.actor.id.as_ref(), actor) || is(usage.on_behalf_of.as_ref(), actor)
            }
            Filter::Permission(name) => {
                usage.permission.as_ref().is_some_and(|permission| permission.name() == *name)
            }
            Filter::Cluster(cluster) => is(usage.cluster.as_ref(), cluster),
            Filter::Group(group) => is(object.and_then(|object| object.group.as_ref()), group),
            Filter::Subresource(below) => {
                is(object.and_then(|object| object.subresource.as_ref()), below)
            }
            Filter::Namespace(namespace) => {
                is(object.and_then(|object| object.namespace.as_ref()), namespace)
            }
            Filter::Object { resource, namespace, name } => {
                let wanted = (resource.as_str(), namespace.as_deref(), name.as_deref());
                object.is_some_and(|object| covers(object, wanted))
            }
            Filter::Verbs(verbs) => verbs.iter().any(|verb| **verb == *usage.verb),
            Filter::Source(_)
            | Filter::Credential(_)
            | Filter::Class(_)
            | Filter::Outcome(_)
            | Filter::People
            | Filter::Sessions
            | Filter::Accesses
            | Filter::Entries(_)
            | Filter::Alerts(_) => false,
        }
    }
}

/// Whether an object is the one that is wanted, or a request for it was about that one too: without a name
/// it was about all, without a namespace about those of all.
fn covers(
    object: &Object<Arc<str>>,
    (resource, namespace, name): (&str, Option<&str>, Option<&str>),
) -> bool {
    let fits = |wanted: Option<&str>, asked: Option<&str>| {
        wanted.is_none_or(|wanted| asked.is_none_or(|asked| asked == wanted))
    };
    *object.resource == *resource
        && fits(namespace, object.namespace.as_deref())
        && fits(name, object.name.as_deref())
}
