//! Azure diagnostic settings to Event Hubs: how the audit log of AKS leaves Azure.
//!
//! `{"records": [{"category": "kube-audit", "properties": {"log": "<line>"}, "resourceId": …}]}`. Some
//! consumers take the batch apart, so that each of its records comes alone.

use std::borrow::Cow;

use super::{
    json::Json,
    promise::is_promising,
    search::{Around, Content, Members, Search},
};
use crate::engine::dead_letter::ControlMessage;

/// How the categories of other logs of the control plane begin.
const OTHERS: [&str; 6] =
    ["cloud-controller-manager", "cluster-autoscaler", "csi-", "guard", "karpenter-", "kube-"];

pub(super) fn is(members: &Members<'_>) -> bool {
    let is_batch = |records: Json<'_>| {
        records.items().next().is_some_and(|first| is_record(&Members::of(first)))
    };
    is_record(members) || members.get("records").is_some_and(is_batch)
}

fn is_record(members: &Members<'_>) -> bool {
    category_of(members).is_some() && (members.has("properties") || resource_of(members).is_some())
}

fn category_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    members.text("category").or_else(|| members.text("Category"))
}

fn resource_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    ["resourceId", "ResourceId", "_ResourceId"].iter().find_map(|key| members.text(key))
}

/// Columns of the table `AKSAudit` of Log Analytics, and the fields of events that they are.
const COLUMNS: [(&str, &str); 16] = [
    ("Annotations", "annotations"),
    ("AuditId", "auditID"),
    ("ImpersonatedUser", "impersonatedUser"),
    ("Level", "level"),
    ("ObjectRef", "objectRef"),
    ("RequestObject", "requestObject"),
    ("RequestReceivedTime", "requestReceivedTimestamp"),
    ("RequestUri", "requestURI"),
    ("ResponseObject", "responseObject"),
    ("ResponseStatus", "responseStatus"),
    ("SourceIps", "sourceIPs"),
    ("Stage", "stage"),
    ("StageReceivedTime", "stageTimestamp"),
    ("User", "user"),
    ("UserAgent", "userAgent"),
    ("Verb", "verb"),
];

/// A row of the table, as data export rules send it: objects may be texts.
fn row(members: &Members<'_>) -> Option<String> {
    members.get("AuditId").and(members.get("Verb"))?;
    let mut event = String::from("{");
    for (column, field) in COLUMNS {
        let Some(value) = members.get(column) else { continue };
        let comma = if event.len() > 1 { "," } else { "" };
        let is_tree = matches!(
            field,
            "annotations"
                | "impersonatedUser"
                | "objectRef"
                | "requestObject"
                | "responseObject"
                | "responseStatus"
                | "sourceIPs"
                | "user"
        );
        let inner = value.text().filter(|text| is_tree && Json::new(text).is_whole_tree());
        let value = inner.as_deref().unwrap_or(value.raw());
        event.push_str(&format!("{comma}\"{field}\":{value}"));
    }
    event.push('}');
    Some(event)
}

/// One record of a batch.
pub(super) fn open<'a>(
    json: Json<'a>,
    members: &Members<'a>,
    search: &mut Search<'a>,
    around: &Around<'a>,
) -> bool {
    if let Some(event) = row(members) {
        search.push(Content::Text(Cow::Owned(event)), around);
        return true;
    }
    let Some(category) = category_of(members).filter(|_| is_record(members)) else { return false };
    if !category.to_ascii_lowercase().starts_with("kube-audit") {
        // Unless somebody renamed it, it is another log; in those of the control plane clients choose much of
        // what is written.
        let category = category.to_ascii_lowercase();
        let is_other =
            OTHERS.iter().any(|other| category.starts_with(other)) || !is_promising(json.raw());
        if is_other {
            search.push(Content::Control(ControlMessage::OtherLog), around);
        }
        return is_other;
    }
    let properties = members.get("properties");
    let log = properties.and_then(|properties| properties.get("log").or(properties.get("Log")));
    // Properties may be a text themselves.
    let log = log.or_else(|| properties.filter(|json| json.is_string())).or(members.get("log"));
    if log.is_none() && is_promising(json.raw()) {
        // A table has columns of other names.
        return false;
    }
    search.push_content(log, json, around);
    true
}

/// The cluster: the last part of the resource that a record is about.
pub(super) fn cluster_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    let resource = resource_of(members)?.to_lowercase();
    let (_, name) = resource.rsplit_once('/')?;
    (!name.is_empty()).then(|| Cow::Owned(name.to_owned()))
}
