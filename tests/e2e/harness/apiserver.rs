//! A real kube-apiserver on a real etcd, with nodes that are not there: what an audit log is made by.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    eventually, free_port,
    process::Process,
    project_file, scratch, service_path,
    tls::{self, Certificates},
};

/// Name and groups of everybody who has a token, which is the name and `-token`.
const PEOPLE: &str = "\
admin-token,admin,1,\"system:masters\"
anna-token,anna,2,\"dev\"
bob-token,bob,3,\"dev\"
";

/// It runs until it is dropped.
pub(crate) struct ApiServer {
    // These must end before the directory goes.
    _server: Process,
    _etcd: Process,
    _kubelet: Process,
    kubelet_port: u16,
    port: u16,
    directory: TempDir,
}

impl ApiServer {
    /// Starts one that logs by this policy to [`ApiServer::log`] and posts to `webhook` with a bearer token.
    pub(crate) fn start(policy: &str, webhook: &str, token: &str) -> ApiServer {
        let directory = scratch("kube-apiserver");
        let path = directory.path();
        let certificates = tls::make(path);
        fs::write(path.join("policy.yaml"), policy).unwrap();
        fs::write(path.join("people.csv"), PEOPLE).unwrap();
        fs::write(path.join("webhook.yaml"), kubeconfig(webhook, token).to_string()).unwrap();
        let [etcd_port, peer_port, kubelet_port, port] = std::array::from_fn(|_| free_port());
        let etcd = etcd(path, etcd_port, peer_port);
        let kubelet = kubelet(path, &certificates, kubelet_port);
        let mut server = server(path, &certificates, etcd_port, port);
        eventually("the API server is ready", || {
            let exited = server.exited();
            assert!(exited.is_none(), "it ended: {exited:?}");
            let answer = kubectl(path, port, "admin-token", "admin")
                .args(["get", "--raw", "/readyz"])
                .output();
            answer.is_ok_and(|answer| answer.status.success()).then_some(())
        });
        ApiServer { _server: server, _etcd: etcd, _kubelet: kubelet, kubelet_port, port, directory }
    }

    /// The audit log; what it was before a rotation lies beside it.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// Every line of the log and of what it was before.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut logs = self.log_paths();
        // The one that is written now has the name that comes last.
        logs.sort();
        logs.iter()
            .flat_map(|log| {
                fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    /// How many logs there are.
    pub(crate) fn logs(&self) -> usize {
        self.log_paths().len()
    }

    fn log_paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let is_log = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("audit") && path.extension().is_some_and(|suffix| suffix == "log")
        };
        entries.map(|entry| entry.unwrap().path()).filter(is_log).collect()
    }

    /// Runs kubectl as somebody; what it does may fail.
    pub(crate) fn kubectl(&self, user: &str, arguments: &[&str]) -> Output {
        self.command(user, arguments).output().unwrap()
    }

    /// The same in the way of kubectl before 1.31, which opens streams by POST.
    pub(crate) fn old_kubectl(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(user, arguments);
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false").output().unwrap()
    }

    /// Creates objects, as the administrator.
    pub(crate) fn create(&self, objects: &Value) {
        let mut command = self.command("admin", &["create", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(objects.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A node and a pod on it. Of the node `lost` nobody answers; every other says that it starts whatever
    /// it is asked to, and starts nothing.
    pub(crate) fn create_pod(&self, node: &str, pod: &str) {
        let port = if node == "lost" { free_port() } else { self.kubelet_port };
        self.create(&json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": node},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        }));
        self.create(&json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": pod, "namespace": "default"},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry.example.org/web:1"}]},
        }));
    }

    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        let token = format!("{user}-token");
        let mut command = kubectl(self.directory.path(), self.port, &token, user);
        command.args(arguments);
        command
    }
}

/// kubectl with somebody's token, and with a cache of its own, so that who asks for what does not depend on
/// others.
fn kubectl(directory: &Path, port: u16, token: &str, user: &str) -> Command {
    let mut command = Command::new(service_path("bin/kubectl"));
    command
        .args(["--token", token, "--request-timeout", "20s"])
        .arg(format!("--server=https://127.0.0.1:{port}"))
        .arg(format!("--certificate-authority={}", directory.join("ca.pem").display()))
        .arg(format!("--cache-dir={}", directory.join(format!("cache-{user}")).display()))
        .env("HOME", directory)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null());
    command
}

fn etcd(directory: &Path, port: u16, peer_port: u16) -> Process {
    let (url, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new(service_path("bin/etcd"));
    command
        .arg(format!("--data-dir={}", directory.join("etcd").display()))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .arg("--unsafe-no-fsync");
    let mut process = Process::start("etcd", &mut command, directory);
    process.serves(&format!("{url}/health"));
    process
}

fn kubelet(directory: &Path, certificates: &Certificates, port: u16) -> Process {
    let mut command = Command::new("python3");
    command
        .arg(project_file("tests/setup/kubelet.py"))
        .args([&certificates.certificate, &certificates.key])
        .arg(port.to_string());
    Process::start("kubelet", &mut command, directory)
}

fn server(directory: &Path, certificates: &Certificates, etcd_port: u16, port: u16) -> Process {
    let file = |name: &str| directory.join(name).display().to_string();
    let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
    let mut command = Command::new(service_path("bin/kube-apiserver"));
    command.args([
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={certificate}"),
        format!("--tls-private-key-file={key}"),
        format!("--client-ca-file={}", certificates.ca.display()),
        "--service-account-issuer=https://tests.example.org".to_owned(),
        format!("--service-account-signing-key-file={key}"),
        format!("--service-account-key-file={key}"),
        format!("--token-auth-file={}", file("people.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        // There are no controllers here that would make accounts.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        format!("--audit-policy-file={}", file("policy.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
        "--audit-log-maxsize=1".to_owned(),
        format!("--audit-webhook-config-file={}", file("webhook.yaml")),
        "--audit-webhook-mode=batch".to_owned(),
        "--audit-webhook-batch-max-wait=1s".to_owned(),
        "--audit-webhook-initial-backoff=1s".to_owned(),
    ]);
    Process::start("kube-apiserver", &mut command, directory)
}

/// Where and as whom the API server posts.
fn kubeconfig(webhook: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tripline", "cluster": {"server": webhook}}],
        "users": [{"name": "tripline", "user": {"token": token}}],
        "contexts": [{"name": "tripline", "context": {"cluster": "tripline", "user": "tripline"}}],
        "current-context": "tripline",
    })
}
