//! What Slack would not take: its limits on messages and blocks, as it documents them.

use std::collections::BTreeSet;

use serde_json::Value;

/// The limits of a message that Slack documents, and the one on the whole that it does not.
pub(crate) fn violations(message: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |is_held: bool, what: String| {
        if !is_held {
            found.push(what);
        }
    };
    let fallback = message["text"].as_str().unwrap_or_default();
    check(!fallback.trim().is_empty(), "`text`, the fallback of notifications, is empty".into());
    // Where Slack reads markup, `<!…>` pings everybody and `<http…>` is a link: nobody but us writes
    // these.
    let mut marked_up = vec![fallback.to_owned()];
    texts_with_markup(message, &mut marked_up);
    check(!marked_up.iter().any(|text| text.contains("<!")), format!("a mention: {marked_up:?}"));
    let attachments = message["attachments"].as_array().cloned().unwrap_or_default();
    let mut total = 0;
    let mut count = 0;
    for holder in std::iter::once(message).chain(&attachments) {
        for block in holder["blocks"].as_array().into_iter().flatten() {
            count += 1;
            let kind = block["type"].as_str().unwrap_or_default();
            let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
            let main = length(&block["text"]["text"]);
            total += main;
            match kind {
                "header" => {
                    check(block["text"]["type"] == "plain_text", "a header is plain text".into());
                    check((1..=150).contains(&main), format!("a header has {main} characters"));
                }
                "section" => {
                    let fields = block["fields"].as_array().cloned().unwrap_or_default();
                    check(main <= 3_000, format!("a section has {main} characters"));
                    check(main > 0 || !fields.is_empty(), "a section is empty".into());
                    if !block["accessory"].is_null() {
                        element_is_held(&block["accessory"], &mut check);
                    }
                    check(fields.len() <= 10, format!("a section has {} fields", fields.len()));
                    for field in &fields {
                        let size = length(&field["text"]);
                        total += size;
                        check(
                            (1..=2_000).contains(&size),
                            format!("a field has {size} characters"),
                        );
                    }
                }
                "context" => {
                    let elements = block["elements"].as_array().cloned().unwrap_or_default();
                    check((1..=10).contains(&elements.len()), "elements of a context".into());
                    total += elements.iter().map(|element| length(&element["text"])).sum::<usize>();
                }
                "actions" => {
                    let elements = block["elements"].as_array().cloned().unwrap_or_default();
                    check((1..=25).contains(&elements.len()), "elements of actions".into());
                    let ids: BTreeSet<&str> = elements
                        .iter()
                        .filter_map(|element| element["action_id"].as_str())
                        .collect();
                    check(ids.len() == elements.len(), "an action_id is missing or twice".into());
                    for element in &elements {
                        element_is_held(element, &mut check);
                    }
                }
                "divider" => {}
                other => check(false, format!("unknown block {other:?}")),
            }
        }
    }
    check(count <= 50, format!("{count} blocks"));
    check(total <= 12_000, format!("{total} characters in all"));
    found
}

/// Limits of a button, and of a menu.
fn element_is_held(element: &Value, check: &mut impl FnMut(bool, String)) {
    let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
    let text = |holder: &Value| length(&holder["text"]);
    let options = element["options"].as_array().cloned().unwrap_or_default();
    match element["type"].as_str().unwrap_or_default() {
        "button" => {
            let size = text(&element["text"]);
            check((1..=75).contains(&size), format!("a button has {size} characters"));
            check(length(&element["value"]) <= 2_000, "the value of a button".into());
        }
        "static_select" => {
            let size = text(&element["placeholder"]);
            check((1..=150).contains(&size), format!("a placeholder has {size} characters"));
            check((1..=100).contains(&options.len()), "options of a menu".into());
        }
        "overflow" => check((1..=5).contains(&options.len()), "options of an overflow menu".into()),
        other => check(false, format!("unknown element {other:?}")),
    }
    check((1..=255).contains(&length(&element["action_id"])), "an action_id".into());
    for option in &options {
        let size = text(&option["text"]);
        check((1..=75).contains(&size), format!("an option has {size} characters"));
        // 150 by now; 75 was the limit for long.
        let size = length(&option["value"]);
        check((1..=75).contains(&size), format!("the value of an option has {size} characters"));
    }
}

/// Every text below a value that says it is `mrkdwn`.
fn texts_with_markup(value: &Value, found: &mut Vec<String>) {
    if value["type"] == "mrkdwn" {
        found.extend(value["text"].as_str().map(str::to_owned));
    }
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    for value in below {
        texts_with_markup(value, found);
    }
}

#[test]
fn slack_limits_are_checked() {
    use serde_json::json;
    let section =
        |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let message = |blocks: Vec<Value>| json!({"text": "fallback", "blocks": blocks});
    assert_eq!(violations(&message(vec![section("x".repeat(3_000))])), Vec::<String>::new());
    assert_eq!(violations(&message(vec![section("x".repeat(3_001))])).len(), 1);
    assert_eq!(violations(&message(vec![section("x".into()); 51])).len(), 1);
    assert_eq!(violations(&message(vec![section("x".repeat(3_000)); 5])).len(), 1);
    assert_eq!(violations(&json!({"blocks": [section("x".into())]})).len(), 1);
    assert_eq!(violations(&message(vec![section("<!channel>".into())])).len(), 1);
    let option =
        |value: String| json!({"text": {"type": "plain_text", "text": "x"}, "value": value});
    let menu = |count: usize, length: usize| {
        let options = vec![option("x".repeat(length)); count];
        json!({"type": "overflow", "action_id": "a", "options": options})
    };
    let beside = |accessory: Value| {
        let mut block = section("x".into());
        block["accessory"] = accessory;
        message(vec![block])
    };
    assert_eq!(violations(&beside(menu(5, 75))), Vec::<String>::new());
    assert_eq!(violations(&beside(menu(6, 1))).len(), 1);
    assert_eq!(violations(&beside(menu(1, 76))).len(), 1);
    let actions =
        |elements: Vec<Value>| message(vec![json!({"type": "actions", "elements": elements})]);
    assert_eq!(violations(&actions(vec![menu(1, 1)])), Vec::<String>::new());
    assert_eq!(violations(&actions(vec![menu(1, 1); 2])).len(), 1, "an action_id twice");
}
