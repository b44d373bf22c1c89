//! What all handlers share.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use utoipa_axum::router::OpenApiRouter;

use crate::Keys;
use crate::problem::{self, Problem, kinds};

/// The keys, and the job behind the routes.
pub(crate) struct Front<J: ?Sized> {
    pub(crate) keys: Arc<Keys>,
    pub(crate) job: Arc<J>,
}

impl<J: ?Sized> Clone for Front<J> {
    fn clone(&self) -> Self {
        Self { keys: Arc::clone(&self.keys), job: Arc::clone(&self.job) }
    }
}

/// The routes with what each front has besides its own: the document, the meaning of problems, and problems for all else.
pub(crate) fn complete<J: ?Sized + Send + Sync + 'static>(routes: OpenApiRouter<Front<J>>, front: Front<J>) -> Router {
    let (router, document) = routes.merge(problem::routes()).merge(crate::openapi::routes()).split_for_parts();
    let router = router.layer(crate::openapi::Document::layer(&document));
    router.fallback(no_route).method_not_allowed_fallback(wrong_method).with_state(front)
}

async fn no_route(uri: Uri) -> Problem {
    Problem::new(kinds::NO_ROUTE).detail(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method() -> Problem {
    Problem::new(kinds::WRONG_METHOD)
}
