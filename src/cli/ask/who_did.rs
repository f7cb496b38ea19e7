//! `tripline who-did`: who did something to something.

use std::process::ExitCode;

use clap::Args;

use super::{
    AskArgs, Format, Mistake, PAGE_ROWS, answered,
    timeline::{cursor, print},
    words::{COLUMNS, cells, table},
};
use crate::{
    archive::Filter,
    cli::{exit, output},
    engine::{
        diagnostic::nearest,
        kubernetes::{resources::RESOURCES, verbs::RESOURCE_VERBS},
        ledger::Row,
    },
};

/// Show who did something to something: who read a secret, who deleted a deployment.
///
/// Lists and watches that covered the object count, and are marked; so does a deletion of all.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline who-did get secrets db-password -n payments --since 90d
  tripline who-did delete deployments -n shop --since 7d
  tripline who-did '*' clusterrolebindings --since 30d --format jsonl")]
pub(in crate::cli) struct WhoDidArgs {
    /// What was done: get, list, watch, create, update, patch, delete; '*' for anything.
    #[arg(value_name = "VERB")]
    verb: String,
    /// To what: `secrets`, `pods`.
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// To which one.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// In which namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = PAGE_ROWS)]
    limit: usize,
    /// Go on behind this place, as the page before said it.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

pub(in crate::cli) fn execute(args: &WhoDidArgs) -> anyhow::Result<ExitCode> {
    answered(run(args))
}

fn run(args: &WhoDidArgs) -> anyhow::Result<ExitCode> {
    check_verb(&args.verb)?;
    check_resource(&args.resource)?;
    let mut asked = args.ask.resolve("24h")?;
    let (resource, namespace, name) =
        (args.resource.clone(), args.namespace.clone(), args.name.clone());
    asked.filters.insert(0, Filter::Object { resource, namespace, name });
    if args.verb != "*" {
        let verbs = covering(&args.verb).iter().map(|verb| (*verb).to_owned()).collect();
        asked.filters.push(Filter::Verbs(verbs));
    }
    let page = asked.page(cursor(args.after.as_deref())?, args.limit)?;
    if asked.format != Format::Text || page.rows.is_empty() {
        print(&asked, &page.rows, page.next)?;
        return Ok(exit::OK);
    }
    let rows: Vec<Vec<String>> = page
        .rows
        .iter()
        .map(|row| {
            let mut cells = cells(row, &asked.zone);
            if let Some(what) = cells.last_mut()
                && covers_more(row, args)
            {
                what.push_str("  [covered it]");
            }
            cells
        })
        .collect();
    output::print_all(&table(&COLUMNS, &rows))?;
    if let Some(next) = page.next {
        output::tell(&format!("there is more: --after {next}"));
    }
    Ok(exit::OK)
}

/// The verbs by which the same is done: whoever lists or watches secrets has read them.
fn covering(verb: &str) -> &'static [&'static str] {
    match verb {
        "get" => &["get", "list", "watch"],
        "list" => &["list", "watch"],
        "watch" => &["watch"],
        "delete" => &["delete", "deletecollection"],
        "update" => &["update", "patch"],
        "patch" => &["patch"],
        "create" => &["create"],
        _ => &["deletecollection"],
    }
}

/// Whether a row was about more than the object that is asked about.
fn covers_more(row: &Row, args: &WhoDidArgs) -> bool {
    let object = row.access().and_then(|access| access.object.as_ref());
    object.is_some_and(|object| {
        args.name.is_some() && object.name.is_none()
            || args.namespace.is_some() && object.namespace.is_none()
    })
}

fn check_verb(verb: &str) -> anyhow::Result<()> {
    if verb == "*" || RESOURCE_VERBS.contains(&verb) {
        return Ok(());
    }
    let near = nearest(verb, RESOURCE_VERBS.iter().copied());
    let hint = near.map_or_else(
        || format!("they are: {}", RESOURCE_VERBS.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Mistake(format!("there is no verb `{verb}`; {hint}")).into())
}

/// Resources that nobody knows may be custom ones; those that are nearly known are a mistake.
fn check_resource(resource: &str) -> anyhow::Result<()> {
    let known = || RESOURCES.iter().map(|known| known.name);
    match nearest(resource, known()) {
        Some(near) if near != resource && known().all(|known| known != resource) => {
            Err(Mistake(format!("there is no resource `{resource}`; did you mean `{near}`?"))
                .into())
        }
        _ => Ok(()),
    }
}
