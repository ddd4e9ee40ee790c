//! Every code that Google can answer an upload with, what it means for the row, and what a human does about it.
//!
//! One table ([`TABLE`]); nothing else in the program looks at a code's text. Names: `ErrorReason` and `ProcessingErrorReason` of the
//! Data Manager API v1 (google-ads-datamanager 0.9.4 and its release notes), `google.api.ErrorReason`, RFC 6749 §5.2, and our own.

use std::time::Duration;

use crate::outcome::{HoldScope, Outcome, Why};

/// What a code means for the rows that it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Recorded already.
    Done,
    /// May work the next time; counts as an attempt.
    Transient,
    /// Too much at once: the whole destination pauses, no attempt is lost.
    Quota,
    /// Too early; waits this many hours, and is dead after this many attempts.
    Later {
        /// Hours to wait.
        hours: u64,
        /// Attempts in all.
        tries: u16,
    },
    /// The row is at fault, for good.
    Row,
    /// Somebody must put something right first.
    Hold(HoldScope),
    /// The platform does not say what is wrong: a few attempts, then a human looks.
    Unclear,
    /// About an earlier request whose verdict can no longer be had.
    Gone,
}

impl Class {
    /// The outcome of a row with this class.
    pub fn outcome(self, why: Why) -> Outcome {
        match self {
            Self::Done => Outcome::Duplicate(why),
            Self::Transient => Outcome::Retry { after: None, counts: true, why },
            Self::Quota => Outcome::Retry { after: None, counts: false, why },
            Self::Later { hours, tries } => Outcome::Later { after: Duration::from_secs(hours * 3600), tries, why },
            Self::Row => Outcome::Rejected(why),
            Self::Hold(scope) => Outcome::Hold(scope, why),
            Self::Unclear => Outcome::Unclear(why),
            Self::Gone => Outcome::Hold(HoldScope::Row, why),
        }
    }
}

/// Codes with one meaning and one remedy.
#[derive(Debug)]
pub struct Group {
    /// What they mean for a row.
    pub class: Class,
    /// What a human does.
    pub next: &'static str,
    /// The codes, without `PROCESSING_ERROR_REASON_`, separated by white space.
    pub codes: &'static str,
}

const fn group(class: Class, next: &'static str, codes: &'static str) -> Group {
    Group { class, next, codes }
}

const CREDENTIALS: Class = Class::Hold(HoldScope::Credentials);
const DESTINATION: Class = Class::Hold(HoldScope::Destination);
const ACTION: Class = Class::Hold(HoldScope::Action);
const REVIEW: Class = Class::Hold(HoldScope::Row);

/// What to do about a code that nobody here knows.
const UNKNOWN_CODE: &str = "the code is newer than this program: read the platform's text beside it and put the cause right";

/// All codes by class and remedy.
pub const TABLE: &[Group] = &[
    group(Class::Done, "nothing: Google has this conversion already", "DUPLICATE_TRANSACTION_ID DUPLICATE_GCLID"),
    group(
        Class::Transient,
        "nothing: it is sent again by itself; if it lasts, look at Google's status page",
        "INTERNAL_ERROR DEADLINE_EXCEEDED UNAVAILABLE ABORTED CANCELLED INTERNAL PLATFORM_UNAVAILABLE",
    ),
    group(
        Class::Transient,
        "nothing: Google did not answer with a token and is asked again by itself; check the machine's network if it lasts",
        "internal_failure server_error temporarily_unavailable TOKEN_UNAVAILABLE",
    ),
    group(
        Class::Quota,
        "nothing: sending goes on when Google's pause is over; ask for more quota of the Data Manager API in the Cloud project if it happens daily",
        "RESOURCE_EXHAUSTED RATE_LIMIT_EXCEEDED RESOURCE_QUOTA_EXCEEDED",
    ),
    group(
        Class::Later { hours: 6, tries: 4 },
        "nothing: Google wants the click to be some hours old, and the row is sent again by itself",
        "TOO_RECENT_CLICK",
    ),
    group(
        Class::Later { hours: 6, tries: 8 },
        "nothing: the conversion action is only just created and takes conversions some hours later; rows are sent again by themselves",
        "CONVERSION_ACTION_TOO_RECENTLY_CREATED",
    ),
    group(
        Class::Later { hours: 24, tries: 2 },
        "check that the click came from this Google Ads account; a click that Google still does not know after a day cannot be attributed",
        "CLICK_NOT_FOUND",
    ),
    group(
        Class::Unclear,
        "read the platform's text; if the code comes back, report it to Google with the request id",
        "ERROR_REASON_UNSPECIFIED UNSPECIFIED UNKNOWN",
    ),
    group(
        Class::Gone,
        "nothing: Google keeps a request's result for about 50 days and has none for this request",
        "INVALID_REQUEST_ID REQUEST_TOO_OLD",
    ),
    group(
        CREDENTIALS,
        "sign in again with `adsengineer destination login`, or store new credentials with `destination set-credentials`; a consent screen in testing mode \
         ends every refresh token after 7 days, and a wrong machine clock looks the same",
        "invalid_grant UNAUTHENTICATED ACCESS_TOKEN_EXPIRED ACCESS_TOKEN_TYPE_UNSUPPORTED CREDENTIALS_MISSING ACCOUNT_STATE_INVALID \
         USER_BLOCKED_BY_ADMIN",
    ),
    group(
        CREDENTIALS,
        "check client id and client secret: they must belong to one OAuth client that still exists; store them again with `destination set-credentials`",
        "invalid_client unauthorized_client invalid_request unsupported_grant_type deleted_client org_internal admin_policy_enforced \
         access_denied TOKEN_REFUSED",
    ),
    group(
        CREDENTIALS,
        "sign in again with `adsengineer destination login`, which asks for the scope https://www.googleapis.com/auth/datamanager; a grant made for the \
         Google Ads API alone does not include it",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT invalid_scope",
    ),
    group(CREDENTIALS, "store a complete, unencrypted RSA private key of the service account", "SERVICE_ACCOUNT_KEY_INVALID"),
    group(
        DESTINATION,
        "enable the Data Manager API in the Cloud project that owns the OAuth client or service account, wait some minutes, then release the rows",
        "SERVICE_DISABLED",
    ),
    group(
        DESTINATION,
        "put the Cloud project in order: billing, suspension, and the role Service Usage Consumer for a service account",
        "BILLING_DISABLED CONSUMER_SUSPENDED CONSUMER_INVALID USER_PROJECT_DENIED RESOURCE_PROJECT_INVALID SECURITY_POLICY_VIOLATED \
         ORG_RESTRICTION_VIOLATION ORG_RESTRICTION_HEADER_INVALID LOCATION_ORG_POLICY_VIOLATED LOCATION_POLICY_VIOLATED PROJECT_DISABLED",
    ),
    group(
        DESTINATION,
        "give the signed-in user or service account access to the Google Ads account; through a manager account, set login_customer_id to it",
        "PERMISSION_DENIED NOT_FOUND OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH MISMATCHED_ACCOUNT_TYPE DESTINATION_ACCOUNT_TYPE_MISMATCH",
    ),
    group(
        DESTINATION,
        "check customer_id and login_customer_id of the destination: customer_id must be the account that owns the conversion action",
        "INVALID_DESTINATION TOO_MANY_DESTINATIONS DUPLICATE_DESTINATION_REFERENCE INVALID_CLIENT_ACCOUNT_ID",
    ),
    group(
        DESTINATION,
        "accept the customer data terms in Google Ads under Goals > Settings, then release the rows",
        "TERMS_AND_CONDITIONS_NOT_SIGNED DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED ADVERTISER_TOS_NOT_ACCEPTED",
    ),
    group(
        DESTINATION,
        "turn on enhanced conversions for leads in Google Ads under Goals > Settings, or upload without e-mail and phone",
        "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS",
    ),
    group(
        DESTINATION,
        "upload without e-mail and phone, or ask Google's support why customer data may not be used in this account",
        "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS",
    ),
    group(
        DESTINATION,
        "ask Google's support to allow this feature for the account; repeating the upload does not help",
        "NOT_ALLOWLISTED CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE",
    ),
    group(
        DESTINATION,
        "declare in Google Ads whether the campaigns contain EU political ads, then release the rows",
        "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED",
    ),
    group(
        DESTINATION,
        "check the URL of the Data Manager API in the configuration; if it is Google's own, this version of the interface may be retired: update adsengineer",
        "ENDPOINT_NOT_FOUND REDIRECTED NOT_GOOGLE METHOD_NOT_ALLOWED UNIMPLEMENTED",
    ),
    group(
        ACTION,
        "check the conversion action's id in the destination: a plain number of an action of type import from clicks, owned by customer_id",
        "INVALID_CONVERSION_ACTION_ID INVALID_CONVERSION_ACTION_TYPE EVENT_SOURCE_AND_DESTINATION_MISMATCH",
    ),
    group(
        ACTION,
        "use a conversion action that does not expect external attribution: the Data Manager API cannot send it",
        "EXTERNAL_ATTRIBUTION_DATA_MISSING",
    ),
    group(ACTION, "enable the custom variable in Google Ads, or stop sending it", "CUSTOM_VARIABLE_NOT_ENABLED CUSTOM_VARIABLE_NOT_FOUND"),
    // One foreign click must not stop the clicks of others: held row by row.
    group(
        REVIEW,
        "find out which Google Ads account the click belongs to and send the row to a destination for that account",
        "INVALID_OPERATING_ACCOUNT_FOR_CLICK OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER",
    ),
    group(
        REVIEW,
        "set the conversion action to count every conversion: one-per-click actions take no gbraid and wbraid",
        "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID",
    ),
    group(
        Class::Row,
        "correct the click id at its source: it must arrive exactly as Google put it into the URL",
        "INVALID_GCLID INVALID_GBRAID INVALID_WBRAID INVALID_AD_IDENTIFIERS INVALID_CLICK INVALID_MOBILE_ID_FORMAT EVENT_ID_DECODE_ERROR",
    ),
    group(Class::Row, "send the row to the account that the click came from", "INVALID_AD_IDENTIFIER_FOR_ACCOUNT"),
    group(
        Class::Row,
        "check the conversion time and its time zone: it must lie after the click and within the action's click-through window",
        "EVENT_TOO_OLD EVENT_TIME_INVALID CONVERSION_PRECEDES_CLICK",
    ),
    group(
        Class::Row,
        "nothing to send: the person did not allow the use of the data, or the account's consent settings refuse it",
        "DENIED_CONSENT NO_CONSENT UNKNOWN_CONSENT",
    ),
    group(
        Class::Row,
        "give the row a click id, an e-mail address or a phone number that Google can match",
        "NO_IDENTIFIERS_PROVIDED USER_ID_NOT_FOUND USER_ID_NOT_FOUND_FOR_GCLID USER_ID_NOT_FOUND_FOR_DCLID USER_ID_NOT_FOUND_FOR_MATCH_ID \
         USER_ID_NOT_FOUND_FOR_IMPRESSION_ID MATCH_ID_NOT_FOUND",
    ),
    group(
        Class::Row,
        "correct the field that is named and upload the row again",
        "INVALID_ARGUMENT REQUIRED_FIELD_MISSING INVALID_FORMAT INVALID_HEX_ENCODING INVALID_BASE64_ENCODING INVALID_SHA256_FORMAT \
         INVALID_POSTAL_CODE INVALID_COUNTRY_CODE INVALID_REGION_CODE INVALID_ENUM_VALUE INVALID_NUMBER_FORMAT INVALID_CURRENCY_CODE \
         INVALID_EVENT FIELD_VALUE_TOO_LONG FIELD_VALUE_TOO_SHORT TOO_MANY_ELEMENTS TOO_FEW_ELEMENTS TOO_MANY_USER_IDENTIFIERS TOO_MANY_EVENTS \
         REQUEST_TOO_LARGE OUT_OF_RANGE FAILED_PRECONDITION ALREADY_EXISTS RESERVED_NAME_USED INVALID_EVENT_NAME INVALID_SUBDIVISION_CODE \
         INVALID_SUBCONTINENT_CODE INVALID_CONTINENT_CODE INVALID_DEVICE_CATEGORY INVALID_COUPON_CODE INVALID_MERCHANT_ID \
         INVALID_MERCHANT_FEED_LANGUAGE_CODE INVALID_CUSTOM_VARIABLE INVALID_CUSTOM_VARIABLE_VALUE CUSTOM_VARIABLE_VALUE_CONTAINS_PII",
    ),
    group(
        REVIEW,
        "nothing here encrypts identifiers or sends adjustments by reference: report it with the request id",
        "DECRYPTION_ERROR DEK_DECRYPTION_ERROR INVALID_WIP INVALID_KEK WIP_AUTH_FAILED KEK_PERMISSION_DENIED AWS_AUTH_FAILED \
         USER_IDENTIFIER_DECRYPTION_ERROR ORIGINAL_CONVERSIONS_NOT_FOUND INSUFFICIENT_MATCHED_TRANSACTIONS INSUFFICIENT_TRANSACTIONS",
    ),
    group(
        REVIEW,
        "the code belongs to another part of Google's API than conversions: report it with the request id",
        "INVALID_USER_LIST_TYPE INVALID_AUDIENCE_MEMBER TOO_MANY_AUDIENCE_MEMBERS DATA_PARTNER_USER_LIST_MUTATE_NOT_ALLOWED INVALID_USER_LIST_ID \
         MULTIPLE_DATA_TYPES_NOT_ALLOWED DIFFERENT_LOGIN_ACCOUNTS_NOT_ALLOWED_FOR_DATA_PARTNER UNSUPPORTED_OPERATING_ACCOUNT_FOR_DATA_PARTNER \
         UNSUPPORTED_LINKED_ACCOUNT_FOR_DATA_PARTNER INVALID_PROPERTY_TYPE INVALID_STREAM_TYPE \
         LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT MULTIPLE_DESTINATIONS_FOR_GOOGLE_ANALYTICS_EVENT IMMUTABLE_FIELD_FOR_UPDATE \
         INVALID_RESOURCE_NAME INVALID_FILTER INVALID_UPDATE_MASK INVALID_PAGE_TOKEN CANNOT_UPDATE_DISABLED_LICENSE \
         CANNOT_CREATE_LICENSE_FOR_SENSITIVE_USERLIST INSUFFICIENT_COST CANNOT_DISABLE_LICENSE PRICING_ONLY_ZERO_COST_ALLOWED PRICE_TOO_HIGH \
         CUSTOMER_NOT_ALLOWED_TO_CREATE_LICENSE INVALID_PRICING_END_DATE CANNOT_LICENSE_LOGICAL_LIST_WITH_LICENSED_OR_SHARED_SEGMENT \
         MEDIA_SHARE_COST_NOT_ALLOWED_FOR_LICENSE_TYPE MEDIA_SHARE_COST_NOT_ALLOWED_FOR_CLIENT_CUSTOMER INVALID_MEDIA_SHARE_COST \
         INVALID_COST_TYPE MEDIA_SHARE_COST_NOT_ALLOWED_FOR_NON_COMMERCE_USER_LIST MAX_COST_NOT_ALLOWED \
         COMMERCE_AUDIENCE_CAN_ONLY_BE_DIRECTLY_LICENSED INVALID_DESCRIPTION INVALID_DISPLAY_NAME DISPLAY_NAME_ALREADY_USED \
         OWNERSHIP_REQUIRED_FOR_UPDATE USER_LIST_MUTATION_NOT_SUPPORTED SENSITIVE_USER_LIST_IMMUTABLE BILLABLE_RECORD_COUNT_IMMUTABLE \
         USER_LIST_NAME_RESERVED ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA UNSUPPORTED_PARTNER_AUDIENCE_SOURCE COMMERCE_PARTNER_NOT_ALLOWED \
         UNSUPPORTED_PARTNER_AUDIENCE_INFO PARTNER_MATCH_FOR_MANAGER_ACCOUNT_DISALLOWED \
         DATA_PARTNER_NOT_ALLOWLISTED_FOR_THIRD_PARTY_PARTNER_DATA ADVERTISER_NOT_ALLOWLISTED_FOR_THIRD_PARTY_PARTNER_DATA \
         USER_LIST_TYPE_NOT_SUPPORTED_FOR_ACCOUNT INVALID_COMMERCE_PARTNER CUSTOMER_NOT_ALLOWLISTED_FOR_COMMERCE_AUDIENCE \
         UNSUPPORTED_USER_LIST_UPLOAD_KEY_TYPES UNSUPPORTED_INGESTED_USER_LIST_INFO_CONFIG UNSUPPORTED_ACCOUNT_TYPES_FOR_USER_LIST_TYPE \
         UNSUPPORTED_ACCOUNT_TYPE_FOR_PARTNER_LINK MEMBERSHIP_DURATION_TOO_LONG ACCOUNT_INELIGIBLE_FOR_STORE_SALES \
         BOTH_CLIENT_ID_AND_APP_INSTANCE_ID_NOT_ALLOWED GOOGLE_ANALYTICS_SUBPROPERTY_OR_ROLLUP_PROPERTY_NOT_ALLOWED \
         THIRD_PARTY_USER_DATA_NOT_ALLOWED TOO_MANY_USERS BASELINE_LOCATION_AUTO_DETECTION_FAILED INSIGHTS_MISSING_FOR_DIMENSION \
         REQUIRED_PREREQUISITE_LINK_MISSING INVALID_REMOVE_AS_OF_TIME",
    ),
    group(
        Class::Row,
        "find the other conversion with this order id: the platform had one before this row was ever sent; give the row an id of its own if it is another sale",
        "TRANSACTION_ID_TAKEN",
    ),
    group(
        Class::Row,
        "look in the platform's reports whether the conversion arrived; replay it with --accept-duplicates only if it did not",
        "OUTCOME_UNKNOWN",
    ),
    group(
        Class::Transient,
        "nothing: the same bytes are sent again by themselves, which Google counts once; check the machine's network if it lasts",
        "NEIGHBOUR_REFUSED TIMEOUT CONNECTION_LOST CONNECTION_FAILED UNREADABLE_ANSWER ANSWER_WITHOUT_REQUEST_ID STATUS_UNAVAILABLE STATUS_UNKNOWN",
    ),
];

/// A code without the prefix of `ProcessingErrorReason`; one value of it is published with a shorter prefix.
pub fn short(code: &str) -> &str {
    code.strip_prefix("PROCESSING_ERROR_REASON_").or_else(|| code.strip_prefix("PROCESSING_ERROR_")).unwrap_or(code)
}

fn find(code: &str) -> Option<&'static Group> {
    let code = short(code);
    TABLE.iter().find(|group| group.codes.split_ascii_whitespace().any(|known| known == code))
}

/// What `code` means, with or without its prefix; `None` if nobody here knows it.
pub fn known_class(code: &str) -> Option<Class> {
    find(code).map(|group| group.class)
}

/// What `code` means; an unknown code holds its row for review.
pub fn class(code: &str) -> Class {
    known_class(code).unwrap_or(REVIEW)
}

/// What a human does about `code`.
pub fn next_action(code: &str) -> &'static str {
    find(code).map_or(UNKNOWN_CODE, |group| group.next)
}

#[cfg(test)]
mod tests;
