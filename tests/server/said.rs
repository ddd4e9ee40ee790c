//! What a server answered.

use reqwest::header::HeaderMap;
use serde_json::Value;

pub struct Said {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Said {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// The code of a problem, after its shape was checked.
    #[track_caller]
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        let code = body["code"].as_str().unwrap().to_owned();
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(body["type"], format!("urn:adsengineer:problem:{}", code.to_lowercase()));
        assert!(["title", "detail"].iter().all(|name| body[name].as_str().is_some_and(|text| !text.is_empty())), "{body}");
        assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{code}");
        if let Some(seconds) = body["retry_after"].as_u64() {
            assert_eq!(self.header("retry-after"), Some(seconds.to_string().as_str()));
        }
        code
    }

    /// The pointers of a refused request, with their codes.
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        self.faults_under(422)
    }

    /// The same under another status.
    #[track_caller]
    pub fn faults_under(&self, status: u16) -> Vec<(String, String)> {
        self.refused(status);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let body = self.json();
        body["errors"].as_array().map(|all| all.iter().map(|e| (text(&e["pointer"]), text(&e["code"]))).collect()).unwrap_or_default()
    }
}
