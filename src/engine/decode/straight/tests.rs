//! The straight line by its parts: texts compared, strings found, brackets closed.

use super::*;
use crate::engine::event::FieldTable;

#[test]
fn bytes_are_compared_to_the_last() {
    fn check<const N: usize>() {
        let one = [7; N];
        assert!(is_same(&one, &[7; N]));
        for at in 0..N {
            let mut other = one;
            other[at] = 8;
            assert!(!is_same(&one, &other), "{at} of {N}");
        }
    }
    check::<1>();
    check::<7>();
    check::<8>();
    check::<13>();
    check::<16>();
    check::<59>();
}

#[test]
fn where_brackets_close_is_known_of_all_of_them() {
    let deep = format!("{}1{}", "[{\"a\":".repeat(50), "}]".repeat(50));
    for body in [
        r#"{"a":{"b":[{},[],[1,{"c":"]}"}]],"d":{"e":null}},"f":[{"g":[]},{"g":["x\"[",2]}]}"#,
        r#"{"a":"}","b":{}}"#,
        &format!("{{\"a\":{deep},\"b\":{deep}}}"),
    ] {
        // Behind others, as bodies of events are.
        let text = format!("{{\"requestObject\":{body},\"responseObject\":{body}}}");
        let table = FieldTable::new();
        let projection = Projection::new(&table);
        let mut line = Line {
            text: &text,
            at: 0,
            block: usize::MAX,
            specials: 0,
            keys: 0,
            projection: &projection,
            found: Straight::default(),
        };
        let mut event = Event::new(projection.field_count());
        line.must(b"{").expect("it begins");
        assert_eq!(line.members_in_order(&mut event), Some(true), "{body}");
        let closings = line.found.closings;
        assert!(closings.is_sorted_by_key(|closing| closing.start));
        let mut found = 0;
        for at in text.match_indices(['{', '[']).map(|(at, _)| at).skip(1) {
            let Some(closing) = closings.iter().find(|one| one.start as usize == at) else {
                continue;
            };
            found += 1;
            let mut scanner = Scanner::new(&text);
            scanner.move_to(at);
            assert_eq!(scanner.skip_value(0), Ok(()));
            assert_eq!(scanner.at(), closing.end as usize, "{at} of {text}");
        }
        assert_eq!(found, closings.len(), "nothing else is a bracket");
        // Each is passed over by what is known.
        for body in [line.found.request, line.found.response] {
            let body = body.expect("it has both");
            for closing in closings.iter().filter(|one| one.start as usize >= body.start) {
                let mut scanner = Scanner::of_checked(body.text, body.start, closings.clone());
                let at = closing.start as usize - body.start;
                if at >= body.text.len() {
                    break;
                }
                scanner.move_to(at);
                assert_eq!(scanner.skip_value(0), Ok(()));
                assert_eq!(scanner.at() + body.start, closing.end as usize);
            }
        }
    }
}

#[test]
fn specials_are_where_they_stand() {
    let text: String = (0..=0x7f).map(char::from).cycle().take(300).chain(['ö']).collect();
    for start in (0..=text.len()).step_by(64) {
        let mask = specials(text.as_bytes(), start);
        for at in 0..64 {
            let byte = text.as_bytes().get(start + at).copied().unwrap_or(0);
            let expected = byte == b'"' || byte == b'\\' || byte < 0x20;
            assert_eq!(mask >> at & 1 == 1, expected, "{byte} at {start} + {at}");
        }
    }
}
