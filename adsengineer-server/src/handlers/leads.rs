//! Leads.

use adsengineer_core::{
    engine::{AcceptedLeads, LeadView, RuleConversion},
    id::LeadId,
    lead::{Judged, LeadStatus, parse_leads, parse_patch},
    shape::{Lead, Leads},
    store::{Captured, LeadQuery},
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Order, cursor, limit, millis};
use crate::{
    Api,
    error::Problem,
    extract::{Admin, As, Held, Id, IdempotencyKey, JsonBytes, Member, Query, Viewer},
};

/// Most leads of one request.
const LEADS_MAX: usize = 1000;

/// Takes leads in
///
/// One lead or an array of up to 1000, all or none. Consent comes first: of a lead without `consent.storage = granted` nothing
/// is stored, and it is listed in `denied_leads`. A lead with the `external_id` of a known one of the same site updates it.
/// A time that has not come yet is a conflict with the clock: 409.
#[utoipa::path(
    post, path = "/api/v1/leads", tag = "leads",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request safe to repeat for 24 hours", min_length = 1, max_length = 255, pattern = "^[!#-~]+$")),
    request_body(content = LeadsBody),
    responses(
        (status = 201, description = "At least one lead was stored", body = LeadsAnswer),
        (status = 200, description = "Every lead was denied, nothing was stored", body = LeadsAnswer)
    )
)]
pub(crate) async fn create(
    caller: As<Member>,
    State(api): State<Api>,
    key: IdempotencyKey,
    JsonBytes(body): JsonBytes,
) -> Result<(StatusCode, Json<LeadsAnswer>), Problem> {
    let now_s = api.engine().clock().now_ms().div_euclid(1000);
    let parsed = parse_leads(&body, LEADS_MAX, now_s)?;
    let denied: Vec<DeniedLead> = parsed.leads.iter().enumerate().filter_map(DeniedLead::of).collect();
    let held = key.hold(&api, &caller.0, &body)?;
    let accepted = api.engine().accept_leads(&caller.0, parsed.leads, Held::once(held.as_ref())).await?;
    let status = if accepted.leads.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(LeadsAnswer::of(accepted, denied))))
}

/// Lists leads
///
/// In the order of their latest changes, so that `updated_since` and `cursor` miss none.
#[utoipa::path(get, path = "/api/v1/leads", tag = "leads", params(LeadFilter), responses((status = 200, description = "A page", body = Leads)))]
pub(crate) async fn list(caller: As<Viewer>, State(api): State<Api>, Query(filter): Query<LeadFilter>) -> Result<Json<Leads>, Problem> {
    let query = LeadQuery {
        status: filter.status.map(LeadStatus::number),
        updated_since_ms: millis("updated_since", filter.updated_since.as_deref())?,
        descending: filter.order == Order::Desc,
        cursor: cursor(filter.cursor.as_deref())?,
        limit: limit(filter.limit)?,
    };
    let page = api.engine().leads(&caller.0, &query).await?;
    Ok(Json(Leads { leads: page.items.into_iter().map(Lead::from).collect(), next_cursor: page.next_cursor }))
}

/// Shows a lead
#[utoipa::path(get, path = "/api/v1/leads/{id}", tag = "leads", params(("id" = String, Path, description = "The lead's id")), responses((status = 200, description = "The lead", body = Lead)))]
pub(crate) async fn show(caller: As<Viewer>, State(api): State<Api>, Id(id): Id<LeadId>) -> Result<Json<Lead>, Problem> {
    Ok(Json(api.engine().lead(&caller.0, id).await?.into()))
}

/// Changes a lead's status or value
///
/// A status only moves forward. The organization's rules make conversions of the status that is entered, once for each lead and action.
#[utoipa::path(
    patch, path = "/api/v1/leads/{id}", tag = "leads",
    params(
        ("id" = String, Path, description = "The lead's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request safe to repeat for 24 hours", min_length = 1, max_length = 255, pattern = "^[!#-~]+$")
    ),
    request_body = LeadPatchBody,
    responses((status = 200, description = "The lead as it is now, and what rules made of the change", body = PatchAnswer))
)]
pub(crate) async fn patch(
    caller: As<Member>,
    State(api): State<Api>,
    Id(id): Id<LeadId>,
    key: IdempotencyKey,
    JsonBytes(body): JsonBytes,
) -> Result<Json<PatchAnswer>, Problem> {
    let patch = parse_patch(&body)?;
    let held = key.hold(&api, &caller.0, &body)?;
    let accepted = api.engine().patch_lead(&caller.0, id, patch, Held::once(held.as_ref())).await?;
    let conversions = accepted.conversions.iter().map(ByRule::of).collect();
    let lead = accepted.leads.into_iter().next().ok_or_else(|| Problem::not_found("such lead"))?;
    Ok(Json(PatchAnswer { lead: lead.into(), conversions }))
}

/// Deletes a lead
///
/// Its conversions stay, and the record of what its person agreed to.
#[utoipa::path(delete, path = "/api/v1/leads/{id}", tag = "leads", params(("id" = String, Path, description = "The lead's id")), responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(caller: As<Admin>, State(api): State<Api>, Id(id): Id<LeadId>) -> Result<StatusCode, Problem> {
    api.engine().delete_lead(&caller.0, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which leads.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeadFilter {
    /// Only those with this status
    status: Option<LeadStatus>,
    /// Only those stored or changed since
    #[param(format = DateTime)]
    updated_since: Option<String>,
    /// By change, oldest or newest first
    #[serde(default)]
    #[param(inline, required = false)]
    order: Order,
    /// Where the page before ended
    cursor: Option<String>,
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// One lead, or up to 1000.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant, reason = "describes what the core reads")]
pub(crate) enum LeadsBody {
    /// One.
    #[schema(title = "one lead")]
    One(LeadBody),
    /// Several, all or none.
    #[schema(title = "several leads")]
    Many(LeadBodies),
}

/// Several leads.
#[derive(ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct LeadBodies(Vec<LeadBody>);

/// A person's enquiry. An e-mail address, a phone number or a click id is required.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"external_id": "L-1001", "email": "ada@example.com", "phone": "+49 151 23456789", "gclid": "EAIaIQobChMI1example0000000001",
    "company": "Example Ltd", "tags": ["hot"], "consent": {"storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied", "method": "form_checkbox"}}))]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct LeadBody {
    /// Your own id for the lead; the same one at the same site is the same lead.
    #[schema(max_length = 200)]
    external_id: Option<String>,
    /// The site that it came from.
    #[schema(max_length = 200)]
    site_id: Option<String>,
    /// E-mail address, or its SHA-256 in hexadecimal.
    #[schema(max_length = 254)]
    email: Option<String>,
    /// Phone number with its country code, or its SHA-256 in hexadecimal. Its form counts (ITU-T E.164), not whether somebody has it:
    /// a lead is not lost for a number that no list of numbers knows.
    #[schema(max_length = 64)]
    phone: Option<String>,
    /// Google click id.
    gclid: Option<String>,
    /// Google click id of an iOS app click.
    gbraid: Option<String>,
    /// Google click id of an iOS web click.
    wbraid: Option<String>,
    /// Meta click id.
    fbclid: Option<String>,
    /// Meta's click cookie: `fb.<n>.<ms>.<fbclid>`.
    fbc: Option<String>,
    /// Meta's browser cookie.
    fbp: Option<String>,
    /// Microsoft click id.
    msclkid: Option<String>,
    /// TikTok click id.
    ttclid: Option<String>,
    /// The page that the click led to.
    #[schema(max_length = 2048)]
    landing_page: Option<String>,
    /// Campaign parameters of that page.
    utm: Option<UtmBody>,
    /// The person's company.
    #[schema(max_length = 200)]
    company: Option<String>,
    /// Your labels; `hot` and `qualified` raise the score.
    #[schema(max_items = 50)]
    tags: Option<Vec<String>>,
    /// What the person would spend, as written: `$15,000`, `15k`.
    budget: Option<Decimal>,
    /// The line of business.
    #[schema(max_length = 100)]
    vertical: Option<String>,
    /// How far the sale has come; `new` when nothing is said.
    status: Option<LeadStatus>,
    /// What the sale is worth; needs `currency`.
    value: Option<Decimal>,
    /// The currency of `value`, ISO 4217.
    #[schema(pattern = "^[A-Za-z]{3}$")]
    currency: Option<String>,
    /// When the person became a lead, RFC 3339 with its offset.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    /// What the person agreed to. Without `storage = granted` nothing is stored.
    consent: Option<ConsentBody>,
}

/// A decimal as text, or a number.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) enum Decimal {
    /// Exact.
    Text(String),
    /// As written; it never passes through floating point.
    Number(f64),
}

/// Campaign parameters.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct UtmBody {
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    content: Option<String>,
    term: Option<String>,
}

/// What a person agreed to, by purpose.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct ConsentBody {
    /// May the data be stored at all?
    storage: Option<adsengineer_core::consent::ConsentState>,
    /// May it go to platforms for advertising?
    ad_user_data: Option<adsengineer_core::consent::ConsentState>,
    /// May it be used for personalised advertising?
    ad_personalization: Option<adsengineer_core::consent::ConsentState>,
    /// How the answers were given.
    method: Option<adsengineer_core::consent::Method>,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// Which wording the person saw.
    text_version: Option<String>,
    /// The IAB TCF string.
    tcf: Option<String>,
    /// Whether the browser sent Global Privacy Control.
    gpc: Option<bool>,
}

/// What is to change; at least one of status and value.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"status": "won", "value": "120.00", "currency": "EUR"}), min_properties = 1)]
#[allow(dead_code, reason = "describes what the core reads")]
pub(crate) struct LeadPatchBody {
    /// The new status.
    status: Option<LeadStatus>,
    /// What the sale is worth; needs `currency`.
    value: Option<Decimal>,
    /// The currency of `value`, ISO 4217.
    #[schema(pattern = "^[A-Za-z]{3}$")]
    currency: Option<String>,
}

/// What became of leads.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeadsAnswer {
    /// Always true.
    success: bool,
    /// How many were stored.
    stored: usize,
    /// How many were denied.
    denied: usize,
    /// Those stored, in order.
    leads: Vec<StoredLead>,
    /// Those denied.
    denied_leads: Vec<DeniedLead>,
    /// What the organization's rules made of them.
    conversions: Vec<ByRule>,
}

/// A lead that was stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredLead {
    /// Its id.
    id: String,
    /// Your own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// How far the sale has come.
    status: LeadStatus,
    /// 0 to 100.
    score: u8,
    /// Whether the score is high enough to call.
    qualified: bool,
    /// What the lead is probably worth, in cents.
    scored_value_cents: i64,
}

/// A lead without consent; nothing of it was stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeniedLead {
    /// Its place in the request.
    index: usize,
    /// Its e-mail address, from the request.
    email: Option<String>,
    /// `consent_required`.
    reason: &'static str,
}

/// A lead after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatchAnswer {
    /// The lead.
    #[serde(flatten)]
    lead: Lead,
    /// What the organization's rules made of the change.
    conversions: Vec<ByRule>,
}

/// What a rule made of a lead.
#[derive(Debug, Serialize, ToSchema)]
pub struct ByRule {
    /// The rule's name.
    rule: Option<String>,
    /// The conversion, if one was made or known.
    id: Option<String>,
    /// Whether the conversion was known.
    duplicate: bool,
    /// Why none was made: `CONSENT_REQUIRED`, `NO_IDENTIFIER`, `SUPPRESSED_PERSON`.
    reason: Option<String>,
}

impl DeniedLead {
    fn of((index, judged): (usize, &Judged)) -> Option<Self> {
        let Judged::Denied { email } = judged else { return None };
        Some(Self { index, email: email.clone(), reason: "consent_required" })
    }
}

impl LeadsAnswer {
    fn of(accepted: AcceptedLeads, denied_leads: Vec<DeniedLead>) -> Self {
        Self {
            success: true,
            stored: accepted.leads.len(),
            denied: denied_leads.len(),
            conversions: accepted.conversions.iter().map(ByRule::of).collect(),
            leads: accepted.leads.into_iter().map(StoredLead::of).collect(),
            denied_leads,
        }
    }
}

impl StoredLead {
    fn of(view: LeadView) -> Self {
        Self {
            id: view.id.to_string(),
            external_id: view.lead.external_id.map(String::from),
            status: view.lead.status,
            score: view.score.score,
            qualified: view.score.qualified,
            scored_value_cents: view.score.value_cents,
        }
    }
}

impl ByRule {
    fn of(made: &RuleConversion) -> Self {
        let (id, duplicate, reason) = match &made.result {
            Ok(Captured::New(id) | Captured::Restated { conversion: id, .. }) => (Some(id.to_string()), false, None),
            Ok(Captured::Known { conversion, .. } | Captured::Different { conversion, .. }) => (Some(conversion.to_string()), true, None),
            Ok(Captured::OrderIdTaken { owner }) => (Some(owner.to_string()), true, Some("ORDER_ID_TAKEN")),
            Ok(Captured::Suppressed | Captured::OriginalMissing) => (None, false, Some("SUPPRESSED_PERSON")),
            Err(reason) => (None, false, Some(*reason)),
        };
        Self { rule: made.rule.as_deref().map(ToOwned::to_owned), id, duplicate, reason: reason.map(ToOwned::to_owned) }
    }
}
