//! Shapes of the bodies of requests and responses: which fields the objects have that Kubernetes
//! brings along, and what is in them.
//!
//! `shapes.txt` is made from the Go types of the API: each line a type and its fields, or (after a `/`)
//! the type of a resource's bodies. All served versions of a type are one here. What a path means is
//! told; what is to be said about one that leads nowhere is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::LazyLock,
};

use super::{
    fields::FieldKind,
    resources::{RESOURCES, Resource},
};

/// What a deletion may be given, whatever the resource.
pub const DELETE_OPTIONS: &str = "DeleteOptions";
/// The answer to a request that failed, and to some that did not.
pub const STATUS: &str = "Status";
/// The answer to kubectl's lists.
pub const TABLE: &str = "Table";
/// The type of pod specs.
pub const POD_SPEC_TYPE: &str = "PodSpec";

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A scalar; `None`: a number or a text.
    Scalar(Option<FieldKind>),
    /// An object of this type.
    Object(&'static str),
    /// Whatever somebody likes, by keys of their own.
    Open,
}

/// A field of a type.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds, or each element of it.
    pub content: Content,
    /// Whether it is a list.
    pub is_list: bool,
}

struct Shapes {
    /// Fields by type; sorted by name.
    types: BTreeMap<&'static str, Vec<Field>>,
    /// Types of bodies, by `<plural>[.<group>][/<subresource>]`.
    bodies: BTreeMap<&'static str, &'static str>,
    /// Names of fields that hold whatever somebody likes, in some type.
    open: BTreeSet<&'static str>,
    /// Names of fields that are lists, in every type that has them.
    lists: BTreeSet<&'static str>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| parse(include_str!("shapes.txt")));

fn parse(text: &'static str) -> Shapes {
    let (types, bodies, open) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut shapes = Shapes { types, bodies, open, lists: BTreeSet::new() };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(resource) = name.strip_prefix('/') {
            shapes.bodies.insert(resource, rest);
        } else {
            let fields = rest.split(' ').filter_map(|field| field.split_once(':'));
            let fields: Vec<Field> = fields.map(|(name, word)| field(name, word)).collect();
            let open = fields.iter().filter(|field| field.content == Content::Open);
            shapes.open.extend(open.map(|field| field.name));
            shapes.types.insert(name, fields);
        }
    }
    let fields = || shapes.types.values().flatten();
    shapes.lists = fields().filter(|field| field.is_list).map(|field| field.name).collect();
    for field in fields().filter(|field| !field.is_list) {
        shapes.lists.remove(field.name);
    }
    shapes
}

fn field(name: &'static str, word: &'static str) -> Field {
    let (word, is_list) = word.strip_prefix("[]").map_or((word, false), |word| (word, true));
    let content = match word {
        _ if word.starts_with("{}") || word == "tree" => Content::Open,
        "text" => Content::Scalar(Some(FieldKind::Text)),
        "number" => Content::Scalar(Some(FieldKind::Number)),
        "bool" => Content::Scalar(Some(FieldKind::Bool)),
        "time" => Content::Scalar(Some(FieldKind::Time)),
        "any" => Content::Scalar(None),
        name => Content::Object(name),
    };
    Field { name, content, is_list }
}

/// The type of the bodies of a resource, or of what lies below it. `None` if it is not known.
pub fn body_of(resource: &Resource, below: Option<&str>) -> Option<&'static str> {
    let mut name = resource.name.to_owned();
    if !resource.group.is_empty() {
        name.push('.');
        name.push_str(resource.group);
    }
    if let Some(below) = below
        && let Some(of_below) = SHAPES.bodies.get(format!("{name}/{below}").as_str())
    {
        return Some(of_below);
    }
    SHAPES.bodies.get(name.as_str()).copied()
}

/// Every type of body that is known.
pub fn all_bodies() -> BTreeSet<&'static str> {
    let below = |resource: &'static Resource| {
        let below = resource.subresources.iter().map(|below| Some(*below));
        std::iter::once(None).chain(below).filter_map(|below| body_of(resource, below))
    };
    let others = [DELETE_OPTIONS, STATUS, TABLE];
    RESOURCES.iter().flat_map(below).chain(others).collect()
}

/// Where a path below an object leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a scalar, of this kind if it has one.
    Scalar(Option<FieldKind>),
    /// To an object or a list of them.
    Object(&'static str),
    /// To something that anybody may name.
    Open,
    /// Nowhere.
    Nowhere(Stop),
}

/// Where a path cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Byte offset of the segment that is not there.
    pub at: usize,
    /// The type that does not have it; `None` for a scalar, which has nothing below.
    pub of: Option<&'static str>,
    /// Whether the segment before leads to a list.
    pub in_list: bool,
}

/// Whether a field of this name holds keys of people's own in some type, such as `labels`: they may have
/// dots in them, as names of fields never have.
pub fn is_open(name: &str) -> bool {
    SHAPES.open.contains(name)
}

/// Whether a field of this name is a list in every type that has it.
pub fn is_list(name: &str) -> bool {
    SHAPES.lists.contains(name)
}

/// Follows a path below an object of a type. Lists are looked through, as rules do.
pub fn follow(of: &'static str, path: &str) -> Way {
    let (mut here, mut at, mut in_list) = (Way::Object(of), 0, false);
    for segment in path.split('.') {
        // Directions for a strategic merge patch may stand anywhere.
        if segment.starts_with('$') {
            return Way::Open;
        }
        let Way::Object(of) = here else {
            return Way::Nowhere(Stop { at, of: None, in_list });
        };
        let Some(field) = step(of, segment) else {
            return Way::Nowhere(Stop { at, of: Some(of), in_list });
        };
        here = match field.content {
            Content::Open => return Way::Open,
            Content::Scalar(kind) => Way::Scalar(kind),
            Content::Object(of) => Way::Object(of),
        };
        in_list = field.is_list;
        at += segment.len() + 1;
    }
    here
}

fn fields(of: &str) -> &'static [Field] {
    SHAPES.types.get(of).map_or(&[], Vec::as_slice)
}

/// The field of a type with exactly this name.
pub fn step(of: &str, name: &str) -> Option<&'static Field> {
    let fields = fields(of);
    let index = fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
    fields.get(index)
}

/// The names of the fields of a type; sorted.
pub fn names(of: &str) -> impl Iterator<Item = &'static str> {
    fields(of).iter().map(|field| field.name)
}

/// The shortest path below an object of a type to a field of this name, whatever its case; of several
/// the first by name. `None` if there is none.
pub fn path_to(of: &'static str, name: &str) -> Option<String> {
    let mut seen = BTreeSet::from([of]);
    let mut queue = VecDeque::from([(of, String::new())]);
    while let Some((of, path)) = queue.pop_front() {
        for field in fields(of) {
            let path = match path.as_str() {
                "" => field.name.to_owned(),
                path => format!("{path}.{}", field.name),
            };
            if field.name.eq_ignore_ascii_case(name) {
                return Some(path);
            }
            if let Content::Object(inner) = field.content
                && seen.insert(inner)
            {
                queue.push_back((inner, path));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kubernetes::resources::find as resource;

    #[test]
    fn the_file_is_consistent() {
        for (name, fields) in &SHAPES.types {
            assert!(fields.is_sorted_by(|left, right| left.name < right.name), "{name}");
            for field in fields {
                if let Content::Object(of) = field.content {
                    assert!(SHAPES.types.contains_key(of), "{name}.{}: {of}", field.name);
                }
            }
        }
        for (body, of) in &SHAPES.bodies {
            assert!(SHAPES.types.contains_key(of), "{body}: {of}");
            let (resource, below) = body.split_once('/').unwrap_or((body, ""));
            let (name, group) = resource.split_once('.').unwrap_or((resource, ""));
            let known = super::super::resources::find(group, name).expect(body);
            assert!(below.is_empty() || known.subresources.contains(&below), "{body}");
        }
    }

    #[test]
    fn pod_specs_are_where_resources_say() {
        for known in RESOURCES {
            let (Some(place), Some(body)) = (known.pod_spec, body_of(known, None)) else {
                continue;
            };
            let way = follow(body, place);
            assert!(
                matches!(way, Way::Object(POD_SPEC_TYPE) | Way::Open),
                "{}: {way:?}",
                known.name
            );
        }
    }

    #[test]
    fn paths_lead_somewhere_or_nowhere() {
        let bool = Way::Scalar(Some(FieldKind::Bool));
        assert_eq!(follow(POD_SPEC_TYPE, "hostPID"), bool);
        assert_eq!(follow(POD_SPEC_TYPE, "containers.securityContext.privileged"), bool);
        assert_eq!(follow(POD_SPEC_TYPE, "nodeSelector.kubernetes.io/os"), Way::Open);
        assert_eq!(follow(POD_SPEC_TYPE, "volumes"), Way::Object("Volume"));
        let nowhere = |path| match follow(POD_SPEC_TYPE, path) {
            Way::Nowhere(stop) => (stop.at, stop.of, stop.in_list),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(nowhere("hostpid"), (0, Some(POD_SPEC_TYPE), false));
        assert_eq!(nowhere("containers.0.image"), (11, Some("Container"), true));
        assert_eq!(nowhere("hostPID.x"), (8, None, false));
    }

    #[test]
    fn a_name_is_of_a_list_where_all_say_so() {
        for name in ["containers", "volumes", "subjects", "rules", "webhooks", "verbs"] {
            assert!(is_list(name), "{name}");
        }
        // A list in a role, and an object in a container.
        for name in ["resources", "labels", "spec", "hostPath", "no such name"] {
            assert!(!is_list(name), "{name}");
        }
    }

    #[test]
    fn bodies_of_subresources_are_their_own() {
        let pods = resource("", "pods").unwrap();
        assert_eq!(body_of(pods, None), Some("Pod"));
        assert_eq!(body_of(pods, Some("eviction")), Some("Eviction"));
        assert_eq!(body_of(pods, Some("ephemeralcontainers")), Some("Pod"));
        assert_eq!(
            body_of(resource("events.k8s.io", "events").unwrap(), None),
            Some("Event.events")
        );
        assert!(all_bodies().len() > 60);
    }

    #[test]
    fn the_nearest_place_of_a_name_is_found() {
        assert_eq!(path_to(POD_SPEC_TYPE, "image").as_deref(), Some("containers.image"));
        let privileged = path_to(POD_SPEC_TYPE, "Privileged");
        assert_eq!(privileged.as_deref(), Some("containers.securityContext.privileged"));
        assert_eq!(path_to("Deployment", "hostPID").as_deref(), Some("spec.template.spec.hostPID"));
        assert_eq!(path_to(POD_SPEC_TYPE, "descision"), None);
    }
}
