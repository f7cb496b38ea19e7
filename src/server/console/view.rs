//! What a page is made from: what the server shows, and who looks at it.

use std::{convert::Infallible, ops::Deref};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::super::{
    ServerContext,
    caller::Caller,
    route::{Needs, Table},
};

/// What the server shows, and who looks.
#[derive(Clone)]
pub(in crate::server) struct View {
    context: ServerContext,
    caller: Option<Caller>,
    routes: Table,
}

impl View {
    /// Of somebody who is known.
    pub(in crate::server) const fn of(
        context: ServerContext,
        caller: Caller,
        routes: Table,
    ) -> View {
        View { context, caller: Some(caller), routes }
    }

    /// Whether who looks may open a page.
    pub(super) fn may_open(&self, path: &str) -> bool {
        match self.routes.needs_of(path) {
            Some(Needs::Right(right)) => {
                self.caller.as_ref().is_some_and(|caller| caller.may(right))
            }
            needs => needs.is_some(),
        }
    }
}

impl Deref for View {
    type Target = ServerContext;

    fn deref(&self) -> &ServerContext {
        &self.context
    }
}

impl FromRequestParts<ServerContext> for View {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        context: &ServerContext,
    ) -> Result<View, Infallible> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let routes = parts.extensions.get::<Table>().copied().unwrap_or(Table(&[]));
        Ok(View { context: context.clone(), caller, routes })
    }
}
