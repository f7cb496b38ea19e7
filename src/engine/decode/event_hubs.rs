//! Azure diagnostic settings to Event Hubs: how the audit log of AKS leaves Azure.

use std::borrow::Cow;

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper},
};

/// `{"records": [{"category": "kube-audit", "properties": {"log": "<line>"}, "resourceId": …}]}`.
pub(super) struct EventHubs;

impl Wrapper for EventHubs {
    fn name(&self) -> &'static str {
        "event_hubs"
    }

    fn summary(&self) -> &'static str {
        "Azure diagnostic logs (AKS): events as text, or as they are, in `records[].properties.log`. \
         The cluster is the last part of `resourceId`, in lower case. Categories other than \
         `kube-audit…` are passed over."
    }

    fn example(&self) -> &'static str {
        r#"{"records":[{"category":"kube-audit","operationName":"Microsoft.ContainerService/managedClusters/diagnosticLogs/Read","properties":{"log":"@TEXT@","stream":"stdout","pod":"kube-apiserver-0"},"resourceId":"/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PROD","time":"2026-01-05T22:14:01.1314Z"}]}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        // Some consumers take the batch apart.
        let Some(records) = wrapper.get("records") else { return record(wrapper, inside) };
        let mut known = false;
        for item in records.items() {
            known |= record(item, inside);
        }
        known
    }
}

fn record<'a>(record: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
    let (Some(category), Some(log)) =
        (record.get("category").and_then(Json::text), record.at(&["properties", "log"]))
    else {
        return false;
    };
    if !category.starts_with("kube-audit") {
        return true;
    }
    let content = if log.is_object() { Some(Cow::Borrowed(log.raw())) } else { log.text() };
    let resource = record.get("resourceId").and_then(Json::text);
    let cluster = resource
        .as_deref()
        .and_then(|id| id.rsplit('/').next())
        .filter(|name| !name.is_empty())
        .map(|name| Cow::Owned(name.to_lowercase()));
    inside.extend(content.map(|content| Wrapped { content, cluster }));
    true
}
