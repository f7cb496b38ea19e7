//! The shipped rules inside the binary, so that `tripline demo` needs no file.
//!
//! A plain table, found by search; a test holds it to the directory `rules/`.

use std::sync::Arc;

use crate::engine::{diagnostic::SourceText, rule::RuleSources};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../rules/", $name)))),*]
    };
}

/// Rule files and their text.
const RULES: &[(&str, &str)] = shipped![
    "access/change.yaml",
    "access/credential.yaml",
    "access/denied.yaml",
    "access/impersonation.yaml",
    "access/permission_change.yaml",
    "access/privileged.yaml",
    "access/read.yaml",
    "access/secret_change.yaml",
    "access/secret_read.yaml",
    "access/session.yaml",
    "admission_webhook_changed.yaml",
    "admission_webhook_failed_open.yaml",
    "anonymous_access_allowed.yaml",
    "anonymous_scan.yaml",
    "audit_silence.yaml",
    "aws_auth_changed.yaml",
    "binding_to_anonymous.yaml",
    "bootstrap_token_made.yaml",
    "certificate_self_approved.yaml",
    "change_cut_off.yaml",
    "change_hidden_from_rules.yaml",
    "change_unfinished.yaml",
    "client_certificate_approved.yaml",
    "cluster_admin_binding.yaml",
    "cluster_dns_changed.yaml",
    "collection_deleted.yaml",
    "controller_account_in_pod.yaml",
    "dangerous_capabilities.yaml",
    "dangerous_role.yaml",
    "ephemeral_container_added.yaml",
    "exec_downloads_tool.yaml",
    "exec_in_platform_namespace.yaml",
    "exec_into_privileged_pod.yaml",
    "exec_outside_business_hours.yaml",
    "exec_reads_credentials.yaml",
    "exec_reverse_shell.yaml",
    "first_exec_in_namespace.yaml",
    "forbidden_burst.yaml",
    "gitops_source_changed.yaml",
    "hiding_behind_ids.yaml",
    "hiding_client.yaml",
    "hiding_decoys.yaml",
    "hiding_in_noise.yaml",
    "hiding_in_size.yaml",
    "host_namespaces.yaml",
    "host_path_mount.yaml",
    "host_path_volume.yaml",
    "impersonated_crowd.yaml",
    "impersonation_refused.yaml",
    "kubernetes_events_deleted.yaml",
    "legacy_token_used.yaml",
    "login_failures_burst.yaml",
    "machine_name_forged.yaml",
    "mass_deletion.yaml",
    "masters_bound.yaml",
    "minted_token_used.yaml",
    "node_proxy_used.yaml",
    "permission_probe.yaml",
    "platform_namespace_made.yaml",
    "pod_made_in_kube_system.yaml",
    "privileged_impersonation.yaml",
    "privileged_pod.yaml",
    "probe_then_secrets.yaml",
    "rare_secret_client.yaml",
    "rbac_changed_by_service_account.yaml",
    "rotating_accounts.yaml",
    "secret_enumeration.yaml",
    "secret_read_burst.yaml",
    "secret_read_by_deletion.yaml",
    "secret_read_denied_burst.yaml",
    "secret_read_spike.yaml",
    "secret_scripting_client.yaml",
    "secrets_listed.yaml",
    "self_granted_role.yaml",
    "service_account_from_public_address.yaml",
    "service_account_hand_tool.yaml",
    "service_account_token_minted.yaml",
    "service_account_token_shared.yaml",
    "system_role_changed.yaml",
    "token_secret_filled.yaml",
    "token_secret_made.yaml",
    "tunnel_into_kube_system.yaml",
    "wildcard_role.yaml",
];

/// Lists and their text.
const LISTS: &[(&str, &str)] = shipped![
    "lists/certificate_accounts.yaml",
    "lists/control_plane_accounts.yaml",
    "lists/endpoint_writers.yaml",
    "lists/event_cleaners.yaml",
    "lists/external_accounts.yaml",
    "lists/impersonation_gateways.yaml",
    "lists/installers.yaml",
    "lists/node_directories.yaml",
    "lists/node_files.yaml",
    "lists/node_proxy_users.yaml",
    "lists/office_berlin.yaml",
    "lists/office_san_francisco.yaml",
    "lists/office_singapore.yaml",
    "lists/platform_accounts.yaml",
    "lists/platform_namespaces.yaml",
    "lists/rbac_managers.yaml",
    "lists/secret_readers.yaml",
    "lists/trusted_namespaces.yaml",
    "lists/webhook_managers.yaml",
    "lists/workload_controllers.yaml",
    "lists/workloads.yaml",
];

const SCHEDULES: &str = include_str!("../../rules/schedules.yaml");

const IDENTITIES: &str = include_str!("../../rules/identities.yaml");

const RISK: &str = include_str!("../../rules/risk.yaml");

/// Everything that a rule directory holds, tests aside; what [`crate::config::rules_dir`] would read
/// from `rules/`.
pub fn shipped_rules() -> RuleSources {
    let source = |name: &str, text: &str| SourceText::new(format!("rules/{name}"), text);
    let list = |(name, text): &(&str, &str)| {
        let stem = name.trim_start_matches("lists/").trim_end_matches(".yaml").to_owned();
        (stem, source(name, text))
    };
    RuleSources {
        rules: RULES.iter().map(|(name, text)| source(name, text)).collect(),
        lists: LISTS.iter().map(list).collect::<Vec<(String, Arc<SourceText>)>>(),
        schedules: Some(source("schedules.yaml", SCHEDULES)),
        risk: Some(source("risk.yaml", RISK)),
        identities: Some(source("identities.yaml", IDENTITIES)),
    }
}
