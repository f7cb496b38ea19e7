//! Every colour of text on every ground that it stands on, light and dark, as WCAG 2.2 measures it.

use std::collections::BTreeMap;

/// Text and the grounds that it stands on: 4.5 to 1 (1.4.3).
const TEXTS: &[(&str, &[&str])] = &[
    ("text", &["ground", "card", "sunk", "hover"]),
    ("quiet", &["ground", "card", "sunk", "hover"]),
    ("link", &["ground", "card", "sunk", "hover"]),
    ("on-mark", &["mark"]),
    ("critical", &["ground", "card", "hover", "critical-soft"]),
    ("high", &["ground", "card", "hover", "high-soft"]),
    ("medium", &["ground", "card", "hover", "medium-soft"]),
    ("low", &["ground", "card", "hover", "low-soft"]),
    ("good", &["ground", "card", "hover", "good-soft"]),
];

/// Borders of controls, marks and pictures: 3 to 1 (1.4.11).
const SHAPES: &[(&str, &[&str])] = &[
    ("edge", &["card", "ground"]),
    ("mark", &["card", "ground"]),
    ("hatch", &["card"]),
    ("critical", &["card"]),
    ("high", &["card"]),
    ("medium", &["card"]),
    ("low", &["card"]),
];

/// The colours of a block of the style: `--name: #rrggbb`.
fn colours(block: &str) -> BTreeMap<String, [f64; 3]> {
    let part = |text: &str, at: usize, width: usize| {
        let digits = &text[at * width..(at + 1) * width];
        let digits = if width == 1 { digits.repeat(2) } else { digits.to_owned() };
        f64::from(u8::from_str_radix(&digits, 16).unwrap()) / 255.0
    };
    let pairs = block.split(';').filter_map(|one| one.trim().strip_prefix("--")?.split_once(": #"));
    pairs
        .map(|(name, digits)| {
            let digits = digits.trim().trim_end_matches([' ', '}']);
            let width = digits.len() / 3;
            (name.to_owned(), [0, 1, 2].map(|at| part(digits, at, width)))
        })
        .collect()
}

/// Relative luminance, as WCAG defines it.
fn luminance(colour: [f64; 3]) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn themes() -> [(&'static str, BTreeMap<String, [f64; 3]>); 2] {
    let css = include_str!("../../../src/html/console/app.css");
    let block = |begin: &str| {
        let rest = &css[css.find(begin).unwrap() + begin.len()..];
        &rest[rest.find(":root {").unwrap() + 7..rest.find('}').unwrap()]
    };
    [
        ("light", colours(block("*/"))),
        ("dark", colours(block("@media (prefers-color-scheme: dark)"))),
    ]
}

#[test]
fn colours_can_be_told_from_their_grounds() {
    let mut weak = Vec::new();
    for (theme, colours) in themes() {
        for (pairs, least) in [(TEXTS, 4.5), (SHAPES, 3.0)] {
            for (text, grounds) in pairs {
                for ground in *grounds {
                    let measured = contrast(colours[*text], colours[*ground]);
                    if measured < least {
                        weak.push(format!("{theme}: {text} on {ground}: {measured:.2} < {least}"));
                    }
                }
            }
        }
    }
    assert_eq!(weak, Vec::<String>::new());
}

#[test]
fn contrast_is_measured_as_wcag_does() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.01);
    let grey = colours("--grey: #767676")["grey"];
    assert!((contrast(grey, [1.0; 3]) - 4.54).abs() < 0.01);
}
