//! Ten thousand alerts that fire: pages are small, and cursors pass over every one of them once.

use std::{collections::BTreeSet, fs, time::Instant};

use crate::running::{Running, event};

/// Users, each with an alert of each rule.
const USERS: usize = 90;

/// Rules: many, as one actor has a quota of alerts with each.
const RULES: usize = 115;

/// How many alerts fire, by the API.
fn total(text: &str) -> usize {
    let begin = text.find("\"total\":").map(|at| at + 8);
    let digits = begin.and_then(|at| text[at..].split([',', '}']).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Alerts that a page lists, by their links.
fn listed(page: &str) -> Vec<String> {
    let rows = page.split("<tr data-href=\"").skip(1);
    rows.map(|row| row.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn ten_thousand_alerts_are_listed_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::create_dir(&rules).unwrap();
    for number in 0..RULES {
        let rule = format!(
            "title: Exec {number}\nid: 8b0b2c4e-0000-4000-8000-000000000{number:03}\nname: exec{number}\n\
             level: low\nlogsource: {{product: kubernetes, service: audit}}\n\
             detection: {{a: {{objectRef.subresource: exec}}, condition: a}}\n"
        );
        fs::write(rules.join(format!("exec{number}.yaml")), rule).unwrap();
    }
    let mut running = Running::start(directory.path(), "");
    running.wait("/readyz", |code, _| code == 200).await;
    for user in 0..USERS {
        running.write(&event("create", &format!("user{user}"), "2026-01-05T22:14:01"));
    }
    let all = USERS * RULES;
    let text = running.wait("/api/v1/alerts?limit=1", |_, text| total(text) == all).await;
    assert_eq!(total(&text), all, "{text}");
    for path in ["/", "/alerts", "/alerts?group=rule", "/alerts?group=actor", "/rules"] {
        let began = Instant::now();
        let (code, page) = running.get(path).await;
        assert_eq!(code, 200, "{path}: {page}");
        assert!(page.len() <= 150_000, "{path} has {} bytes", page.len());
        assert!(began.elapsed().as_secs() < 10, "{path} took {:?}", began.elapsed());
    }
    let (_, first) = running.get("/alerts").await;
    assert!(first.contains("<b>10,000+</b> firing"), "{first}");
    // Page by page, until all were there: each once.
    let (mut seen, mut path, mut pages) = (BTreeSet::new(), "/alerts?q=user1".to_owned(), 0);
    loop {
        let (code, page) = running.get(&path).await;
        assert_eq!(code, 200, "{path}: {page}");
        let rows = listed(&page);
        assert!(rows.len() <= 50 && !rows.is_empty(), "{} rows on {path}", rows.len());
        for row in rows {
            assert!(seen.insert(row.clone()), "{row} twice");
        }
        pages += 1;
        let Some(end) = page.find("\" rel=\"next\"") else { break };
        let begin = page[..end].rfind('"').unwrap() + 1;
        path = page[begin..end].replace("&amp;", "&").replace("&#38;", "&");
    }
    // user1, user10 to user19.
    assert_eq!((seen.len(), pages), (11 * RULES, (11 * RULES).div_ceil(50)));
    let (code, text) = running.get("/alerts?after=nonsense").await;
    assert_eq!(code, 400, "{text}");
    assert!(text.contains("no place in the list"), "{text}");
}
