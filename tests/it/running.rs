//! A running `tripline run` that reads events from its standard input.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::binary::tripline;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event: an exec into the pod `shop/db`, unless the verb is another.
pub(crate) fn event(verb: &str, user: &str, time: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{verb}-{user}-{time}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/db/exec?command=sh","verb":"{verb}","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.1"],"objectRef":{{"resource":"pods","namespace":"shop","name":"db","subresource":"exec","apiVersion":"v1"}},"responseStatus":{{"code":101}},"requestReceivedTimestamp":"{time}.131000Z","stageTimestamp":"{time}.140000Z"}}"#
    )
}

/// Lets some time pass between two looks at what is waited for, with a deadline.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The process; killed when dropped. What it prints is kept.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    readers: Vec<JoinHandle<()>>,
    told: Arc<Mutex<String>>,
    logged: Arc<Mutex<String>>,
    base: String,
    client: reqwest::Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Keeps what comes out of a pipe.
fn keep(pipe: impl Read + Send + 'static, text: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let text = Arc::clone(text);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let line = line.unwrap();
            text.lock().unwrap().push_str(&(line + "\n"));
        }
    })
}

impl Running {
    /// Writes `tripline.yaml` for the directory `rules` and starts. `more` is further configuration, with other
    /// receivers if it has any.
    pub(crate) fn start(directory: &Path, more: &str) -> Running {
        Running::over("[{file: {paths: ['-']}}]", directory, more)
    }

    /// The same, over other sources.
    pub(crate) fn over(sources: &str, directory: &Path, more: &str) -> Running {
        Running::between(sources, "stdout: {format: json}", directory, more)
    }

    /// The same, with another way to tell its one receiver.
    pub(crate) fn between(sources: &str, notifier: &str, directory: &Path, more: &str) -> Running {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = format!("receivers: [{{name: out, {notifier}}}]\n");
        let receivers = if more.contains("receivers:") { "" } else { own.as_str() };
        let config = format!(
            "sources: {sources}\nrules: rules\nstate: state\n\
             http: {{listen: '127.0.0.1:{port}'}}\nlog: {{format: json, level: debug}}\n\
             route: {{receiver: out, group_interval: 1s}}\n{receivers}{more}"
        );
        fs::write(directory.join("tripline.yaml"), config).unwrap();
        let mut child = tripline(directory)
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, logged) = (Arc::default(), Arc::default());
        let readers = vec![
            keep(child.stdout.take().unwrap(), &told),
            keep(child.stderr.take().unwrap(), &logged),
        ];
        Running {
            input: child.stdin.take(),
            child,
            readers,
            told,
            logged,
            base: format!("http://127.0.0.1:{port}"),
            client: tripline::tls::http(Vec::new()).unwrap().no_proxy().build().unwrap(),
        }
    }

    /// One line of its standard input.
    pub(crate) fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its standard input and waits for its end.
    pub(crate) fn end(&mut self) -> Option<i32> {
        drop(self.input.take());
        let code = self.child.wait().unwrap().code();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        code
    }

    /// Waits for the end of a process that does not start. What it logged.
    pub(crate) fn refused(mut self) -> String {
        assert_eq!(self.end(), Some(2), "{}", self.logged());
        self.logged()
    }

    /// What it printed so far: alerts as JSON lines.
    pub(crate) fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    /// What it logged so far.
    pub(crate) fn logged(&self) -> String {
        self.logged.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Where its HTTP server listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.base.strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        match self.client.get(format!("{}{path}", self.base)).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// A form or JSON that is sent, with further headers: the code, and the page that it leads to.
    pub(crate) async fn post(
        &self,
        path: &str,
        (kind, body): (&str, &str),
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request.header("content-type", kind).body(body.to_owned());
        let request = headers.iter().fold(request, |all, (name, value)| all.header(*name, *value));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn reload(&self) -> (u16, String) {
        let answer = self.client.post(format!("{}/-/reload", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Asks until the answer is as it should be.
    pub(crate) async fn wait(&self, path: &str, good: impl Fn(u16, &str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, text) = self.get(path).await;
            if good(code, &text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{path} never came right: {code} {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, good: impl Fn(&Running) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good(self) {
            assert!(Instant::now() < deadline, "{what}\n{}\n{}", self.told(), self.logged());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
