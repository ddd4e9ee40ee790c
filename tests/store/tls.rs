//! TLS to a server on a real one: what each `sslmode` lets pass.

use std::path::{Path, PathBuf};

use adsengineer_core::store::{
    Migrate, Reads,
    postgres::{Options, PostgresStore},
};

use crate::fixture::{audit_key, server};

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

struct Stage {
    _server: server::Server,
    port: u16,
}

/// A server whose certificate is for `127.0.0.1` and signed by itself.
fn stage() -> Stage {
    let (server, port) = server::Server::start_with_tls(&vector("self_signed_certificate.pem"), &vector("self_signed_key.pem"));
    Stage { _server: server, port }
}

impl Stage {
    /// Why nothing can be written and read; empty where it can.
    async fn refusal(&self, host: &str, query: &str) -> String {
        let url = format!("postgres://postgres@{host}:{}/postgres?{query}", self.port);
        let options = Options { migrate: Migrate::Auto, ..Options::new(audit_key(), 1) };
        match PostgresStore::open(&url, options).await {
            Ok(store) => store.organizations().await.err().map(|e| e.to_string()).unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    /// How many connections of stores are in TLS, and how many are not.
    async fn connections(&self) -> (i64, i64) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?application_name=looking", self.port);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'adsengineer'";
        let row = client.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

#[tokio::test]
async fn each_sslmode_lets_pass_what_it_says() {
    let stage = stage();
    let own = format!("sslrootcert={}", vector("self_signed_certificate.pem").display());
    let other = format!("sslrootcert={}", vector("other_self_signed_certificate.pem").display());
    for (host, query) in [
        ("127.0.0.1", "sslmode=disable".to_owned()),
        ("127.0.0.1", String::new()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&{own}")),
        ("localhost", format!("sslmode=verify-ca&{own}")),
        ("127.0.0.1", format!("sslmode=verify-full&{own}")),
    ] {
        assert_eq!(stage.refusal(host, &query).await, "", "{host} {query}");
    }
    for (host, query) in [
        ("localhost", format!("sslmode=verify-full&{own}")),
        ("127.0.0.1", format!("sslmode=verify-full&{other}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{other}")),
        ("127.0.0.1", format!("sslmode=require&{other}")),
        ("127.0.0.1", "sslmode=verify-full".to_owned()),
    ] {
        let refusal = stage.refusal(host, &query).await;
        assert!(refusal.contains("certificate"), "{host} {query}: {refusal}");
    }
}

#[tokio::test]
async fn what_goes_over_the_wire_is_encrypted_unless_that_is_forbidden() {
    let stage = stage();
    for (query, expected) in [("sslmode=disable", false), ("sslmode=prefer", true), ("sslmode=require", true)] {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?{query}", stage.port);
        let options = Options { migrate: Migrate::Auto, ..Options::new(audit_key(), 1) };
        let store = PostgresStore::open(&url, options).await.unwrap();
        store.organizations().await.unwrap();
        let (in_tls, plain) = stage.connections().await;
        assert!(if expected { in_tls > 0 } else { plain > 0 }, "{query}: {in_tls} in TLS, {plain} not");
        drop(store);
        // The next one counts its own connections only.
        while stage.connections().await != (0, 0) {
            tokio::task::yield_now().await;
        }
    }
}
