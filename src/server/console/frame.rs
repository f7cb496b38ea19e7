//! What stands around every page: the menu, the zone, how many alerts fire, and whether all is well.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse as _, Response},
};

use super::{
    super::{caller::Caller, problem::Problem, status::Health},
    asked::Asked,
    assets::{ASSETS, Assets},
    link::Link,
    view::View,
};
use crate::ask::Mistake;

/// The menu: groups of pages with their paths. Whoever may not open one does not see it.
const MENU: [(&str, &[(&str, &str)]); 4] = [
    ("Watch", &[("/", "Overview"), ("/alerts", "Alerts"), ("/silences", "Silences")]),
    (
        "Access",
        &[
            ("/visits", "Visits"),
            ("/sessions", "Sessions"),
            ("/who", "Who did"),
            ("/permissions", "Permissions"),
        ],
    ),
    ("Record", &[("/coverage", "Coverage"), ("/ledger", "Ledger"), ("/reports", "Reports")]),
    (
        "System",
        &[
            ("/rules", "Rules"),
            ("/delivery", "Delivery"),
            ("/sources", "Sources"),
            ("/settings", "Settings"),
        ],
    ),
];

/// One line of the menu.
pub(super) struct MenuLine {
    pub(super) link: Link,
    pub(super) name: &'static str,
    pub(super) is_here: bool,
    /// How many alerts fire, beside the list of them.
    pub(super) count: Option<usize>,
}

/// What stands around a page.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) menu: Vec<(&'static str, Vec<MenuLine>)>,
    pub(super) assets: &'static Assets,
    pub(super) asked: Asked,
    pub(super) firing: usize,
    /// Parts of the process that are in trouble.
    pub(super) troubles: usize,
    pub(super) version: &'static str,
}

impl Frame {
    /// Around a page; `section` is the path in the menu that it belongs to.
    pub(super) fn new(context: &View, asked: Asked, section: &str, title: &str) -> Frame {
        let firing = context.status.alerts_firing();
        let components = context.status.components();
        let is_bad = |health: Health| !matches!(health, Health::Ok | Health::Starting);
        let troubles = components.values().filter(|component| is_bad(component.health)).count();
        let line = |(path, name): &(&'static str, &'static str)| MenuLine {
            link: asked.link(path),
            name,
            is_here: *path == section,
            count: (*path == "/alerts").then_some(firing),
        };
        let may_open = |(path, _): &&(&'static str, &'static str)| context.may_open(path);
        let group = |(group, lines): &(&'static str, &[(&'static str, &'static str)])| {
            let lines: Vec<MenuLine> = lines.iter().filter(may_open).map(line).collect();
            (!lines.is_empty()).then_some((*group, lines))
        };
        let menu = MENU.iter().filter_map(group).collect();
        Frame {
            title: title.to_owned(),
            menu,
            assets: &ASSETS,
            asked,
            firing,
            troubles,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// When the page was made, for the clock of its script.
    pub(super) fn now(&self) -> String {
        self.asked.now.rfc3339()
    }
}

/// Records that somebody looks at what people did. Where that cannot be, nothing is shown.
pub(super) fn seen(
    context: &View,
    caller: &Caller,
    asked: &Asked,
    rows: usize,
) -> Result<(), Box<Response>> {
    let page = asked.path.clone();
    context.desk.viewed(caller, &page, &asked.here().to_string(), rows).map_err(|problem| {
        let Problem { status, message, hint, .. } = problem;
        Box::new(fail(context, &page, status, "Not shown", Mistake::bad(message, hint)))
    })
}

/// A page, written.
pub(super) fn show(page: &impl Template) -> Response {
    Html(page.render().expect("a page is written to memory")).into_response()
}

#[derive(Template)]
#[template(path = "console/mistake.html", config = "src/html/askama.toml")]
struct MistakePage {
    frame: Frame,
    mistake: Mistake,
}

/// A page that says what is wrong with an address.
pub(super) fn refuse(context: &View, path: &str, mistake: Mistake) -> Response {
    fail(context, path, StatusCode::BAD_REQUEST, "This cannot be asked", mistake)
}

/// A page that says that there is no such thing, and where to look.
pub(super) fn missing(context: &View, path: &str, what: &str, hint: &str) -> Response {
    let mistake = Mistake::bad(what, hint);
    fail(context, path, StatusCode::NOT_FOUND, "Not found", mistake)
}

/// A page that says who may see what was asked for.
pub(super) fn barred(context: &View, problem: Problem) -> Response {
    let Problem { status, message, hint, .. } = problem;
    fail(context, "/", status, "Not for you", Mistake::bad(message, hint))
}

fn fail(context: &View, path: &str, code: StatusCode, title: &str, mistake: Mistake) -> Response {
    let frame = Frame::new(context, Asked::nothing(path), path, title);
    (code, show(&MistakePage { frame, mistake })).into_response()
}
