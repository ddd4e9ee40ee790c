//! Every route on one screen.

use axum::{Router, http::Method, middleware::from_fn_with_state};
use tower_http::{
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::CorsLayer,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use adsengineer_core::engine::Engine;

use crate::{
    Api,
    handlers::{conversions, destinations, dlq, leads, rules, status, system, tokens},
    layers::{
        edge::{REQUEST_ID, edge},
        gate::{BUDGET_HEADERS, gate},
        room::room,
    },
    openapi,
};

/// Smaller answers are not compressed.
const COMPRESS_FROM: u16 = 1024;

/// All routes of `engine` for a host with its own authentication; see [`Api::new`].
pub fn router(engine: Engine) -> Router {
    api_router(Api::new(engine))
}

/// All routes and layers of a face.
pub fn api_router(api: Api) -> Router {
    let (routes, document) = routes().split_for_parts();
    let document = openapi::finish(document, api.url());
    let mut router = routes
        .merge(openapi::pages(document))
        .fallback(nowhere)
        .layer(CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(COMPRESS_FROM)))
        .layer(from_fn_with_state(api.clone(), room))
        .layer(from_fn_with_state(api.clone(), gate));
    if !api.allowed_origins().is_empty() {
        router = router.layer(cors(&api));
    }
    router.layer(from_fn_with_state(api.clone(), edge)).with_state(api)
}

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(status::me))
        .routes(routes!(leads::list, leads::create))
        .routes(routes!(leads::show, leads::patch, leads::delete))
        .routes(routes!(conversions::list, conversions::create))
        .routes(routes!(conversions::show))
        .routes(routes!(conversions::explain))
        .routes(routes!(dlq::list))
        .routes(routes!(dlq::show))
        .routes(routes!(dlq::replay))
        .routes(routes!(dlq::follow, dlq::stop))
        .routes(routes!(dlq::discard))
        .routes(routes!(status::status))
        .routes(routes!(status::reconciliation))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::show, destinations::put, destinations::remove))
        .routes(routes!(destinations::check))
        .routes(routes!(rules::list))
        .routes(routes!(rules::show, rules::put, rules::remove))
        .routes(routes!(tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(system::health))
        .routes(routes!(system::livez))
        .routes(routes!(system::readyz))
}

async fn nowhere() -> crate::error::Problem {
    crate::error::Problem::of_status(axum::http::StatusCode::NOT_FOUND)
}

fn cors(api: &Api) -> CorsLayer {
    let headers = [
        axum::http::header::AUTHORIZATION,
        axum::http::header::CONTENT_TYPE,
        REQUEST_ID,
        axum::http::HeaderName::from_static("idempotency-key"),
    ];
    CorsLayer::new()
        .allow_origin(api.allowed_origins().to_vec())
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(headers)
        .expose_headers([REQUEST_ID, axum::http::header::RETRY_AFTER].into_iter().chain(BUDGET_HEADERS).collect::<Vec<_>>())
}
