//! Reads of a store that another one holds, passed on as they are.

/// Implements `Reads` for a type whose field `inner` is a store.
#[macro_export]
macro_rules! forward_reads {
    ($wrapper:ty) => {
        const _: () = {
            use adsengineer_core::{
                audit::Link,
                id::{ConversionId, DeliveryId, LeadId, ReplayId},
                org::OrgId,
                store::*,
            };

            #[async_trait::async_trait]
            impl Reads for $wrapper {
                async fn destinations(&self, org: &OrgId) -> Result<Vec<StoredDestination>, StoreError> {
                    self.inner.destinations(org).await
                }
                async fn requested(&self, once: &Once, now_ms: i64) -> Result<Option<Done>, StoreError> {
                    self.inner.requested(once, now_ms).await
                }
                async fn conversions(&self, org: &OrgId, query: &ConversionQuery) -> Result<Page<ConversionView>, StoreError> {
                    self.inner.conversions(org, query).await
                }
                async fn conversion(&self, org: &OrgId, id: ConversionId) -> Result<Option<ConversionView>, StoreError> {
                    self.inner.conversion(org, id).await
                }
                async fn identifiers(&self, org: &OrgId, id: ConversionId) -> Result<Option<Box<[u8]>>, StoreError> {
                    self.inner.identifiers(org, id).await
                }
                async fn conversion_of(&self, org: &OrgId, id: DeliveryId) -> Result<Option<ConversionId>, StoreError> {
                    self.inner.conversion_of(org, id).await
                }
                async fn dead_letters(&self, org: &OrgId, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, StoreError> {
                    self.inner.dead_letters(org, query).await
                }
                async fn status(&self, org: &OrgId, now_ms: i64) -> Result<Vec<DestinationStatus>, StoreError> {
                    self.inner.status(org, now_ms).await
                }
                async fn reconciliation(&self, org: &OrgId) -> Result<Reconciliation, StoreError> {
                    self.inner.reconciliation(org).await
                }
                async fn uploads(&self, org: &OrgId, limit: usize) -> Result<Vec<UploadView>, StoreError> {
                    self.inner.uploads(org, limit).await
                }
                async fn audit(&self, after: i64, limit: usize) -> Result<Vec<Link>, StoreError> {
                    self.inner.audit(after, limit).await
                }
                async fn lead(&self, org: &OrgId, id: LeadId) -> Result<Option<StoredLead>, StoreError> {
                    self.inner.lead(org, id).await
                }
                async fn leads(&self, org: &OrgId, query: &LeadQuery) -> Result<Page<StoredLead>, StoreError> {
                    self.inner.leads(org, query).await
                }
                async fn lead_consents(&self, org: &OrgId, id: LeadId) -> Result<Vec<StoredConsent>, StoreError> {
                    self.inner.lead_consents(org, id).await
                }
                async fn lead_counts(&self, org: &OrgId) -> Result<LeadCounts, StoreError> {
                    self.inner.lead_counts(org).await
                }
                async fn rules(&self, org: &OrgId) -> Result<Vec<StoredRule>, StoreError> {
                    self.inner.rules(org).await
                }
                async fn replay(&self, org: &OrgId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
                    self.inner.replay(org, id).await
                }
                async fn organizations(&self) -> Result<Vec<OrgId>, StoreError> {
                    self.inner.organizations().await
                }
            }
        };
    };
}
