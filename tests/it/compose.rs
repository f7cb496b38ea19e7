//! `docker-compose.yml` and `deploy/` against the repository and the binary: paths exist, flags exist,
//! configurations are valid, and every metric that a dashboard or alert rule names is one we serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tripline::telemetry::Metrics;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().expect("a text")).collect()
}

fn services() -> BTreeMap<String, Value> {
    serde_json::from_value(yaml("docker-compose.yml")["services"].clone()).unwrap()
}

/// Services that run our own image, with their arguments.
fn our_commands() -> Vec<(String, Vec<String>)> {
    let own =
        |service: &Value| service["image"].as_str().is_some_and(|i| i.starts_with("tripline:"));
    let services = services();
    let ours = services.into_iter().filter(|(_, service)| own(service));
    let owned =
        |service: &Value| texts(&service["command"]).into_iter().map(str::to_owned).collect();
    let commands: Vec<_> = ours.map(|(name, service)| (name, owned(&service))).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    commands
}

#[test]
fn compose_images_are_pinned_and_what_it_mounts_exists() {
    let declared: Value = yaml("docker-compose.yml")["volumes"].clone();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        let is_pinned = tag.is_some_and(|tag| tag.contains('.') && tag.contains(char::is_numeric));
        assert!(is_pinned, "{name}: {image} is not pinned to a version");
        for volume in texts(&service["volumes"]) {
            let (from, _) = volume.split_once(':').unwrap();
            if from.starts_with('.') {
                assert!(project(from).exists(), "{name} mounts {from}, which does not exist");
            } else {
                assert!(declared.get(from).is_some(), "{name} uses volume {from}, not declared");
            }
        }
        let depends = &service["depends_on"];
        let listed = texts(depends).into_iter().map(str::to_owned);
        let mapped = depends.as_object().into_iter().flat_map(|map| map.keys().cloned());
        for other in listed.chain(mapped) {
            assert!(services().contains_key(&other), "{name} depends on {other}");
        }
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to other machines");
        }
    }
}

#[test]
fn flags_of_tripline_in_compose_and_manifests_exist() {
    let mut commands = our_commands();
    for document in manifests() {
        for container in
            document["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten()
        {
            let args = texts(&container["args"]).into_iter().map(str::to_owned).collect();
            commands.push(("manifest".to_owned(), args));
        }
    }
    assert_eq!(commands.len(), 3);
    let dockerfile = read("Dockerfile");
    let cmd = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    commands.push(("Dockerfile".to_owned(), serde_json::from_str(cmd).unwrap()));
    for (place, arguments) in commands {
        let subcommand = &arguments[0];
        let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
            .args([subcommand, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{place}: there is no `tripline {subcommand}`");
        for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
            let is_known = help.split_whitespace().any(|word| word.trim_end_matches(',') == flag);
            assert!(is_known, "{place}: `tripline {subcommand}` has no {flag}:\n{help}");
        }
    }
}

/// Each instruction of the Dockerfile with its words, continued lines put together.
fn instructions() -> Vec<(String, Vec<String>)> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

#[test]
fn the_image_is_built_in_stages_of_what_there_is_and_runs_without_root() {
    let instructions = instructions();
    let of = |name: &str| -> Vec<&Vec<String>> {
        instructions.iter().filter(|(word, _)| word == name).map(|(_, words)| words).collect()
    };
    let ignored: Vec<String> = read(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('/'))
        .map(str::to_owned)
        .collect();
    let stages = of("FROM");
    assert_eq!(stages.len(), 2);
    for stage in &stages {
        let (_, tag) = stage[0].split_once(':').expect("a tag");
        assert!(tag.contains(char::is_numeric), "{stage:?} is not pinned");
    }
    assert!(stages[1][0].ends_with("-slim"), "{stages:?}");
    let names: Vec<&str> =
        stages.iter().filter_map(|stage| stage.get(2)).map(|name| &**name).collect();
    for words in of("COPY") {
        let (flags, paths): (Vec<&String>, Vec<&String>) =
            words.iter().partition(|word| word.starts_with("--"));
        if let Some(stage) = flags.iter().find_map(|flag| flag.strip_prefix("--from=")) {
            assert!(names.contains(&stage), "there is no stage {stage}");
            continue;
        }
        let (_, sources) = paths.split_last().unwrap();
        for source in sources {
            assert!(project(source).exists(), "COPY {source}: it does not exist");
            assert!(!ignored.contains(source), "COPY {source}: .dockerignore hides it");
        }
    }
    let user = of("USER").pop().expect("a user");
    let (id, _) = user[0].split_once(':').unwrap();
    assert!(id.parse::<u32>().unwrap() > 0, "{user:?}");
    // The example and the manifests keep state where the image lets that user write.
    let state = of("VOLUME").pop().expect("a volume");
    assert_eq!(yaml("deploy/compose/tripline.yaml")["state"], Value::from(state[0].clone()));
    let entry: Vec<String> = serde_json::from_str(&of("ENTRYPOINT")[0].join(" ")).unwrap();
    assert!(entry[0].ends_with("/tripline"), "{entry:?}");
}

fn manifests() -> Vec<Value> {
    serde_saphyr::from_multiple(&read("deploy/kubernetes/tripline.yaml")).unwrap()
}

/// `tripline check` of a configuration, with the shipped rules and a state of its own.
fn check(name: &str, config: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tripline.yaml");
    fs::write(&path, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        // Secrets are where it runs.
        .args(["check", "--no-secrets", "--config"])
        .arg(&path)
        .arg("--set")
        .arg(format!("rules={}", project("rules").display()))
        .arg("--set")
        .arg(format!("state={}", directory.path().join("state").display()))
        .output()
        .unwrap();
    let problems =
        String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}:\n{problems}");
}

#[test]
fn shipped_configurations_are_valid() {
    check("deploy/compose/tripline.yaml", &read("deploy/compose/tripline.yaml"));
    let config_maps = manifests().into_iter().filter(|document| document["kind"] == "ConfigMap");
    let mut count = 0;
    for map in config_maps {
        check("deploy/kubernetes/tripline.yaml", map["data"]["tripline.yaml"].as_str().unwrap());
        count += 1;
    }
    assert_eq!(count, 1);
}

#[test]
fn manifests_keep_one_process_on_the_stream() {
    let documents = manifests();
    let deployment = documents.iter().find(|document| document["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
}

/// Names of our metrics in a text; histograms and counters in the forms that queries use.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("tripline_") || word.starts_with("process_"));
    ours.map(|word| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        base.unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
fn dashboard_and_alert_rules_name_metrics_that_we_serve() {
    let metrics = Metrics::new();
    let served: BTreeSet<&str> =
        metrics.catalogue().iter().map(|metric| metric.name.as_str()).collect();
    for path in [
        "deploy/grafana/dashboards/tripline.json",
        "deploy/prometheus/tripline.rules.yml",
        "deploy/prometheus/tripline.rules.test.yml",
    ] {
        let named = metrics_in(&read(path));
        assert!(named.len() > 8, "{path} names {named:?}");
        for name in named {
            assert!(served.contains(name.as_str()), "{path} names {name}, which does not exist");
        }
    }
}

#[test]
fn every_metric_is_watched_by_an_alert_or_the_dashboard() {
    let watched: BTreeSet<String> =
        ["deploy/grafana/dashboards/tripline.json", "deploy/prometheus/tripline.rules.yml"]
            .iter()
            .flat_map(|path| metrics_in(&read(path)))
            .collect();
    let metrics = Metrics::new();
    let ours = metrics.catalogue().iter().map(|metric| metric.name.as_str());
    let is_ours = |name: &&str| name.starts_with("tripline_") && *name != "tripline_build_info";
    let unwatched: Vec<&str> =
        ours.filter(is_ours).filter(|name| !watched.contains(*name)).collect();
    assert!(unwatched.is_empty(), "nobody looks at {unwatched:?}: an alert, a panel, or away");
}

#[test]
fn dashboard_uses_the_data_source_that_is_provisioned() {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/tripline.json")).unwrap();
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    let provisioned = &sources["datasources"][0]["uid"];
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have id {}", panel["id"]);
        if panel["type"] != "row" {
            assert_eq!(&panel["datasource"]["uid"], provisioned, "{}", panel["title"]);
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
        }
    }
}

#[test]
fn prometheus_scrapes_tripline_where_it_listens() {
    let listen = yaml("deploy/compose/tripline.yaml")["http"]["listen"].clone();
    let (_, port) = listen.as_str().unwrap().rsplit_once(':').unwrap();
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["job_name"] == "tripline").unwrap();
    let target = job["static_configs"][0]["targets"][0].as_str().unwrap();
    assert_eq!(target, format!("tripline:{port}"));
}
