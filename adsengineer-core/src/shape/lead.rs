//! Leads.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    consent::ConsentRecord,
    engine::LeadView,
    lead::{Clicks, LeadStatus, Utm},
    scoring::Score,
};

/// A person's enquiry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lead {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(example = "lead_06cvmz3k80001"))]
    pub id: String,
    /// The user's own id.
    pub external_id: Option<String>,
    /// The site that it came from.
    pub site_id: Option<String>,
    /// E-mail address; hexadecimal if it was given hashed.
    pub email: Option<String>,
    /// Phone number in E.164; hexadecimal if it was given hashed.
    pub phone: Option<String>,
    /// The last click of each kind.
    pub clicks: Clicks,
    /// The page that the click led to.
    pub landing_page: Option<String>,
    /// Campaign parameters of that page.
    pub utm: Utm,
    /// Where the person first came from; never overwritten.
    pub first_touch: Option<FirstTouch>,
    /// The person's company.
    pub company: Option<String>,
    /// The user's labels.
    pub tags: Vec<String>,
    /// What the person would spend, as written.
    pub budget: Option<String>,
    /// The line of business.
    pub vertical: Option<String>,
    /// How far the sale has come.
    pub status: LeadStatus,
    /// What the sale is worth, as a decimal.
    pub value: Option<String>,
    /// The currency of the value.
    pub currency: Option<String>,
    /// 0 to 100.
    pub score: u8,
    /// Whether the score is high enough to call.
    pub qualified: bool,
    /// What the lead is probably worth, in cents.
    pub scored_value_cents: i64,
    /// Why.
    pub scoring: Score,
    /// What the person agreed to.
    pub consent: ConsentRecord,
    /// When the person became a lead.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub occurred_at: Option<Timestamp>,
    /// When it was stored.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
}

/// Where a person first came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FirstTouch {
    /// The clicks.
    pub clicks: Clicks,
    /// The campaign.
    pub utm: Utm,
    /// The page.
    pub landing_page: Option<String>,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// A page of leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leads {
    /// The page, in the order of their latest changes.
    pub leads: Vec<Lead>,
    /// Where the next page starts; null: this was the last.
    pub next_cursor: Option<String>,
}

impl From<LeadView> for Lead {
    fn from(view: LeadView) -> Self {
        let (lead, score) = (view.lead, view.score);
        let first_touch = lead.first_touch().map(|touch| FirstTouch {
            clicks: touch.clicks,
            utm: touch.utm,
            landing_page: touch.landing_page.map(String::from),
            at: Timestamp::from_second(touch.at).unwrap_or(Timestamp::UNIX_EPOCH),
        });
        Self {
            id: view.id.to_string(),
            email: lead.email.as_ref().map(|email| email.text().into_owned()),
            phone: lead.phone.as_ref().map(|phone| phone.text().into_owned()),
            first_touch,
            external_id: lead.external_id.map(String::from),
            site_id: lead.site_id.map(String::from),
            clicks: lead.clicks,
            landing_page: lead.landing_page.map(String::from),
            utm: lead.utm,
            company: lead.company.map(String::from),
            tags: lead.tags.into_iter().map(String::from).collect(),
            budget: lead.budget.map(String::from),
            vertical: score.vertical.as_deref().map(ToOwned::to_owned),
            status: lead.status,
            value: lead.value.map(|money| money.decimal().to_string()),
            currency: lead.value.map(|money| money.currency.to_string()),
            score: score.score,
            qualified: score.qualified,
            scored_value_cents: score.value_cents,
            scoring: score,
            consent: lead.consent,
            occurred_at: lead.occurred_at,
            created_at: view.id.created_at(),
            updated_at: view.updated_at,
        }
    }
}
