//! The console in a real browser, over the real binary with the demo's attacks.

use std::{process::Command, sync::LazyLock, sync::Mutex};

use tempfile::TempDir;

use crate::harness::{
    Service, available,
    browser::{Browser, ENTER, Window},
    eventually, free_port, get, get_json,
    process::Process,
    scratch,
};

/// The demo; it goes on until the tests end.
struct Demo {
    url: String,
    _process: Process,
    directory: TempDir,
}

/// One for all scenarios: they only look, or do what others do not mind.
static DEMO: LazyLock<Mutex<Option<Demo>>> = LazyLock::new(Mutex::default);

/// Runs a scenario in a window over the demo, and asks the browser for complaints at its end.
fn in_window(window: Window, scenario: impl FnOnce(&Browser, &str)) {
    if !available(&[Service::Browser]) {
        return;
    }
    let mut demo = DEMO.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let demo = demo.get_or_insert_with(demo_with_alerts);
    let browser = Browser::open(demo.directory.path(), window);
    scenario(&browser, &demo.url);
    let mut complaints = browser.complaints();
    // That the script may not run is what the scenario is about.
    complaints.retain(|complaint| window.script || !complaint.contains("script"));
    assert_eq!(complaints, Vec::<String>::new());
}

fn demo_with_alerts() -> Demo {
    let directory = scratch("console");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.args(["demo", "--fast", "--rate", "400", "--listen", &format!("127.0.0.1:{port}")]);
    command.env("TMPDIR", directory.path());
    let process =
        Process::start_leashed("demo", &mut command, directory.path(), Some(directory.path()));
    let url = format!("http://127.0.0.1:{port}");
    eventually("the demo has alerts, and a ledger with them", || {
        let alerts = get_json(&format!("{url}/api/v1/alerts"))?;
        let visits = get(&format!("{url}/visits"))?;
        (alerts["total"].as_u64()? >= 3 && visits.contains("/visit?")).then_some(())
    });
    Demo { url, _process: process, directory }
}

/// Nothing is wider than the window, and the page has what every page has.
fn assert_fits(browser: &Browser) {
    let over = browser.value_of("document.documentElement.scrollWidth - innerWidth");
    assert!(over.as_i64().unwrap() <= 0, "{}: {over} px too wide", browser.url());
    assert_eq!(browser.value_of("document.querySelectorAll('h1').length"), 1, "{}", browser.url());
}

const PAGES: &[&str] = &[
    "/",
    "/alerts",
    "/alerts?state=all&group=rule",
    "/visits",
    "/sessions",
    "/who?verb=get&resource=secrets",
    "/timeline",
    "/coverage",
    "/rules",
    "/delivery",
    "/sources",
    "/ledger",
    "/settings",
];

#[test]
fn a_responder_comes_from_a_link_to_who_it_was_and_back() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/"));
        browser.click("table a.title");
        browser.wait("#why");
        let alert = browser.url();
        assert!(alert.contains("/alerts/"), "{alert}");
        for part in ["#who", "#usual", "#did", "#evidence", "#told", "#life", "#rule"] {
            browser.wait(part);
        }
        browser.click(".actor a");
        browser.wait("#visits");
        browser.back();
        browser.wait("#why");
        assert_eq!(browser.url(), alert);
    });
}

#[test]
fn an_alert_is_taken_and_judged_with_a_name_on_it() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.click("table a.title");
        browser.wait("#why");
        let alert = browser.url();
        // By its key, as a person who knows them would.
        browser.press("a");
        browser.click("form.form button.main");
        eventually("it leads back", || (browser.url() == alert).then_some(()));
        assert!(browser.text(".state").contains("local"), "{}", browser.text(".state"));
        browser.click("a[href*='act=verdict']");
        browser.click("input[value=benign]");
        browser.write("textarea[name=text]", "a <b>drill</b>");
        browser.click("form.form button.main");
        eventually("it leads back", || (browser.url() == alert).then_some(()));
        assert!(browser.text(".state").contains("benign"));
        assert!(browser.text("[aria-labelledby=life]").contains("a <b>drill</b>"));
    });
}

#[test]
fn a_silence_shows_what_it_would_hide_before_it_does() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.click("table a.title");
        browser.press("s");
        browser.wait("textarea[name=matcher]");
        eventually("the preview names the alert", || {
            browser.text(".meant").contains(' ').then_some(())
        });
        browser.write("textarea[name=reason]", "a drill");
        browser.click("form.form button.main");
        browser.wait(".silence");
        assert!(browser.text(".silence").contains("a drill"));
        browser.click(".silence form button");
        // Until then the answer to the click may still lead elsewhere.
        browser.wait(".empty");
        browser.go(&format!("{url}/silences?state=expired"));
        assert!(browser.text(".silence").contains("ended by local"));
    });
}

#[test]
fn filters_are_in_the_address_and_can_be_taken_back() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.write("input[name=q]", &format!("secret{ENTER}"));
        eventually("the address has the text", || browser.url().contains("q=secret").then_some(()));
        browser.click(".chip");
        eventually("the chip is gone", || (!browser.url().contains("q=")).then_some(()));
        browser.back();
        eventually("the text is back", || browser.url().contains("q=secret").then_some(()));
    });
}

#[test]
fn keys_lead_through_a_list_and_can_be_switched_off() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.wait("tr[data-href]");
        browser.press("j");
        browser.wait("tr.picked");
        browser.press(ENTER);
        browser.wait("#why");
        browser.press("?");
        browser.wait("dialog[open]");
        browser.go(&format!("{url}/settings"));
        browser.click("input[data-keys]");
        browser.go(&format!("{url}/alerts"));
        browser.wait("tr[data-href]");
        browser.press("j");
        assert_eq!(browser.value_of("document.querySelectorAll('tr.picked').length"), 0);
    });
}

#[test]
fn an_open_page_is_live_and_its_title_counts() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.wait(".live[data-state=on]");
        eventually("the title has the number", || browser.title().starts_with('(').then_some(()));
    });
}

#[test]
fn pages_fit_a_narrow_window() {
    in_window(Window { width: 320, ..Window::wide() }, |browser, url| {
        for page in PAGES {
            browser.go(&format!("{url}{page}"));
            browser.wait("h1");
            assert_fits(browser);
        }
        browser.click(".menu");
        browser.wait("nav a[href^='/rules']");
        browser.click("nav a[href^='/rules']");
        eventually("the menu leads on", || browser.url().contains("/rules").then_some(()));
    });
}

#[test]
fn pages_are_whole_without_script_and_in_the_dark() {
    in_window(Window { script: false, dark: true, width: 1_280 }, |browser, url| {
        for page in PAGES {
            browser.go(&format!("{url}{page}"));
            browser.wait("h1");
            assert_fits(browser);
            assert_eq!(browser.value_of("document.documentElement.className"), "", "{page}");
        }
        browser.go(&format!("{url}/alerts"));
        browser.click("table a.title");
        browser.wait("#why");
    });
}

#[test]
fn a_page_of_an_alert_can_be_printed() {
    in_window(Window::wide(), |browser, url| {
        browser.go(&format!("{url}/alerts"));
        browser.click("table a.title");
        browser.wait("#why");
        // `%PDF-` in base64.
        assert!(browser.print().starts_with("JVBERi"));
    });
}

#[test]
fn nothing_keeps_people_with_other_eyes_and_hands_from_a_page() {
    if !available(&[Service::Axe]) {
        return;
    }
    for dark in [false, true] {
        in_window(Window { dark, ..Window::wide() }, |browser, url| {
            browser.go(&format!("{url}/alerts"));
            browser.wait("table a.title");
            let link = "document.querySelector('table a.title').getAttribute('href')";
            let alert = browser.value_of(link).as_str().unwrap().to_owned();
            let mut found = Vec::new();
            for page in PAGES.iter().copied().chain([alert.as_str(), "/silences/new"]) {
                browser.go(&format!("{url}{page}"));
                browser.wait("h1");
                found.extend(browser.barriers().iter().map(|one| format!("{page}: {one}")));
            }
            assert_eq!(found, Vec::<String>::new(), "dark: {dark}");
        });
    }
}
