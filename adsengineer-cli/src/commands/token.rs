//! `token mint|verify|revoke`.

use std::io::Read;

use adsengineer_core::{
    engine::new_token_id,
    org::{Caller, OrgId, Role},
    token::{Grant, KeyRing, MAX_TOKEN_BYTES, UnverifiedToken, mint},
};
use adsengineer_server::config::distance;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    context::Context,
    error::{CliError, Exit},
    output::Report,
};

/// Mint, check and revoke tokens for the HTTP API.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  adsengineer token mint --sub crm --org acme --role member --ttl 24h\n  adsengineer token mint --sub me --org acme --role admin | adsengineer token verify\n  adsengineer token revoke tok_…"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a token
    Mint {
        /// Who uses it; no e-mail address
        #[arg(long)]
        sub: String,
        /// What it may do: viewer, member, admin or owner
        #[arg(long)]
        role: Role,
        /// How long it is valid
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = adsengineer_server::config::parse_duration)]
        ttl: std::time::Duration,
    },
    /// Say whether a token is good; it comes on standard input
    Verify,
    /// Make a token invalid
    Revoke {
        /// The token's id, as `token verify` shows it
        jti: String,
    },
}

/// Runs the command.
pub async fn run(args: &Args, context: &Context) -> Result<Report, CliError> {
    match &args.verb {
        Verb::Mint { sub, role, ttl } => print(sub, *role, *ttl, context).await,
        Verb::Verify => verify(context).await,
        Verb::Revoke { jti } => revoke(jti, context).await,
    }
}

fn ring(context: &Context) -> Result<KeyRing, CliError> {
    Ok(context.settings.key_ring(context.made_jwt_secret(&context.database()?)?)?)
}

async fn print(sub: &str, role: Role, ttl: std::time::Duration, context: &Context) -> Result<Report, CliError> {
    let (ring, org) = (ring(context)?, context.org()?);
    let now_s = context.clock().now_ms().div_euclid(1000);
    let ttl_s = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let jti = new_token_id();
    let grant = Grant { sub: sub.to_owned(), org: org.clone(), role, ttl_s };
    let token = mint(&ring, &grant, &jti, now_s).map_err(|e| CliError::usage(e.to_string()))?;
    if context.database()?.may_exist() {
        let engine = context.engine().await?;
        let caller = Caller::trusted(org.clone(), Role::Owner);
        warn_unknown(&org, &engine.store().organizations().await?, context);
        engine.note_minted(&caller, &jti).await?;
    } else {
        warn_unknown(&org, &[], context);
    }
    let exp = Timestamp::from_second(now_s.saturating_add(ttl_s)).unwrap_or(Timestamp::MAX);
    let json = json!({"token": token.expose(), "jti": jti, "sub": sub, "org_id": org, "role": role, "exp": exp});
    Ok(Report::ok(token.expose().clone(), json))
}

/// A typing error in the name of an organization would make an empty one.
fn warn_unknown(org: &OrgId, known: &[OrgId], context: &Context) {
    if known.contains(org) {
        return;
    }
    let nearest = known.iter().min_by_key(|k| distance(k.as_str(), org.as_str())).map(|k| format!("; the nearest that has is `{k}`"));
    context.out.warn("UNKNOWN_ORGANIZATION", &format!("the organization `{org}` has no data yet{}", nearest.unwrap_or_default()));
}

async fn verify(context: &Context) -> Result<Report, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_TOKEN_BYTES as u64 * 2)
        .read_to_string(&mut text)
        .map_err(|_| refused("TOKEN_MALFORMED", "it is not text"))?;
    let now_s = context.clock().now_ms().div_euclid(1000);
    let ring = ring(context)?;
    let claims = UnverifiedToken::parse(text.trim()).and_then(|token| token.verify(&ring, now_s));
    let claims = claims.map_err(|e| refused(e.code(), &e.to_string()))?;
    if context.database()?.may_exist() {
        let engine = context.engine().await?;
        engine.read_revoked().await?;
        if engine.is_revoked(&claims.org, &claims.jti) {
            return Err(refused("TOKEN_REVOKED", "it was revoked"));
        }
    }
    let exp = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
    let text = format!("good: {} of {} as {} until {exp}, id {}", claims.sub, claims.org, claims.role, claims.jti);
    Ok(Report::ok(
        text,
        json!({"valid": true, "sub": &*claims.sub, "org_id": claims.org, "role": claims.role, "exp": exp, "jti": &*claims.jti}),
    ))
}

fn refused(code: &'static str, why: &str) -> CliError {
    CliError::new(Exit::Auth, code, format!("the token is not good: {why}"))
}

async fn revoke(jti: &str, context: &Context) -> Result<Report, CliError> {
    if jti.is_empty() || jti.len() > 200 || jti.chars().any(char::is_control) {
        return Err(CliError::usage("a token's id has 1 to 200 characters").hint("`adsengineer token verify` shows it"));
    }
    context.engine().await?.revoke_token(&context.caller()?, jti).await?;
    Ok(Report::ok(format!("{jti} is not valid any more for {}", context.org()?), json!({"revoked": jti})))
}
