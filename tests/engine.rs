//! The engine as another service embeds it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use adsengineer_core::{
    clock::SystemClock,
    consent::{AdConsent, ConsentState},
    conversion::{Conversion, NaturalKey},
    destination::{DestinationKind, DestinationSpec, google::GoogleSettings},
    engine::{Batch, CredentialSources, Engine, EngineConfig, EngineError, Incoming, Refusal},
    identity::{Identifier, Identifiers},
    money::Money,
    org::{Caller, OrgId, Role},
    scoring::Scoring,
    store::{Captured, ConversionQuery, DeadLetterQuery, RepairAction, StoredDestination, sqlite::Migrate},
    vault::{Vault, generate_key, parse_key},
    worker::WorkerSettings,
};

struct Host {
    engine: Engine,
    owner: Caller,
    destination: StoredDestination,
    _folder: tempfile::TempDir,
}

async fn host(credentials: Option<&str>) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineConfig {
        database: folder.path().join("host.db").into(),
        migrate: Migrate::Auto,
        vault: Arc::new(Vault::new(&parse_key(generate_key().expose()).unwrap(), &[])),
        clock: Arc::new(SystemClock),
        google: GoogleSettings::default(),
        credentials: CredentialSources::default(),
        worker: WorkerSettings::default(),
        scoring: Scoring::default(),
    })
    .await
    .unwrap();
    let owner = Caller::trusted(OrgId::default(), Role::Owner);
    let spec = DestinationSpec {
        kind: DestinationKind::Google,
        customer_id: "1234567890".parse().unwrap(),
        login_customer_id: None,
        actions: [("Sale".to_owned(), "987654321".to_owned())].into(),
        order_id_prefix: Some("shop-".to_owned()),
        credentials_ref: None,
        enabled: true,
    };
    let secret = credentials.map(|text| text.to_owned().into());
    let destination = engine.put_destination(&owner, "shop", spec, secret.as_ref()).await.unwrap();
    Host { engine, owner, destination, _folder: folder }
}

fn money(amount: &str) -> Money {
    Money { amount: amount.parse().unwrap(), currency: "EUR".parse().unwrap() }
}

fn sale(action: &str, order: &str) -> (Incoming, NaturalKey) {
    let conversion = Conversion {
        action: action.into(),
        occurred_at: "2026-11-20T10:00:00Z".parse().unwrap(),
        value: Some(money("120")),
        order_id: Some(order.parse().unwrap()),
        click_id: None,
        identifiers: Identifiers {
            email: Some(Identifier::Plain("ada@example.com".into())),
            phone: Some(Identifier::Plain("+4915123456789".into())),
            ..Identifiers::default()
        },
        consent: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None },
    };
    let key = conversion.natural_key(&OrgId::default());
    (Incoming::Conversion(Box::new(conversion), key), key)
}

fn batch(incoming: Vec<Incoming>) -> Batch {
    Batch { source: "test".into(), consent_proof: None, rows: incoming.len() as u64, refused: 0, denied: 0, restate: false, incoming }
}

impl Host {
    async fn accept(&self, incoming: Vec<Incoming>) -> Result<Vec<Captured>, EngineError> {
        self.engine.accept(&self.owner, batch(incoming), std::slice::from_ref(&self.destination)).await
    }
}

#[tokio::test]
async fn an_action_that_a_destination_does_not_know_captures_nothing_of_the_batch() {
    let host = host(None).await;
    let refused = host.accept(vec![sale("Sale", "A-1").0, sale("Lead", "A-2").0]).await;
    let expected = Refusal::UnknownAction { destination: "shop".into(), action: "Lead".into() };
    assert!(matches!(refused, Err(EngineError::Refused(refusal)) if refusal == expected));
    let sum = host.engine.reconciliation(&host.owner).await.unwrap();
    assert_eq!((sum.rows, sum.captured, sum.conversions), (0, 0, 0));
    assert!(matches!(host.accept(vec![sale("Sale", "A-1").0]).await.unwrap()[..], [Captured::New(_)]));
}

#[tokio::test]
async fn a_refund_lowers_the_value_of_a_known_sale_and_of_no_other() {
    let host = host(None).await;
    let (incoming, key) = sale("Sale", "A-1");
    host.accept(vec![incoming]).await.unwrap();
    let refund = |key, at, value| Incoming::Adjustment { key, action: "Sale".into(), at, value };
    let at = 1_795_300_000;
    assert!(matches!(
        host.accept(vec![refund(key, at, Some(money("80.50")))]).await.unwrap()[..],
        [Captured::Restated { revision: 2, .. }]
    ));
    assert_eq!(host.accept(vec![refund(sale("Sale", "A-9").1, at, None)]).await.unwrap(), [Captured::OriginalMissing]);
    let shown = host.engine.explain(&host.owner, "A-1").await.unwrap();
    assert_eq!((shown.value.as_deref(), shown.revision), (Some("80.50"), 2));
    assert_eq!(shown.deliveries[0].transaction_id.as_ref(), "shop-A-1");
    assert!(matches!(host.accept(vec![refund(key, at + 1, None)]).await.unwrap()[..], [Captured::Restated { revision: 3, .. }]));
    assert_eq!(host.engine.explain(&host.owner, "A-1").await.unwrap().value.as_deref(), Some("0.00"));
}

#[tokio::test]
async fn a_role_allows_what_it_names_and_no_more() {
    let host = host(None).await;
    let caller = |role| Caller::trusted(OrgId::default(), role);
    let (viewer, member) = (caller(Role::Viewer), caller(Role::Member));
    let accepted = host.engine.accept(&viewer, batch(vec![sale("Sale", "A-1").0]), &[]).await;
    assert!(matches!(accepted, Err(EngineError::Forbidden { needed: Role::Member, has: Role::Viewer })));
    assert!(host.engine.dead_letters(&viewer, &DeadLetterQuery::default()).await.is_err());
    assert!(host.engine.repair(&member, Vec::new(), RepairAction::Discard, None).await.is_err());
    assert!(host.engine.put_destination(&member, "x", host.destination.spec.clone(), None).await.is_err());
    assert!(host.engine.check_destination(&member, "shop").await.is_err());
    assert!(host.engine.remove_destination(&member, "shop", true).await.is_err());
    assert!(host.engine.conversions(&viewer, &ConversionQuery::default()).await.is_ok());
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_findings_with_a_way_out_and_release_nothing() {
    for (credentials, code) in [(None, "CREDENTIALS_MISSING"), (Some("{}"), "CREDENTIALS_UNUSABLE")] {
        let host = host(credentials).await;
        let (findings, released) = host.engine.check_destination(&host.owner, "shop").await.unwrap();
        assert_eq!((findings[0].code.as_str(), findings[0].blocking, released), (code, true, 0));
        assert!(!findings[0].hint.is_empty());
    }
    let host = host(None).await;
    let named = DestinationSpec { credentials_ref: Some("agency".to_owned()), ..host.destination.spec.clone() };
    host.engine.put_destination(&host.owner, "shop", named, None).await.unwrap();
    let (findings, _) = host.engine.check_destination(&host.owner, "shop").await.unwrap();
    assert!(findings[0].reason.contains("`agency`"), "{findings:?}");
}

#[tokio::test]
async fn a_destination_that_is_not_there_names_those_that_are() {
    let host = host(None).await;
    let missing = host.engine.destination(&host.owner, "till").await.map(|_| ()).unwrap_err();
    assert_eq!(missing.to_string(), "there is no destination `till`; there are: shop");
    assert_eq!(host.engine.remove_destination(&host.owner, "shop", false).await.unwrap(), 0);
    let none = host.engine.destination(&host.owner, "shop").await.map(|_| ()).unwrap_err();
    assert_eq!(none.to_string(), "there is no destination `shop`; none is configured yet");
}
