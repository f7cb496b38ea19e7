//! Rule sets to measure with: the shipped pack, and generated ones in its style.

use std::{fs, path::Path, sync::Arc};

use tripline::engine::{
    diagnostic::SourceText,
    rule::{LoadOptions, RuleSet, RuleSources, load},
};

/// The shipped rules that alert.
pub(crate) fn shipped() -> RuleSet {
    compile(&shipped_sources())
}

/// All of the shipped pack: with the rules that say what the ledger records.
pub(crate) fn recording() -> RuleSet {
    let mut sources = shipped_sources();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/access");
    let files = yaml_files(&root).into_iter().filter(|(name, _)| !name.contains(".test"));
    sources.rules.extend(files.map(|(_, source)| source));
    compile(&sources)
}

/// What it is compiled from.
pub(crate) fn shipped_sources() -> RuleSources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut sources = RuleSources::default();
    for (name, source) in yaml_files(&root) {
        match name.as_str() {
            "identities" => sources.identities = Some(source),
            "risk" => sources.risk = Some(source),
            "schedules" => sources.schedules = Some(source),
            name if name.contains(".test") => {}
            _ => sources.rules.push(source),
        }
    }
    sources.lists = yaml_files(&root.join("lists"));
    sources
}

/// So many rules in the style of the pack: each for a team of its own, as a large company has them.
pub(crate) fn generated(count: usize) -> RuleSet {
    let mut sources = RuleSources::default();
    for (number, template) in (0..count).zip(TEMPLATES.iter().cycle()) {
        let text = template.replace("{n}", &number.to_string());
        let text = format!(
            "title: Generated {number}\nname: generated_{number}\nlogsource: {{product: kubernetes, \
             service: audit}}\nlevel: medium\ntripline: {{group-by: [actor.id]}}\ndetection:\n{text}"
        );
        sources.rules.push(SourceText::new(format!("generated/{number}.yaml"), text));
    }
    compile(&sources)
}

/// Ten kinds of rules.
const TEMPLATES: [&str; 10] = [
    "  read: {objectRef.resource: secrets, verb: [get, list, watch], outcome: success}\n  team: \
     {objectRef.namespace: team-{n}}\n  known: {user.username|startswith: \
     'system:serviceaccount:team-{n}:'}\n  condition: read and team and not known\n",
    "  exec: {objectRef.resource: pods, objectRef.subresource: exec, verb: [get, create]}\n  \
     command: {exec.command|contains: ['tool-{n} ', /dev/tcp/{n}, 'nc -e{n}']}\n  condition: exec and \
     command\n",
    "  change: {objectRef.resource: [pods, deployments, daemonsets], verb: [create, update, patch], \
     outcome: success}\n  containers: {pod_spec.containers.image|startswith: \
     'registry-{n}.example.com/'}\n  privileged: {pod_spec.containers.securityContext.privileged: \
     true}\n  condition: change and containers and privileged\n",
    "  binding: {objectRef.resource: [clusterrolebindings, rolebindings], verb: [create, update, \
     patch]}\n  role: {requestObject.roleRef.name: [cluster-admin, 'admin-{n}']}\n  team: \
     {objectRef.name|startswith: 'team-{n}-'}\n  condition: binding and role and team\n",
    "  denied: {outcome: denied, actor.human: true}\n  team: {user.groups: 'team-{n}'}\n  condition: \
     denied and team\n",
    "  token: {objectRef.resource: serviceaccounts, objectRef.subresource: token, verb: create}\n  \
     account: {objectRef.name: 'deployer-{n}'}\n  machinery: {actor.kind: [node, system]}\n  \
     condition: token and account and not machinery\n",
    "  person: {user.username: 'person-{n}@example.com'}\n  odd: {userAgent|contains: [curl, \
     'python-{n}', masscan]}\n  condition: person and odd\n",
    "  delete: {verb: [delete, deletecollection], responseStatus.code: [200, 202]}\n  what: \
     {objectRef.resource: ['things-{n}', persistentvolumeclaims]}\n  where: {objectRef.namespace: \
     'prod-{n}'}\n  condition: delete and what and where\n",
    "  probe: {requestURI|startswith: '/debug-{n}/', responseStatus.code|gte: 400}\n  condition: \
     probe\n",
    "  account: {user.username: 'system:serviceaccount:team-{n}:builder'}\n  away: \
     {source.ip|cidr: ['fd00:{n}::/32', 192.168.0.0/16]}\n  condition: account and not away\n",
];

/// Compiles what has no mistakes.
pub(crate) fn compile(sources: &RuleSources) -> RuleSet {
    let loaded = load(sources, &LoadOptions::default());
    loaded.rules.unwrap_or_else(|| {
        let problems: Vec<String> =
            loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
        panic!("{}", problems.join("\n"));
    })
}

/// Name without its ending, and text, of the YAML files of a directory, sorted.
fn yaml_files(directory: &Path) -> Vec<(String, Arc<SourceText>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the rules are there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a text");
            files.push((name, SourceText::new(path.display().to_string(), text)));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files
}
