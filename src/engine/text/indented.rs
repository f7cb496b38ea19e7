//! JSON with a line for each part, as it was written otherwise.

/// The text with line breaks and indentation between what it is made of. Nothing else is changed, so that what
/// stands twice, or in an unusual order, is still seen. What is no JSON comes out as some text.
pub fn indented_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 2);
    let mut depth = 0_usize;
    let (mut is_text, mut is_escaped) = (false, false);
    let mut characters = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(c) = characters.next() {
        if is_text {
            out.push(c);
            is_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                is_text = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = characters.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::indented_json;

    #[test]
    fn parts_stand_on_lines_and_nothing_is_lost() {
        let json = r#"{"a":[1,{"b": "{,\":\\"}],"a":{ },"c":[]}"#;
        let lines = [
            "{",
            "  \"a\": [",
            "    1,",
            "    {",
            "      \"b\": \"{,\\\":\\\\\"",
            "    }",
            "  ],",
            "  \"a\": {},",
            "  \"c\": []",
            "}",
        ];
        assert_eq!(indented_json(json), lines.join("\n"));
        for broken in ["}}}]", "{\"a", "", "[[["] {
            let bare = |text: &str| text.replace(['\n', ' '], "");
            assert_eq!(bare(&indented_json(broken)), broken);
        }
    }
}
