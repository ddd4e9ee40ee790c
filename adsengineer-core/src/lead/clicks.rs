//! The clicks and campaigns that led to a lead.
//!
//! Last click wins per kind; a click counts for 90 days from the moment it was first seen, however often it is seen again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How long a click counts, in days from its first sight.
pub const CLICK_DAYS: i64 = 90;

macro_rules! clicks {
    ($($(#[$doc:meta])* $field:ident)*) => {
        /// The click ids of a lead, one of each kind.
        #[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(default)]
        pub struct Clicks {
            $(
                $(#[$doc])*
                #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<Box<str>>,
            )*
        }

        /// When each click was first seen, in Unix seconds.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct ClickSeen {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<i64>,)*
        }

        impl Clicks {
            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())*
            }

            /// All of them as first seen at `now_s`.
            pub(super) fn seen_at(&self, now_s: i64) -> ClickSeen {
                ClickSeen { $($field: self.$field.as_ref().map(|_| now_s),)* }
            }

            /// Those first seen at `since_s` or later.
            pub(super) fn seen_since(&self, seen: &ClickSeen, since_s: i64) -> Self {
                Self { $($field: self.$field.clone().filter(|_| seen.$field.is_none_or(|at| at >= since_s)),)* }
            }

            /// Takes newer clicks; one that is known, also from the first touch, keeps the time of its first sight.
            pub(super) fn update(&mut self, seen: &mut ClickSeen, newer: Self, newer_seen: &ClickSeen, first: Option<&Touch>) {
                $(if newer.$field.is_some() && newer.$field != self.$field {
                    let again = first.filter(|first| first.clicks.$field == newer.$field).map(|first| first.at);
                    seen.$field = again.or(newer_seen.$field);
                    self.$field = newer.$field;
                })*
            }
        }

        impl ClickSeen {
            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())*
            }

            /// The first of all.
            pub(super) fn earliest(&self) -> Option<i64> {
                [$(self.$field),*].into_iter().flatten().min()
            }
        }
    };
}

clicks! {
    /// Google click id.
    gclid
    /// Google click id of an iOS app click.
    gbraid
    /// Google click id of an iOS web click.
    wbraid
    /// Meta click id as in the address.
    fbclid
    /// Meta click id as in the cookie `_fbc`.
    fbc
    /// Meta browser id as in the cookie `_fbp`.
    fbp
    /// Microsoft click id.
    msclkid
    /// TikTok click id.
    ttclid
}

impl fmt::Debug for Clicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Clicks" } else { "Clicks(***)" })
    }
}

/// Campaign parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Utm {
    /// Where the visitor came from.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
    /// By which medium.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<Box<str>>,
    /// By which campaign.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Box<str>>,
    /// By which ad.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<str>>,
    /// By which keyword.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<Box<str>>,
}

impl Utm {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a person came from, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The clicks.
    #[serde(default, skip_serializing_if = "Clicks::is_empty")]
    pub clicks: Clicks,
    /// The campaign parameters.
    #[serde(default, skip_serializing_if = "Utm::is_empty")]
    pub utm: Utm,
    /// The page that the click led to.
    #[serde(default, rename = "page", skip_serializing_if = "Option::is_none")]
    pub landing_page: Option<Box<str>>,
    /// When it was captured, in Unix seconds.
    pub at: i64,
}

impl fmt::Debug for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Touch").field("at", &self.at).finish_non_exhaustive()
    }
}
