//! Where an upload goes: a stored destination, or one made from flags and environment.

use std::{collections::BTreeMap, sync::Arc};

use adsengineer_core::{
    destination::{CustomerId, Destination, DestinationSpec, google::GoogleDestination, oauth::Credentials},
    engine::Engine,
    id::DestinationId,
    outcome::Outcome,
    secret::Secret,
    store::{Health, StoredDestination},
    worker::Connector,
};

use super::Args;
use crate::{
    commands::destination::{credentials, kind},
    context::Context,
    error::{CliError, Exit},
};

/// What the flags say of the destination.
pub struct Given<'a> {
    /// The flags.
    pub args: &'a Args,
    /// Credentials that need not be looked for.
    pub credentials: Option<Secret<String>>,
}

impl<'a> Given<'a> {
    /// What `args` say.
    pub fn of(args: &'a Args) -> Self {
        Self { args, credentials: None }
    }
}

/// Where an upload goes.
pub struct Target {
    /// The destination, its actions extended as the flags say.
    pub destination: StoredDestination,
    /// The action id for names that the destination does not know.
    fallback: Option<String>,
}

impl Target {
    /// A target without a fallback.
    pub fn of(destination: StoredDestination) -> Self {
        Self { destination, fallback: None }
    }

    /// Whether rows of `action` can go there; a bare `--action ID` takes every name.
    pub fn knows(&mut self, action: &Arc<str>) -> bool {
        if self.destination.spec.action_id(action).is_some() {
            return true;
        }
        match &self.fallback {
            Some(id) => {
                self.destination.spec.actions.insert(action.to_string(), id.clone());
                true
            }
            None => false,
        }
    }
}

/// Finds or makes the destination; a dry run makes none.
pub async fn resolve(given: &Given<'_>, context: &Context, engine: Option<&Engine>, dry_run: bool) -> Result<Target, CliError> {
    let args = given.args;
    let fallback = args.default_action().map(str::to_owned);
    let stored = match engine {
        Some(engine) => engine.destinations(&context.caller()?).await?,
        None if context.database()?.may_exist() => context.engine().await?.destinations(&context.caller()?).await?,
        None => Vec::new(),
    };
    let (name, known) = match stored.iter().find(|d| d.name.as_ref() == args.to) {
        Some(known) => (args.to.clone(), Some(known)),
        None => by_kind(args, context, &stored)?,
    };
    let configured = |key: &str| context.settings.text(key).and_then(|text| text.parse::<CustomerId>().ok());
    let fresh = |customer_id| DestinationSpec {
        kind: adsengineer_core::destination::DestinationKind::Google,
        customer_id,
        login_customer_id: configured("google_login_customer_id"),
        actions: BTreeMap::new(),
        order_id_prefix: None,
        credentials_ref: None,
        enabled: true,
    };
    let mut spec = match known {
        Some(known) => known.spec.clone(),
        None => fresh(customer_id(args, context)?),
    };
    if let Some(wanted) = args.customer_id.filter(|wanted| *wanted != spec.customer_id) {
        return Err(CliError::new(
            Exit::Conflict,
            "OTHER_ACCOUNT",
            format!("destination `{name}` belongs to account {}, not {wanted}", spec.customer_id),
        )
        .hint("leave --customer-id out, or use --to google for the other account"));
    }
    spec.login_customer_id = args.login_customer_id.or(spec.login_customer_id);
    spec.order_id_prefix = args.order_id_prefix.clone().or(spec.order_id_prefix);
    spec.actions.extend(args.action.iter().cloned());
    let unstored = |spec| StoredDestination {
        id: known.map_or(DestinationId(0), |k| k.id),
        org: known.map_or_else(|| context.org().unwrap_or_default(), |k| k.org.clone()),
        name: name.as_str().into(),
        spec,
        credentials: known.and_then(|k| k.credentials.clone()),
        health: Health::default(),
    };
    let (false, Some(engine)) = (dry_run, engine) else { return Ok(Target { destination: unstored(spec), fallback }) };
    let secret = match (&given.credentials, known) {
        (Some(secret), _) => Some(secret.clone()),
        // A destination that was named keeps the credentials it has; one made from the environment follows the environment.
        (None, Some(known)) if args.to == known.name.as_ref() && known.credentials.is_some() => None,
        (None, _) => credentials::configured(context)?,
    };
    if secret.is_none() && known.is_none_or(|k| k.credentials.is_none() && k.spec.credentials_ref.is_none()) {
        return Err(missing(&name, spec.customer_id));
    }
    let destination = engine.put_destination(&context.caller()?, &name, spec, secret.as_ref()).await?;
    if !destination.spec.enabled {
        return Err(CliError::new(Exit::Conflict, "DISABLED", format!("destination `{name}` is disabled"))
            .hint(format!("`adsengineer destination enable {name}`")));
    }
    Ok(Target { destination, fallback })
}

fn missing(name: &str, customer_id: CustomerId) -> CliError {
    CliError::new(Exit::Auth, "CREDENTIALS_MISSING", format!("there are no credentials for `{name}`; nothing was sent"))
        .hint(format!("set ADSENGINEER_GOOGLE_CREDENTIALS_FILE, or `adsengineer destination add {name} --customer-id {customer_id}` and `adsengineer destination login {name} --client-file F`"))
}

/// The connection for a request that stores nothing, here or there.
pub async fn door(
    given: &Given<'_>,
    context: &Context,
    engine: Option<&Engine>,
    target: &Target,
) -> Result<Arc<dyn Destination>, CliError> {
    let destination = &target.destination;
    if let Some(engine) = engine {
        return connected(engine.connector().connect(destination).await);
    }
    let named = given.args.to == destination.name.as_ref() && destination.credentials.is_some();
    match (named, credentials::configured(context)?) {
        (false, Some(secret)) => {
            let unusable = |e: &dyn std::fmt::Display| CliError::new(Exit::Config, "CREDENTIALS", e.to_string());
            let secret = Credentials::from_json(secret.expose()).map_err(|e| unusable(&e))?;
            let door = GoogleDestination::new(&destination.spec, secret, &context.google()?, context.clock());
            Ok(Arc::new(door.map_err(|e| unusable(&e))?))
        }
        _ if destination.credentials.is_some() || destination.spec.credentials_ref.is_some() => {
            connected(context.engine().await?.connector().connect(destination).await)
        }
        _ => Err(missing(&destination.name, destination.spec.customer_id)),
    }
}

fn connected(door: Result<Arc<dyn Destination>, Outcome>) -> Result<Arc<dyn Destination>, CliError> {
    door.map_err(|outcome| match outcome {
        Outcome::Hold(_, why) => CliError::new(Exit::Auth, "CREDENTIALS", why.detail.to_string()),
        _ => CliError::new(Exit::Unavailable, "UNREACHABLE", "the platform cannot be reached now"),
    })
}

/// The destination of a kind: the one for the account, or the only one there is.
fn by_kind<'a>(
    args: &Args,
    context: &Context,
    stored: &'a [StoredDestination],
) -> Result<(String, Option<&'a StoredDestination>), CliError> {
    let kind = kind(&args.to).map_err(|_| {
        let names: Vec<_> = stored.iter().map(|d| d.name.to_string()).collect();
        let known = if names.is_empty() { "none is stored yet".to_owned() } else { format!("stored are {}", names.join(", ")) };
        CliError::new(Exit::NotFound, "NO_DESTINATION", format!("there is no destination `{}`; {known}", args.to))
            .hint("use --to google, or `adsengineer destination add`")
    })?;
    let wanted = args.customer_id.or_else(|| context.settings.text("google_customer_id").and_then(|text| text.parse().ok()));
    let of_kind: Vec<_> = stored.iter().filter(|d| d.spec.kind == kind && wanted.is_none_or(|id| d.spec.customer_id == id)).collect();
    match (of_kind.as_slice(), wanted) {
        ([only], _) => Ok((only.name.to_string(), Some(*only))),
        ([], Some(id)) => Ok((format!("{kind}-{}", id.digits()), None)),
        ([], None) => Ok((kind.to_string(), None)),
        (several, _) => {
            let names: Vec<_> = several.iter().map(|d| d.name.to_string()).collect();
            Err(CliError::usage(format!("several destinations fit: {}", names.join(", "))).hint("name one with --to"))
        }
    }
}

fn customer_id(args: &Args, context: &Context) -> Result<CustomerId, CliError> {
    let configured = context.settings.text("google_customer_id").and_then(|text| text.parse().ok());
    let sandbox = || "1234567890".parse().ok().filter(|_| args.sandbox);
    args.customer_id.or(configured).or_else(sandbox).ok_or_else(|| {
        CliError::new(Exit::Usage, "NO_ACCOUNT", "nothing says which Google Ads account")
            .hint("give --customer-id 123-456-7890, or set ADSENGINEER_GOOGLE_CUSTOMER_ID")
    })
}
