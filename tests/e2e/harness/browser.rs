//! Chromium, driven by chromedriver: WebDriver's JSON over HTTP, as far as scenarios need it.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, block_on, eventually, free_port, process::Process, service_path};

/// A browser window. Closed when dropped, before its driver.
pub(crate) struct Browser {
    session: String,
    client: reqwest::Client,
    _driver: Process,
    _profile: TempDir,
}

/// Keys that have no character of their own.
pub(crate) const ENTER: &str = "\u{e007}";

/// How a window is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) dark: bool,
    pub(crate) script: bool,
}

impl Window {
    /// As most are.
    pub(crate) fn wide() -> Window {
        Window { width: 1_280, dark: false, script: true }
    }
}

impl Browser {
    /// Opens a window.
    pub(crate) fn open(directory: &Path, window: Window) -> Browser {
        let port = free_port();
        let mut command = Command::new(service_path("bin/chromedriver"));
        command.arg(format!("--port={port}"));
        let mut driver = Process::start(&format!("chromedriver-{port}"), &mut command, directory);
        let base = format!("http://127.0.0.1:{port}");
        driver.serves(&format!("{base}/status"));
        let profile = super::scratch("profile");
        let client = ::tripline::tls::http(Vec::new())
            .unwrap()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},1000", window.width),
        ];
        if window.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let script = u8::from(window.script);
        let options = json!({
            "binary": service_path("bin/chromium"),
            "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": 2 - script },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = send(&client, reqwest::Method::POST, &format!("{base}/session"), Some(wanted));
        let session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let session = format!("{base}/session/{session}");
        let browser = Browser { session, client, _driver: driver, _profile: profile };
        if window.width < 500 {
            // A window of a desktop is never so narrow; what is shown in it may be.
            browser.post("/goog/cdp/execute", json!({ "cmd": "Emulation.setDeviceMetricsOverride",
                "params": { "width": window.width, "height": 800, "deviceScaleFactor": 1, "mobile": false } }));
        }
        browser
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        send(&self.client, reqwest::Method::POST, &url, Some(body))
    }

    fn get(&self, path: &str) -> Value {
        send(&self.client, reqwest::Method::GET, &format!("{}{path}", self.session), None)
    }

    /// Loads a page.
    pub(crate) fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    pub(crate) fn back(&self) {
        self.post("/back", json!({}));
    }

    /// The address that is shown.
    pub(crate) fn url(&self) -> String {
        self.get("/url").as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn title(&self) -> String {
        self.get("/title").as_str().unwrap_or_default().to_owned()
    }

    /// The first element that a CSS selector finds.
    fn find(&self, selector: &str) -> Option<String> {
        let answer = self.post("/element", json!({ "using": "css selector", "value": selector }));
        // An error has a name and words in their place.
        let element = answer.as_object()?.iter().find(|(name, _)| name.starts_with("element-"))?;
        element.1.as_str().map(str::to_owned)
    }

    /// Waits for an element.
    pub(crate) fn wait(&self, selector: &str) -> String {
        eventually(&format!("{selector} at {}", self.url()), || self.find(selector))
    }

    /// Clicks, as a person would: on what is seen.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.wait(selector);
        let answer = self.post(&format!("/element/{element}/click"), json!({}));
        assert!(answer.is_null(), "{selector}: {answer}");
    }

    /// Types into a field.
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let element = self.wait(selector);
        let answer = self.post(&format!("/element/{element}/value"), json!({ "text": text }));
        assert!(answer.is_null(), "{selector}: {answer}");
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({ "type": "keyDown", "value": key }),
                    json!({ "type": "keyUp", "value": key }),
                ]
            })
            .collect();
        self.post(
            "/actions",
            json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }),
        );
    }

    /// The text that is seen.
    pub(crate) fn text(&self, selector: &str) -> String {
        let element = self.wait(selector);
        self.get(&format!("/element/{element}/text")).as_str().unwrap_or_default().to_owned()
    }

    /// What an expression of the page's script comes to; works where the page itself may run none.
    pub(crate) fn value_of(&self, expression: &str) -> Value {
        self.post("/execute/sync", json!({ "script": format!("return {expression};"), "args": [] }))
    }

    /// What axe-core finds on the page that keeps people from using it: rule, how grave, and where.
    pub(crate) fn barriers(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(service_path("axe/package/axe.min.js")).unwrap();
        let script = format!(
            "{axe}; const done = arguments[0]; axe.run().then((all) => done(all.violations\
             .filter((one) => ['serious', 'critical'].includes(one.impact))\
             .map((one) => `${{one.id}} (${{one.impact}}): \
             ${{one.nodes.slice(0, 3).map((node) => node.html).join(' | ')}}`)));"
        );
        let found = self.post("/execute/async", json!({ "script": script, "args": [] }));
        let found = found.as_array().unwrap_or_else(|| panic!("{found}")).clone();
        found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The page as a PDF, in base64.
    pub(crate) fn print(&self) -> String {
        self.post("/print", json!({})).as_str().unwrap_or_default().to_owned()
    }

    /// What the browser complained about since it was asked last: errors, refused loads, violations.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let url = self.session.clone();
        send(&self.client, reqwest::Method::DELETE, &url, None);
    }
}

/// The `value` of WebDriver's answer; of an error that, too.
fn send(
    client: &reqwest::Client,
    method: reqwest::Method,
    url: &str,
    body: Option<Value>,
) -> Value {
    block_on(async {
        let request = client.request(method, url).timeout(Duration::from_secs(60));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        answer["value"].take()
    })
}
