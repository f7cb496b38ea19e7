//! What requests were for, as people write it: `secrets`, `pods/exec`, `deployments.apps`.

use super::Mistake;
use crate::{
    archive::Filter,
    engine::{
        diagnostic::nearest,
        kubernetes::resources::{self, PARTS, RESOURCES, Resource, SUBRESOURCES},
        text::printable,
    },
};

/// A resource, of one API group or of any, and what lies below it if only that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    resource: String,
    group: Option<String>,
    subresource: Option<String>,
}

impl Target {
    /// Reads `resource.group/subresource`; each but the resource may be left out. No name of a resource has a dot.
    pub fn read(text: &str) -> Target {
        let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (resource, subresource) = text.split_once('/').unwrap_or((text, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Target { resource: resource.to_owned(), group: part(group), subresource: part(subresource) }
    }

    /// Which rows are about it.
    pub fn filters(&self, namespace: Option<String>, name: Option<String>) -> Vec<Filter> {
        let resource = self.resource.clone();
        let mut filters = vec![Filter::Object { resource, namespace, name }];
        filters.extend(self.group.clone().map(Filter::Group));
        filters.extend(self.subresource.clone().map(Filter::Subresource));
        filters
    }

    /// Whether it is a resource, and nothing that lies below it alone.
    pub(super) fn is_all_of(&self, resource: &str) -> bool {
        self.resource == resource && self.subresource.is_none()
    }

    /// Whether the connection becomes a stream, for which clients ask with `create` or `get`.
    pub(super) fn upgrades(&self) -> bool {
        let below = self.subresource.as_deref().and_then(resources::subresource);
        below.is_some_and(|below| below.upgrades)
    }

    /// Refuses what is nearly the name of a resource of Kubernetes, and what kubectl calls one for short. What nobody knows
    /// may be a custom one.
    ///
    /// # Errors
    /// Which one may have been meant.
    pub(super) fn check_name(&self) -> Result<(), Mistake> {
        let text = &*self.resource;
        let is_of_others = self.group.as_deref().is_some_and(|group| !resources::is_group(group));
        if is_of_others || resources::named(text).next().is_some() {
            return Ok(());
        }
        let meant = resources::meant(text).map(|known| known.name);
        match meant.or_else(|| nearest(text, RESOURCES.iter().map(|known| known.name))) {
            Some(near) => Err(unknown(&format!("resource `{}`", printable(text)), &[near])),
            None => Ok(()),
        }
    }

    /// Refuses, where no row is about it, what Kubernetes does not have: a subresource that stands alone, or below another
    /// resource; a group that does not have the resource.
    ///
    /// # Errors
    /// Which ones may have been meant.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        self.check_name()?;
        let text = &*self.resource;
        let mut known = resources::named(text).peekable();
        if known.peek().is_none() {
            return self.check_alone();
        }
        let said = printable(text);
        let is_elsewhere = |group: &&String| {
            resources::is_group(group) && known.clone().all(|known| known.group != **group)
        };
        if let Some(group) = self.group.as_ref().filter(is_elsewhere) {
            let what = format!("`{said}` in the group `{}`", printable(group));
            let named = |known: &Resource| match known.group {
                "" => text.to_owned(),
                group => format!("{text}.{group}"),
            };
            return Err(unknown(&what, &known.map(named).collect::<Vec<_>>()));
        }
        let Some(below) = &self.subresource else { return Ok(()) };
        let all: Vec<&str> = known.flat_map(|known| known.subresources.iter().copied()).collect();
        if all.contains(&below.as_str()) {
            return Ok(());
        }
        let what = format!("subresource `{}` of `{said}`", printable(below));
        match nearest(below, all.iter().copied()) {
            Some(near) => Err(unknown(&what, &[format!("{text}/{near}")])),
            None => Err(Mistake {
                code: "unknown_name",
                message: format!("there is no {what}"),
                hint: "if it is the name of an object, say it as the name".to_owned(),
            }),
        }
    }

    /// `exec`, which is below pods.
    fn check_alone(&self) -> Result<(), Mistake> {
        let below = SUBRESOURCES.iter().map(|known| known.name);
        let found = nearest(&self.resource, below.filter(|name| !PARTS.contains(name)));
        let Some(below) = found.filter(|_| self.group.is_none() && self.subresource.is_none())
        else {
            return Ok(());
        };
        let has_it = RESOURCES.iter().filter(|known| known.subresources.contains(&below));
        let near: Vec<String> = has_it.map(|known| format!("{}/{below}", known.name)).collect();
        Err(unknown(&format!("resource `{}`", printable(&self.resource)), &near))
    }
}

fn unknown(what: &str, near: &[impl AsRef<str>]) -> Mistake {
    let near: Vec<&str> = near.iter().map(AsRef::as_ref).collect();
    let hint = format!("did you mean `{}`?", near.join("`, `"));
    Mistake { code: "unknown_name", message: format!("there is no {what}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_does_not_have_is_named_with_what_was_meant() {
        for (text, meant) in [
            ("po", "`pods`"),
            ("deploy", "`deployments`"),
            ("sa", "`serviceaccounts`"),
            ("Pods", "`pods`"),
            ("secret", "`secrets`"),
            ("po/exec", "`pods`"),
            ("exec", "`pods/exec`"),
            ("port-forward", "`pods/portforward`"),
            ("token", "`serviceaccounts/token`"),
            ("proxy", "`nodes/proxy`, `pods/proxy`, `services/proxy`"),
            ("pods/exce", "`pods/exec`"),
            ("deployments.batch", "`deployments.apps`"),
            ("pods.apps", "`pods`"),
            ("secrets/db-password", "name of an object"),
        ] {
            let said = Target::read(text).check().unwrap_err().hint;
            assert!(said.contains(meant), "{text}: {said}");
        }
        for text in [
            "pods",
            "pods/exec",
            "nodes/proxy",
            "deployments.apps",
            "deployments.apps/scale",
            "widgets",
            "tokens",
            "widgets/whatever",
            "certificates.cert-manager.io",
            "deployments.extensions",
        ] {
            assert_eq!(Target::read(text).check_name(), Ok(()), "{text}");
        }
    }
}
