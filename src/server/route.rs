//! What a route is: its path, what it needs of who asks, what answers, and what is said of it.

use axum::{
    extract::Request, middleware::Next, response::IntoResponse as _, routing::MethodRouter,
};

use super::{ServerContext, caller::Right, questions};
use crate::ask::{Parameter, QuestionKind};

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: pages on which somebody says who they are.
    Nothing,
    /// Anybody, if the configuration says so.
    Health,
    /// The same, for metrics.
    Metrics,
    /// A signature of Slack, which is over the body, so that what answers looks at it.
    Signature,
    /// Somebody with this right.
    Right(Right),
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Changes nothing.
    Get,
    /// Changes something.
    Post,
}

/// What answers.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// A function.
    By(fn() -> MethodRouter<ServerContext>),
    /// The ledger.
    Question(&'static QuestionKind),
}

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) answers: Answers,
    /// What the document of the API says; `None` if it is no part of the API.
    pub(super) document: Option<Document>,
}

/// What the document of the API says of a route.
#[derive(Clone, Copy)]
pub(super) struct Document {
    /// What it is for.
    pub(super) about: &'static str,
    /// What stands in the query.
    pub(super) parameters: &'static [&'static [Parameter]],
    /// Name of the schema of the body, if there is one.
    pub(super) body: Option<&'static str>,
    /// Name of the schema of the answer.
    pub(super) answer: &'static str,
}

/// The table of routes, for pages that name others.
#[derive(Clone, Copy)]
pub(super) struct Table(pub(super) &'static [Route]);

impl Table {
    /// What a page needs of who opens it; `None` if there is no such page.
    pub(super) fn needs_of(self, path: &str) -> Option<Needs> {
        let is_it = |route: &&Route| route.method == Method::Get && route.path == path;
        self.0.iter().find(is_it).map(|route| route.needs)
    }
}

impl Route {
    /// What answers it.
    pub(super) fn handler(&self) -> MethodRouter<ServerContext> {
        match self.answers {
            Answers::By(handler) => match self.document {
                Some(Document { parameters, .. }) => {
                    let check = move |request: Request, next: Next| async move {
                        match questions::check(request.uri(), parameters) {
                            Ok(()) => next.run(request).await,
                            Err(problem) => problem.into_response(),
                        }
                    };
                    handler().layer(axum::middleware::from_fn(check))
                }
                None => handler(),
            },
            Answers::Question(kind) => questions::route(kind, kind.is_personal()),
        }
    }
}
