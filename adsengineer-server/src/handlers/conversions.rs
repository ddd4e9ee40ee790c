//! Conversions, and the story of one.

use adsengineer_core::{
    conversion::request::{Remark, parse_conversions},
    delivery::State as DeliveryState,
    engine::AcceptedConversion,
    finding::Severity,
    id::ConversionId,
    shape::{Conversion, Conversions},
    store::ConversionQuery,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Order, cursor, leads::Decimal, limit, millis};
use crate::{
    Api,
    error::Problem,
    extract::{As, Held, IdempotencyKey, JsonBytes, Member, Name, Query, Viewer},
};

/// Most conversions of one request.
const CONVERSIONS_MAX: usize = 2000;

/// Takes conversions in
///
/// One conversion or an array of up to 2000, all or none. Each is delivered to the destinations it names, else to every one that has
/// its action. The same conversion again is a duplicate and not sent twice. A sound one whose time has not come yet, or is too long
/// ago for the platforms, is a conflict with the clock: 409. A lead or a destination that it names must be there: 404.
#[utoipa::path(
    post, path = "/api/v1/conversions", tag = "conversions",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request safe to repeat for 24 hours", min_length = 1, max_length = 255, pattern = "^[!#-~]+$")),
    request_body(content = ConversionsBody),
    responses((status = 202, description = "What became of each, in order", body = ConversionsAnswer))
)]
pub(crate) async fn create(
    caller: As<Member>,
    State(api): State<Api>,
    key: IdempotencyKey,
    JsonBytes(body): JsonBytes,
) -> Result<(StatusCode, Json<ConversionsAnswer>), Problem> {
    let now_s = api.engine().clock().now_ms().div_euclid(1000);
    let requested = parse_conversions(&body, CONVERSIONS_MAX, now_s)?;
    let held = key.hold(&api, &caller.0, &body)?;
    let accepted = api.engine().accept_conversions(&caller.0, requested, Held::once(held.as_ref())).await?;
    let conversions = accepted.conversions.into_iter().map(ConversionReceipt::of).collect();
    Ok((StatusCode::ACCEPTED, Json(ConversionsAnswer { conversions })))
}

/// Lists conversions with their deliveries
#[utoipa::path(get, path = "/api/v1/conversions", tag = "conversions", params(ConversionFilter), responses((status = 200, description = "A page", body = Conversions)))]
pub(crate) async fn list(
    caller: As<Viewer>,
    State(api): State<Api>,
    Query(filter): Query<ConversionFilter>,
) -> Result<Json<Conversions>, Problem> {
    let query = ConversionQuery {
        state: filter.state,
        updated_since_ms: millis("updated_since", filter.updated_since.as_deref())?,
        order_id: filter.order_id,
        descending: filter.order == Order::Desc,
        cursor: cursor::<ConversionId>(filter.cursor.as_deref())?.map(|id| id.to_string()),
        limit: limit(filter.limit)?,
    };
    Ok(Json(api.engine().conversions(&caller.0, &query).await?.into()))
}

/// Shows a conversion with its deliveries
#[utoipa::path(get, path = "/api/v1/conversions/{id}", tag = "conversions", params(("id" = String, Path, description = "The conversion's id")), responses((status = 200, description = "The conversion", body = Conversion)))]
pub(crate) async fn show(caller: As<Viewer>, State(api): State<Api>, Name(id): Name) -> Result<Json<Conversion>, Problem> {
    let id: ConversionId = id.parse().map_err(|_| Problem::not_found("such conversion"))?;
    Ok(Json(api.engine().explain(&caller.0, &id.to_string()).await?.into()))
}

/// Explains a conversion
///
/// By its own id, one of its deliveries', or its order id: every delivery's state, attempts, reason and next action.
#[utoipa::path(get, path = "/api/v1/explain/{id}", tag = "conversions", params(("id" = String, Path, description = "`conv_…`, `dlv_…` or an order id")), responses((status = 200, description = "The conversion", body = Conversion)))]
pub(crate) async fn explain(caller: As<Viewer>, State(api): State<Api>, Name(id): Name) -> Result<Json<Conversion>, Problem> {
    Ok(Json(api.engine().explain(&caller.0, &id).await?.into()))
}

/// Which conversions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConversionFilter {
    /// Only those with a delivery in this state
    state: Option<DeliveryState>,
    /// Only those captured or changed since
    #[param(format = DateTime)]
    updated_since: Option<String>,
    /// Only the one with this order id
    order_id: Option<String>,
    /// By capture, oldest or newest first
    #[serde(default)]
    #[param(inline, required = false)]
    order: Order,
    /// Where the page before ended
    cursor: Option<String>,
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// One conversion, or up to 2000.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant, reason = "describes what the core reads")]
pub(crate) enum ConversionsBody {
    /// One.
    #[schema(title = "one conversion")]
    One(ConversionBody),
    /// Several, all or none.
    #[schema(title = "several conversions")]
    Many(ConversionBodies),
}

/// Several conversions.
#[derive(ToSchema)]
#[schema(min_items = 1, max_items = 2000)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct ConversionBodies(Vec<ConversionBody>);

/// Something that happened and is worth money. A click id, identifiers or a lead is required, and so is consent without a lead.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"action": "Qualified lead", "occurred_at": "2026-11-18T14:05:00Z", "value": "120.00", "currency": "EUR",
    "order_id": "A-1001", "gclid": "EAIaIQobChMI1example0000000001", "consent": {"ad_user_data": "granted"}}))]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct ConversionBody {
    /// The conversion action's name, or the platform's id of it.
    #[schema(max_length = 256)]
    action: String,
    /// When it happened, RFC 3339 with its offset.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// What it is worth; needs `currency`.
    value: Option<Decimal>,
    /// The currency of `value`, ISO 4217.
    #[schema(pattern = "^[A-Za-z]{3}$")]
    currency: Option<String>,
    /// Your own id for the sale.
    #[schema(max_length = 256)]
    order_id: Option<String>,
    /// The lead that it comes from: gives click ids, identifiers and consent.
    lead_id: Option<String>,
    /// Google click id.
    gclid: Option<String>,
    /// Google click id of an iOS app click.
    gbraid: Option<String>,
    /// Google click id of an iOS web click.
    wbraid: Option<String>,
    /// Who the person is, plain or as SHA-256 in hexadecimal.
    identifiers: Option<IdentifiersBody>,
    /// What the person agreed to.
    consent: Option<AdConsentBody>,
    /// Names of destinations.
    destinations: Option<Vec<String>>,
}

/// Who a person is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct IdentifiersBody {
    email: Option<String>,
    phone: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    country: Option<String>,
    postal_code: Option<String>,
}

/// What a person agreed to for advertising.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct AdConsentBody {
    /// May it go to platforms for advertising?
    ad_user_data: Option<adsengineer_core::consent::ConsentState>,
    /// May it be used for personalised advertising?
    ad_personalization: Option<adsengineer_core::consent::ConsentState>,
}

/// What became of conversions, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionsAnswer {
    conversions: Vec<ConversionReceipt>,
}

/// What became of a conversion.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionReceipt {
    /// Its id, or that of the known one; null if nothing was taken in.
    id: Option<String>,
    /// Whether it was known.
    duplicate: bool,
    /// Remarks.
    findings: Vec<FindingShape>,
}

/// A remark.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingShape {
    /// Stable, UPPER_SNAKE.
    code: &'static str,
    /// The field.
    field: String,
    /// What to do.
    hint: String,
    /// `error` or `warning`.
    severity: &'static str,
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

impl ConversionReceipt {
    fn of(accepted: AcceptedConversion) -> Self {
        let finding = |r: Remark| FindingShape { code: r.code, field: r.field, hint: r.hint, severity: severity(r.severity) };
        Self {
            id: accepted.id.map(|id| id.to_string()),
            duplicate: accepted.duplicate,
            findings: accepted.findings.into_iter().map(finding).collect(),
        }
    }
}
