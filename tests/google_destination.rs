//! The Google destination against servers that answer as Google does, and against everything else that a network can do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use adsengineer_core::{
    click_id::{ClickId, ClickIdKind},
    clock::Clock,
    consent::{AdConsent, ConsentState},
    destination::{
        Answer, Destination, DestinationKind, DestinationSpec, Event, Polled, Rendered, Verdict,
        google::{GoogleDestination, GoogleSettings},
        oauth::{Credentials, SCOPE, login},
    },
    id::{DeliveryId, UploadId},
    identity::Identifiers,
    outcome::{HoldScope, Outcome},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string_contains, header, method, path, query_param},
};

const PRIVATE_KEY: &str = include_str!("vectors/service_account_test_key.pem");

struct TestClock(Mutex<Timestamp>);

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-11-20T12:00:00Z".parse().unwrap())))
    }

    fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn user() -> Credentials {
    Credentials::from_json(r#"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#).unwrap()
}

fn spec() -> DestinationSpec {
    DestinationSpec {
        kind: DestinationKind::Google,
        customer_id: "123-456-7890".parse().unwrap(),
        login_customer_id: None,
        actions: BTreeMap::from([("Sale".to_owned(), "42".to_owned())]),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    }
}

/// A destination whose API and token endpoint are at `api` and `tokens`.
fn destination(api: &str, tokens: &str, timeout: Duration) -> (GoogleDestination, Arc<TestClock>) {
    let clock = TestClock::new();
    let settings = GoogleSettings { data_manager_url: api.to_owned(), token_url: format!("{tokens}/token"), timeout };
    (GoogleDestination::new(&spec(), user(), &settings, clock.clone()).unwrap(), clock)
}

/// Google as it should be, but for `events:ingest`.
async fn google(ingest: ResponseTemplate) -> (MockServer, GoogleDestination) {
    let server = MockServer::start().await;
    mount_token(&server, "tok").await;
    Mock::given(method("POST")).and(path("/v1/events:ingest")).respond_with(ingest).mount(&server).await;
    let (destination, _) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    (server, destination)
}

async fn mount_token(server: &MockServer, token: &str) {
    let answer = json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"});
    Mock::given(method("POST")).and(path("/token")).respond_with(ResponseTemplate::new(200).set_body_json(answer)).mount(server).await;
}

fn event(id: &str) -> Event {
    Event {
        delivery: DeliveryId(1),
        permit: AdConsent { ad_user_data: Some(ConsentState::Granted), ad_personalization: None }.permit().unwrap(),
        transaction_id: id.into(),
        occurred_at: 1_795_000_000,
        value: None,
        click_id: Some(ClickId::new(ClickIdKind::Gclid, "Cj0x").unwrap()),
        identifiers: Identifiers::default(),
    }
}

fn rendered(destination: &GoogleDestination) -> Rendered {
    destination.render("42", &[event("A-1"), event("A-2")], false)
}

async fn send(destination: &GoogleDestination) -> Answer {
    destination.send(&rendered(destination), 2).await
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"requestId": "t-1"}))
}

fn polled() -> Polled {
    Polled { upload: UploadId(1), request_id: "t-1 &x".into(), rows: 2 }
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Rejected(why) | Outcome::Unknown(why) | Outcome::Hold(_, why) | Outcome::Retry { why, .. } => &why.code,
        _ => "",
    }
}

#[tokio::test]
async fn a_request_goes_out_as_rendered_with_token_and_name() {
    let (server, destination) = google(taken()).await;
    let answer = send(&destination).await;
    assert_eq!((answer.default, answer.request_id.as_deref()), (Outcome::Pending, Some("t-1")));
    let requests = server.received_requests().await.unwrap();
    let ingest = requests.iter().find(|r| r.url.path() == "/v1/events:ingest").unwrap();
    assert_eq!(ingest.body, rendered(&destination).body);
    let header = |name: &str| ingest.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!([header("authorization"), header("content-type")], ["Bearer tok", "application/json"]);
    assert!(header("user-agent").starts_with("adsengineer/"));
    let form = String::from_utf8(requests.iter().find(|r| r.url.path() == "/token").unwrap().body.clone()).unwrap();
    assert_eq!(form, "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r");
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end_and_asked_for_once_by_many() {
    let server = MockServer::start().await;
    mount_token(&server, "tok").await;
    Mock::given(path("/v1/events:ingest")).respond_with(taken()).mount(&server).await;
    let (destination, clock) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    let tokens = async || server.received_requests().await.unwrap().iter().filter(|r| r.url.path() == "/token").count();
    let all = futures_util::future::join_all((0..8).map(|_| send(&destination))).await;
    assert!(all.iter().all(|answer| answer.default == Outcome::Pending));
    assert_eq!(tokens().await, 1);
    clock.advance(3599 - 226);
    send(&destination).await;
    assert_eq!(tokens().await, 1);
    clock.advance(1);
    send(&destination).await;
    assert_eq!(tokens().await, 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_same_bytes_sent_once_more() {
    let server = MockServer::start().await;
    let token = |token: &str| ResponseTemplate::new(200).set_body_json(json!({"access_token": token, "expires_in": 3599}));
    Mock::given(path("/token")).respond_with(token("old")).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/token")).respond_with(token("new")).mount(&server).await;
    Mock::given(header("authorization", "Bearer old")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    Mock::given(header("authorization", "Bearer new")).respond_with(taken()).mount(&server).await;
    let (destination, _) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    assert_eq!(send(&destination).await.default, Outcome::Pending);
    let requests = server.received_requests().await.unwrap();
    let bodies: Vec<_> = requests.iter().filter(|r| r.url.path() == "/v1/events:ingest").map(|r| r.body.clone()).collect();
    assert!(bodies.len() == 2 && bodies[0] == bodies[1]);
}

#[tokio::test]
async fn a_token_that_is_refused_twice_holds_the_credentials() {
    let (server, destination) =
        google(ResponseTemplate::new(401).set_body_json(json!({"error": {"code": 401, "status": "UNAUTHENTICATED"}}))).await;
    let answer = send(&destination).await;
    assert!(matches!(answer.default, Outcome::Hold(HoldScope::Credentials, _)), "{answer:?}");
    let calls = server.received_requests().await.unwrap().iter().filter(|r| r.url.path() == "/v1/events:ingest").count();
    assert_eq!(calls, 2, "and no third time");
}

#[tokio::test]
async fn a_dead_grant_holds_everything_and_sends_nothing() {
    let server = MockServer::start().await;
    let refusal = ResponseTemplate::new(400)
        .set_body_json(json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}));
    Mock::given(path("/token")).respond_with(refusal).mount(&server).await;
    let (destination, _) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    let answer = send(&destination).await;
    assert!(
        matches!(&answer.default, Outcome::Hold(HoldScope::Credentials, why) if why.detail.contains("expired or revoked")),
        "{answer:?}"
    );
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    assert!(matches!(destination.poll(&polled()).await, Verdict::NotYet(Some(why)) if why.code.as_ref() == "invalid_grant"));
    let findings = destination.check().await;
    assert_eq!((findings[0].code.as_str(), findings[0].blocking, findings.len()), ("invalid_grant", true, 1));
    assert!(findings[0].hint.contains("7 days") && findings[0].hint.contains("clock"));
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_lets_rows_wait_without_an_attempt() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "7");
    Mock::given(path("/token")).respond_with(busy).up_to_n_times(1).mount(&server).await;
    let odd = ResponseTemplate::new(200).set_body_string("<html>");
    Mock::given(path("/token")).respond_with(odd).mount(&server).await;
    let (destination, _) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    let answer = send(&destination).await;
    assert!(matches!(answer.default, Outcome::Retry { after: Some(wait), counts: false, .. } if wait.as_secs() == 7), "{answer:?}");
    assert!(!answer.healthy);
    assert!(matches!(send(&destination).await.default, Outcome::Retry { after: None, counts: false, .. }));
}

#[tokio::test]
async fn quota_pauses_until_the_date_in_the_header() {
    let later = "Fri, 20 Nov 2026 12:01:30 GMT";
    let (_server, destination) = google(ResponseTemplate::new(429).insert_header("retry-after", later)).await;
    assert_eq!(send(&destination).await.pause, Some(Duration::from_secs(90)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, destination) = google(ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/")).await;
    let answer = send(&destination).await;
    assert_eq!(code(&answer.default), "REDIRECTED");
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let (_server, destination) = google(ResponseTemplate::new(200).set_body_bytes(vec![b' '; (4 << 20) + 1])).await;
    assert_eq!(code(&send(&destination).await.default), "UNREADABLE_ANSWER");
}

#[tokio::test]
async fn a_verdict_is_asked_for_by_request_id() {
    let server = MockServer::start().await;
    mount_token(&server, "tok").await;
    let status = json!({"requestStatusPerDestination": [{"requestStatus": "SUCCESS"}]});
    Mock::given(method("GET"))
        .and(path("/v1/requestStatus:retrieve"))
        .and(query_param("requestId", "t-1 &x"))
        .respond_with(ResponseTemplate::new(200).set_body_json(status))
        .mount(&server)
        .await;
    let (destination, _) = destination(&server.uri(), &server.uri(), Duration::from_secs(60));
    assert!(matches!(destination.poll(&polled()).await, Verdict::Final(answer) if answer.default == Outcome::Accepted));
}

#[tokio::test]
async fn a_check_validates_every_action_and_a_refused_click_id_is_as_good_as_success() {
    let (server, destination) = google(taken()).await;
    assert_eq!(destination.check().await, []);
    let requests = server.received_requests().await.unwrap();
    let probe: Value = serde_json::from_slice(&requests.last().unwrap().body).unwrap();
    assert_eq!((&probe["validateOnly"], &probe["destinations"][0]["productDestinationId"]), (&json!(true), &json!("42")));

    let violation = |field: &str, reason: &str| {
        let details = json!([{"fieldViolations": [{"field": field, "reason": reason, "description": "d"}]}]);
        ResponseTemplate::new(400).set_body_json(json!({"error": {"status": "INVALID_ARGUMENT", "details": details}}))
    };
    let (_server, row) = google(violation("events.events[0].ad_identifiers.gclid", "INVALID_AD_IDENTIFIER_FOR_ACCOUNT")).await;
    assert_eq!(row.check().await, []);
    let (_server, action) = google(violation("destinations[0].product_destination_id", "INVALID_CONVERSION_ACTION_ID")).await;
    let findings = action.check().await;
    assert_eq!((findings[0].code.as_str(), findings[0].blocking), ("INVALID_CONVERSION_ACTION_ID", true));
    assert!(findings[0].reason.contains("`Sale`") && !findings[0].hint.is_empty());
}

#[tokio::test]
async fn a_check_says_when_there_is_nothing_to_validate_and_when_google_is_down() {
    let (server, _) = google(ResponseTemplate::new(503)).await;
    let settings =
        GoogleSettings { data_manager_url: server.uri(), token_url: format!("{}/token", server.uri()), timeout: Duration::from_secs(60) };
    let without = DestinationSpec { actions: BTreeMap::new(), ..spec() };
    for (spec, code) in [(without, "NO_ACTIONS"), (spec(), "PLATFORM_UNAVAILABLE")] {
        let findings = GoogleDestination::new(&spec, user(), &settings, TestClock::new()).unwrap().check().await;
        assert_eq!((findings[0].code.as_str(), findings[0].blocking), (code, false));
    }
}

#[tokio::test]
async fn a_service_account_signs_an_assertion_for_the_token_endpoint() {
    let server = MockServer::start().await;
    mount_token(&server, "tok").await;
    Mock::given(path("/v1/events:ingest")).respond_with(taken()).mount(&server).await;
    let json = json!({"type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key_id": "k1", "private_key": PRIVATE_KEY});
    let token_url = format!("{}/token", server.uri());
    let settings = GoogleSettings { data_manager_url: server.uri(), token_url: token_url.clone(), timeout: Duration::from_secs(60) };
    let credentials = Credentials::from_json(&json.to_string()).unwrap();
    let destination = GoogleDestination::new(&spec(), credentials, &settings, TestClock::new()).unwrap();
    assert_eq!(send(&destination).await.default, Outcome::Pending);
    let form = String::from_utf8(server.received_requests().await.unwrap()[0].body.clone()).unwrap();
    let assertion = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
    let part = |n: usize| -> Value {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(n).unwrap()).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"typ": "JWT", "alg": "RS256", "kid": "k1"}));
    let iat = 1_795_176_000;
    assert_eq!(part(1), json!({"iss": "a@p.iam.gserviceaccount.com", "scope": SCOPE, "aud": token_url, "iat": iat, "exp": iat + 3600}));
}

#[test]
fn a_key_that_is_none_and_an_address_over_the_network_in_plain_are_refused_at_once() {
    let broken = Credentials::from_json(r#"{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN"}"#).unwrap();
    let error = GoogleDestination::new(&spec(), broken, &GoogleSettings::default(), TestClock::new()).unwrap_err().to_string();
    assert!(error.contains("private key of the service account"), "{error}");
    for (api, tokens) in
        [("http://example.com", "https://oauth2.googleapis.com"), ("https://datamanager.googleapis.com", "http://example.com")]
    {
        let settings = GoogleSettings { data_manager_url: api.into(), token_url: tokens.into(), timeout: Duration::from_secs(1) };
        let error = GoogleDestination::new(&spec(), user(), &settings, TestClock::new()).unwrap_err().to_string();
        assert!(error.contains("use https"), "{error}");
    }
}

/// A server that does `misbehave` with every connection, once the request has been read or before.
async fn raw<F>(read: bool, timeout: Duration, misbehave: impl Fn(TcpStream) -> F + Send + 'static) -> (MockServer, GoogleDestination)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tokens = MockServer::start().await;
    mount_token(&tokens, "tok").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read {
                let mut seen = Vec::new();
                while !seen.ends_with(b"]}") && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
            }
            tokio::spawn(misbehave(stream));
        }
    });
    let (destination, _) = destination(&api, &tokens.uri(), timeout);
    (tokens, destination)
}

async fn answering(text: &'static str) -> Answer {
    let (_tokens, destination) = raw(true, Duration::from_secs(60), move |mut stream| async move {
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    send(&destination).await
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_moment_leaves_the_outcome_unknown() {
    for read in [false, true] {
        let (_tokens, destination) = raw(read, Duration::from_secs(60), |stream| async move {
            stream.set_zero_linger().unwrap();
            drop(stream);
        })
        .await;
        let answer = send(&destination).await;
        assert_eq!((code(&answer.default), answer.healthy), ("CONNECTION_LOST", false), "{answer:?}");
        assert!(matches!(answer.default, Outcome::Unknown(_)));
    }
}

#[tokio::test]
async fn silence_is_an_unknown_outcome() {
    let (_tokens, destination) = raw(true, Duration::from_secs(1), |stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let answer = send(&destination).await;
    assert!(matches!(&answer.default, Outcome::Unknown(why) if why.code.as_ref() == "TIMEOUT"), "{answer:?}");
}

#[tokio::test]
async fn half_an_answer_is_judged_by_its_status() {
    let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"requestId\":\"t-1\"}").await;
    assert!(matches!(&half.default, Outcome::Unknown(why) if why.code.as_ref() == "UNREADABLE_ANSWER"), "{half:?}");
    let failed = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100\r\n\r\n{\"err").await;
    assert!(matches!(failed.default, Outcome::Retry { counts: true, .. }), "{failed:?}");
    let garbage = answering("\u{1}\u{2}garbage\r\n\r\n").await;
    assert!(matches!(garbage.default, Outcome::Unknown(_)), "{garbage:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_took_nothing() {
    let tokens = MockServer::start().await;
    mount_token(&tokens, "tok").await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let (destination, _) = destination(&api, &tokens.uri(), Duration::from_secs(60));
    let answer = send(&destination).await;
    assert!(matches!(&answer.default, Outcome::Retry { counts: true, why, .. } if why.code.as_ref() == "CONNECTION_FAILED"), "{answer:?}");
    assert!(!answer.healthy);
    assert!(matches!(destination.poll(&polled()).await, Verdict::NotYet(Some(why)) if why.code.as_ref() == "STATUS_UNAVAILABLE"));
}

#[tokio::test]
async fn a_sign_in_ends_with_credentials_and_says_when_they_die() {
    let server = MockServer::start().await;
    let answer = |changes: Value| {
        let mut answer = json!({"access_token": "a", "expires_in": 3599, "scope": format!("openid {SCOPE}"), "refresh_token": "new"});
        answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        ResponseTemplate::new(200).set_body_json(answer)
    };
    let once =
        |template| Mock::given(body_string_contains("grant_type=authorization_code&code=4%2Fx")).respond_with(template).up_to_n_times(1);
    once(answer(json!({"refresh_token_expires_in": 604_799}))).mount(&server).await;
    once(answer(json!({"scope": "openid"}))).mount(&server).await;
    once(answer(json!({"refresh_token": ""}))).mount(&server).await;
    let sign_in = async || {
        let client = login::ClientSecrets::from_json(r#"{"installed":{"client_id":"c","client_secret":"s"}}"#).unwrap();
        let login = login::Login::start(client, "http://127.0.0.1:5000");
        let token_url = format!("{}/token", server.uri());
        login.exchange(&"4/x".to_owned().into(), &token_url, Duration::from_secs(60), &*TestClock::new()).await
    };
    let signed_in = sign_in().await.unwrap();
    assert_eq!(signed_in.expires_in.map(|d| d.as_secs()), Some(604_799));
    let Credentials::AuthorizedUser { client_id, refresh_token, .. } = signed_in.credentials else { panic!("not a user") };
    assert_eq!((client_id.as_str(), refresh_token.expose().as_str()), ("c", "new"));
    assert!(sign_in().await.unwrap_err().to_string().contains("access to the Data Manager API"));
    assert!(sign_in().await.unwrap_err().to_string().contains("refresh token"));
    assert!(sign_in().await.is_err(), "the endpoint refuses");
}
