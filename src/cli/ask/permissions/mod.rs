//! `tripline permissions`: what is granted and what is used, and the role that would do.

mod import;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{AskArgs, flag};
use crate::ask::{
    Params,
    permissions::{grants, role},
};

/// Show which permissions are granted and which are used, and suggest the role that would do.
///
/// Verdicts: `used`; `unused`: it was not, and all of the time was observed; `not observed`: it was not seen to be
/// used, but some of the time is not known; `cannot tell`: the log names one binding for a request, and another
/// one allows the same, or it names none, or the verb is one that no request shows (`impersonate`, `bind`, `escalate`,
/// `approve`, `use` …). What is granted is what `import` brought, and what changed since.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json | tripline permissions import -
  tripline permissions --subject anna@example.org --since 90d
  tripline permissions --subject serviceaccount:shop/web
  tripline permissions --binding shop/edit
  tripline permissions --unused --since 90d --format csv
  tripline permissions role --subject serviceaccount:shop/web > role.yaml
  kubectl apply --dry-run=server -f role.yaml"
)]
pub(in crate::cli) struct PermissionsArgs {
    #[command(subcommand)]
    command: Option<PermissionsCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Subcommand, Debug)]
enum PermissionsCommand {
    Import(import::ImportArgs),
    Role(RoleArgs),
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// What a user is given and uses; or group:NAME, serviceaccount:NAMESPACE/NAME.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// One binding: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "NAME")]
    binding: Option<String>,
    /// All bindings of a role: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Only what was not seen to be used: `unused` and `not observed`.
    #[arg(long)]
    unused: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// Suggest the smallest role that allows what somebody did, as YAML for kubectl.
///
/// It names every verb and resource that was used and nothing that stands for more; objects by name where there
/// were few and they stay the same; a ClusterRole only for what was used in all of the cluster. Comments say on
/// which time it rests, how much of that was observed, and what is left out.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline permissions role --subject serviceaccount:shop/web --since 90d > role.yaml
  tripline permissions role --subject anna@example.org --format json
  tripline permissions role --subject group:ops --server http://127.0.0.1:9464")]
struct RoleArgs {
    /// For whom: a user; or group:NAME, serviceaccount:NAMESPACE/NAME.
    #[arg(long, value_name = "NAME")]
    subject: String,
    #[command(flatten)]
    ask: AskArgs,
}

pub(in crate::cli) fn execute(args: &PermissionsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(PermissionsCommand::Import(args)) => import::execute(args),
        Some(PermissionsCommand::Role(args)) => {
            let params = Params::default().with("subject", Some(args.subject.clone()));
            args.ask.answer(&role::QUESTION, params)
        }
        None => {
            let show = &args.show;
            let params = Params::default()
                .with("subject", show.subject.clone())
                .with("binding", show.binding.clone())
                .with("role", show.role.clone())
                .with("unused", flag(show.unused));
            show.ask.answer(&grants::QUESTION, params)
        }
    }
}
