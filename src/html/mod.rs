//! HTML: templates whose values can neither become markup nor act on a reader.
//!
//! The templates stand beside this file and are checked when they are compiled; what they show is put
//! together where it is known (the console, a backtest's report, a mail). Reports and mails need nothing
//! else: no script, no font, no network; pages of the console have one style and one small script of ours.

use std::fmt;

use askama::filters::Escaper;

use crate::engine::text::printable;

/// Escapes every value of a template, in elements and in quoted attributes. What would act on a reader,
/// and line breaks, which would forge a line, are written out: a template breaks lines itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Harmless;

impl Escaper for Harmless {
    fn write_escaped_str<W: fmt::Write>(&self, mut page: W, value: &str) -> fmt::Result {
        printable(value).chars().try_for_each(|c| match c {
            '&' => page.write_str("&amp;"),
            '<' => page.write_str("&lt;"),
            '>' => page.write_str("&gt;"),
            '"' => page.write_str("&quot;"),
            '\'' => page.write_str("&#39;"),
            c => page.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    /// With our configuration, as the pages have it.
    #[derive(Template)]
    #[template(
        ext = "html",
        config = "src/html/askama.toml",
        source = "<b title=\"{{ self.0 }}\">{{ self.0 }}"
    )]
    struct Page<'a>(&'a str);

    #[test]
    fn what_an_attacker_wrote_is_neither_markup_nor_acts() {
        let shown = "&lt;script&gt;&amp;&quot;&#39;\\u{1b}\\u{202e}\\n";
        let page = Page("<script>&\"'\u{1b}\u{202e}\n").render().unwrap();
        assert_eq!(page, format!("<b title=\"{shown}\">{shown}"));
    }
}
