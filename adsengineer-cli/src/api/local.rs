//! Everyday verbs by the engine in this process.

use adsengineer_core::{
    destination::DestinationSpec,
    engine::{Engine, EngineError, Match, Matched, ReplayRequest},
    id::{DeliveryId, LeadId},
    lead::BodyError,
    org::Caller,
    rule::parse_rule,
    secret::Secret,
    shape::{
        Conversion, Conversions, DeadLetter, DeadLetters, Destination, Destinations, Lead, Leads, Reconciliation, ReplayStatus, Rule,
        Rules, Standing, Status,
    },
    store::{ConversionQuery, DeadLetterQuery, LeadQuery, RepairAction, Repaired as Row},
};
use async_trait::async_trait;

use super::{Api, Checked, Follow, LeadFilter, Mended};
use crate::error::{CliError, Exit};

/// Dead letters repaired in one transaction.
const STEP: usize = 2_000;

/// The engine, and whoever runs this program.
pub struct Local {
    engine: Engine,
    caller: Caller,
}

impl Local {
    /// Everyday verbs of `caller`'s organization.
    pub fn new(engine: Engine, caller: Caller) -> Self {
        Self { engine, caller }
    }

    /// The dead letters that match, and how many are left out because they may count twice.
    async fn choose(&self, request: &ReplayRequest) -> Result<(Vec<DeliveryId>, u64), CliError> {
        let found = self.engine.matching(&self.caller, request).await?;
        let is_risky = |letter: &Match| letter.may_duplicate == Some(true) && !request.accept_duplicates;
        let risky = found.iter().filter(|letter| is_risky(letter)).count() as u64;
        Ok((found.iter().filter(|letter| !is_risky(letter)).map(|letter| letter.id).collect(), risky))
    }

    async fn repair(&self, request: &ReplayRequest, action: RepairAction) -> Result<Mended, CliError> {
        let (ids, risky) = self.choose(request).await?;
        let mut done = Mended { matched: ids.len() as u64, needs_accept_duplicates: risky, ..Mended::default() };
        for chunk in ids.chunks(STEP) {
            for result in self.engine.repair(&self.caller, chunk.to_vec(), action, request.note.clone()).await? {
                match result {
                    Row::Done => done.repaired += 1,
                    Row::NotDead => done.not_dead += 1,
                    Row::NotFound => done.not_found += 1,
                }
            }
        }
        Ok(done)
    }
}

#[async_trait]
impl Api for Local {
    async fn conversions(&self, query: &ConversionQuery) -> Result<Conversions, CliError> {
        Ok(self.engine.conversions(&self.caller, query).await?.into())
    }

    async fn explain(&self, id: &str) -> Result<Conversion, CliError> {
        Ok(self.engine.explain(&self.caller, id).await?.into())
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetters, CliError> {
        Ok(DeadLetters::of(self.caller.org(), self.engine.dead_letters(&self.caller, query).await?))
    }

    async fn dead_letter(&self, id: &str) -> Result<DeadLetter, CliError> {
        let parsed = id.parse().map_err(|_| EngineError::NotFound(format!("dead letter `{id}`")))?;
        Ok(DeadLetter::of(self.caller.org(), self.engine.dead_letter(&self.caller, parsed).await?))
    }

    async fn count_dead_letters(&self, request: &ReplayRequest) -> Result<Matched, CliError> {
        Ok(self.engine.count_dead_letters(&self.caller, request).await?)
    }

    async fn replay(&self, request: &ReplayRequest, _: &Follow) -> Result<Mended, CliError> {
        self.repair(request, RepairAction::Replay { every_ms: request.every_ms }).await
    }

    async fn stop_replay(&self, id: &str) -> Result<ReplayStatus, CliError> {
        let parsed = id.parse().map_err(|_| EngineError::NotFound(format!("replay `{id}`")))?;
        Ok(ReplayStatus::from(&self.engine.stop_replay(&self.caller, parsed).await?))
    }

    async fn discard(&self, request: &ReplayRequest) -> Result<Mended, CliError> {
        self.repair(&ReplayRequest { accept_duplicates: true, ..request.clone() }, RepairAction::Discard).await
    }

    async fn status(&self) -> Result<Status, CliError> {
        let all = self.engine.status(&self.caller).await?;
        let leads = self.engine.lead_counts(&self.caller).await?;
        Ok(Status { destinations: all.iter().map(Standing::from).collect(), leads })
    }

    async fn reconciliation(&self) -> Result<Reconciliation, CliError> {
        Ok(Reconciliation::from(&self.engine.reconciliation(&self.caller).await?))
    }

    async fn destinations(&self) -> Result<Destinations, CliError> {
        let all = self.engine.destinations(&self.caller).await?;
        Ok(Destinations { destinations: all.iter().map(Destination::from).collect(), next_cursor: None })
    }

    async fn destination(&self, name: &str) -> Result<Destination, CliError> {
        Ok(Destination::from(&self.engine.destination(&self.caller, name).await?))
    }

    async fn put_destination(
        &self,
        name: &str,
        spec: DestinationSpec,
        credentials: Option<&Secret<String>>,
    ) -> Result<Destination, CliError> {
        let known = self.engine.destinations(&self.caller).await?.into_iter().find(|d| d.name.as_ref() == name);
        let spec = DestinationSpec { credentials_ref: known.and_then(|d| d.spec.credentials_ref), ..spec };
        Ok(Destination::from(&self.engine.put_destination(&self.caller, name, spec, credentials).await?))
    }

    async fn check_destination(&self, name: &str) -> Result<Checked, CliError> {
        let (findings, released) = self.engine.check_destination(&self.caller, name).await?;
        Ok(Checked { ok: !findings.iter().any(|f| f.blocking), findings, released })
    }

    async fn remove_destination(&self, name: &str, force: bool) -> Result<u64, CliError> {
        Ok(self.engine.remove_destination(&self.caller, name, force).await?)
    }

    async fn rules(&self) -> Result<Rules, CliError> {
        let rules = self.engine.rules(&self.caller).await?;
        Ok(Rules { rules: rules.iter().map(|(name, rule)| Rule::of(name, rule)).collect(), next_cursor: None })
    }

    async fn rule(&self, name: &str) -> Result<Rule, CliError> {
        let found = self.rules().await?.rules.into_iter().find(|rule| rule.name == name);
        Ok(found.ok_or_else(|| EngineError::NotFound(format!("rule `{name}`")))?)
    }

    async fn put_rule(&self, name: &str, rule: &serde_json::Value) -> Result<Rule, CliError> {
        let rule = parse_rule(rule.to_string().as_bytes()).map_err(|e| refused(&e))?;
        self.engine.put_rule(&self.caller, name, &rule).await?;
        Ok(Rule::of(name, &rule))
    }

    async fn remove_rule(&self, name: &str) -> Result<(), CliError> {
        Ok(self.engine.remove_rule(&self.caller, name).await?)
    }

    async fn leads(&self, query: &LeadFilter) -> Result<Leads, CliError> {
        let query = LeadQuery {
            status: query.status.map(adsengineer_core::lead::LeadStatus::number),
            updated_since_ms: query.updated_since_ms,
            descending: query.descending,
            cursor: query.cursor,
            limit: query.limit,
        };
        let page = self.engine.leads(&self.caller, &query).await?;
        Ok(Leads { leads: page.items.into_iter().map(Lead::from).collect(), next_cursor: page.next_cursor })
    }

    async fn lead(&self, id: &str) -> Result<Lead, CliError> {
        Ok(self.engine.lead(&self.caller, lead_id(id)?).await?.into())
    }

    async fn delete_lead(&self, id: &str) -> Result<(), CliError> {
        Ok(self.engine.delete_lead(&self.caller, lead_id(id)?).await?)
    }
}

fn lead_id(id: &str) -> Result<LeadId, CliError> {
    Ok(id.parse().map_err(|_| EngineError::NotFound(format!("lead `{id}`")))?)
}

fn refused(error: &BodyError) -> CliError {
    let text = match error {
        BodyError::Invalid(errors) => errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    };
    CliError::new(Exit::Usage, "VALIDATION_FAILED", text)
}
