//! Who asks, where everything stands, and the sum.

use adsengineer_core::shape::{Reconciliation, Standing, Status};
use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Api,
    error::Problem,
    extract::{As, Viewer},
};

/// Says who asks
#[utoipa::path(get, path = "/api/v1/me", tag = "status", responses((status = 200, description = "What the token says", body = Me)))]
pub(crate) async fn me(caller: As<Viewer>) -> Json<Me> {
    let caller = caller.0;
    let exp = caller.expires_s().and_then(|s| Timestamp::from_second(s).ok());
    Json(Me { sub: caller.subject().to_owned(), org_id: caller.org().to_string(), role: caller.role().as_str().to_owned(), exp })
}

/// Says where every destination stands
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, description = "Every destination", body = Status)))]
pub(crate) async fn status(caller: As<Viewer>, State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let all = api.engine().status(&caller.0).await?;
    let leads = api.engine().lead_counts(&caller.0).await?;
    Ok(Json(Status { destinations: all.iter().map(Standing::from).collect(), leads }))
}

/// Compares what came in with what became of it
#[utoipa::path(get, path = "/api/v1/reconciliation", tag = "status", responses((status = 200, description = "The sum", body = Reconciliation)))]
pub(crate) async fn reconciliation(caller: As<Viewer>, State(api): State<Api>) -> Result<Json<Reconciliation>, Problem> {
    Ok(Json(Reconciliation::from(&api.engine().reconciliation(&caller.0).await?)))
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The token's subject.
    pub sub: String,
    /// The organization.
    pub org_id: String,
    /// `viewer`, `member`, `admin` or `owner`.
    pub role: String,
    /// When the token ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub exp: Option<Timestamp>,
}
