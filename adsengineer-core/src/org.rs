//! Who acts: organizations (tenants), roles, and the caller of an operation.
//!
//! An [`OrgId`] that exists is valid, so nothing inside ever checks it again.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::token::Claims;

/// The name of an organization (tenant): 1 to 64 of `a-z 0-9 - _ .`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrgId(Arc<str>);

/// Why a text is not the name of an organization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an organization name: use 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit")]
pub struct InvalidOrgId(String);

impl Default for OrgId {
    /// The organization of whoever has just one.
    fn default() -> Self {
        Self("default".into())
    }
}

impl OrgId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgId {
    type Err = InvalidOrgId;

    fn from_str(text: &str) -> Result<Self, InvalidOrgId> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let only_allowed = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        if starts_well && only_allowed && text.len() <= 64 {
            Ok(Self(text.into()))
        } else {
            Err(InvalidOrgId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for OrgId {
    type Error = InvalidOrgId;

    fn try_from(text: String) -> Result<Self, InvalidOrgId> {
        text.parse()
    }
}

impl From<OrgId> for String {
    fn from(org: OrgId) -> Self {
        org.0.as_ref().into()
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller may do, weakest first; each role includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Sends leads and conversions.
    Member,
    /// Configures destinations, repairs dead letters.
    Admin,
    /// Mints tokens; instance-wide things in the operator's organization.
    Owner,
}

/// Why a text is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a role: use owner, admin, member or viewer, in lower case")]
pub struct InvalidRole;

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    /// The name as text, as in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Somebody whose identity has been established, acting for one organization.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    org: OrgId,
    role: Role,
    subject: Arc<str>,
    token_id: Option<Arc<str>>,
    expires_s: Option<i64>,
}

impl Caller {
    /// A caller that the host program vouches for: the local CLI, or a service with its own authentication.
    pub fn trusted(org: OrgId, role: Role) -> Self {
        Self { org, role, subject: "local".into(), token_id: None, expires_s: None }
    }

    /// The caller whom a verified token names.
    pub fn with_token(claims: &Claims) -> Self {
        Self {
            org: claims.org.clone(),
            role: claims.role,
            subject: claims.sub.clone(),
            token_id: Some(claims.jti.clone()),
            expires_s: Some(claims.exp),
        }
    }

    /// The organization it acts for.
    pub fn org(&self) -> &OrgId {
        &self.org
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who it is, for the audit log; never an e-mail address.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The `jti` of the token it came with, by which the token can be revoked.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// When that token ends, in Unix seconds.
    pub fn expires_s(&self) -> Option<i64> {
        self.expires_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_start_with_a_letter_or_digit() {
        for good in ["default", "acme-2", "a", "0x.y_z"] {
            assert_eq!(good.parse::<OrgId>().map(|o| o.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "Acme", "-a", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<OrgId>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn names_are_text_in_json_and_bad_ones_say_what_is_allowed() {
        let org: OrgId = serde_json::from_str("\"acme\"").unwrap();
        assert_eq!((org.as_str(), serde_json::to_string(&org).unwrap().as_str()), ("acme", "\"acme\""));
        assert!(serde_json::from_str::<OrgId>("\"Acme\"").unwrap_err().to_string().contains("use 1 to 64"));
        assert_eq!(OrgId::default().as_str(), "default");
    }

    #[test]
    fn a_trusted_caller_is_who_the_host_says() {
        let caller = Caller::trusted(OrgId::default(), Role::Member);
        assert_eq!((caller.org().as_str(), caller.role(), caller.subject()), ("default", Role::Member, "local"));
        assert_eq!(caller.token_id(), None);
    }

    #[test]
    fn roles_are_ordered_from_weakest_to_strongest() {
        assert!(Role::Viewer < Role::Member && Role::Member < Role::Admin && Role::Admin < Role::Owner);
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn roles_have_one_name_in_text_and_json() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        for bad in ["", "Owner", "ADMIN", " member", "root"] {
            assert_eq!(bad.parse::<Role>(), Err(InvalidRole), "{bad:?}");
        }
    }
}
