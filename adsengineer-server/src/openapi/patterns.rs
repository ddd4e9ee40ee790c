//! Patterns of what requests may say, in the regular expressions of JSON Schema (ECMA-262), with no class whose meaning differs
//! from engine to engine.

/// White space that is no control character.
macro_rules! blank {
    () => {
        r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}
/// White space around texts, which is cut off (Unicode `White_Space`).
macro_rules! space {
    () => {
        concat!(r"\t-\r\u0085", blank!())
    };
}
/// Control characters.
macro_rules! control {
    () => {
        r"\u0000-\u001f\u007f-\u009f"
    };
}
/// What stands between the digits of a phone number.
macro_rules! between {
    () => {
        concat!("[-./()\\u2011\\u2013", blank!(), "]*")
    };
}
/// White space, control characters and signs that no e-mail address has.
macro_rules! no_address {
    () => {
        concat!("@,;<>\"()", space!(), control!())
    };
}
/// 13 digits of Crockford's base 32, the first below 8.
macro_rules! id {
    ($prefix:literal) => {
        concat!("^", $prefix, "[0-7][0-9a-hjkmnp-tv-z]{12}$")
    };
}
macro_rules! email {
    () => {
        concat!("([0-9A-Fa-f]{64}|[^", no_address!(), "]+@[^.", no_address!(), "]+(\\.[^.", no_address!(), "]+)+)")
    };
}
macro_rules! phone {
    () => {
        concat!("([0-9A-Fa-f]{64}|(\\+|00)", between!(), "[1-9](", between!(), "[0-9]){6,14}", between!(), ")")
    };
}

/// Any text without control characters inside.
pub(super) const TEXT: &str = concat!("^[", space!(), "]*[^", control!(), "]*[", space!(), "]*$");
/// The same, and not blank.
pub(super) const SAID: &str = concat!("^[", space!(), "]*[^", control!(), space!(), "][^", control!(), "]*[", space!(), "]*$");
/// Not blank, and without control characters anywhere.
pub(super) const SAID_INSIDE: &str = concat!("^[^", control!(), "]*[^", control!(), space!(), "][^", control!(), "]*$");
/// Without control characters anywhere.
pub(super) const PLAIN: &str = concat!("^[^", control!(), "]*$");
/// An e-mail address or its hash.
pub(super) const EMAIL: &str = concat!("^[", space!(), "]*", email!(), "[", space!(), "]*$");
/// The same, or blank.
pub(super) const EMAIL_OR_BLANK: &str = concat!("^[", space!(), "]*(", email!(), "[", space!(), "]*)?$");
/// A phone number with its country code, or its hash.
pub(super) const PHONE: &str = concat!("^[", space!(), "]*", phone!(), "[", space!(), "]*$");
/// The same, or blank.
pub(super) const PHONE_OR_BLANK: &str = concat!("^[", space!(), "]*(", phone!(), "[", space!(), "]*)?$");
/// A click id.
pub(super) const CLICK: &str = concat!("^[^<>\"'", space!(), control!(), "]*$");
/// Meta's cookies.
pub(super) const META: &str = r"^(fb\.[0-9]{1,2}\.[0-9]{1,16}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$";
/// An address of the web.
pub(super) const PAGE: &str = concat!(
    "^[",
    space!(),
    "]*([Hh][Tt][Tt][Pp][Ss]?://[^/?#",
    space!(),
    control!(),
    "][^",
    space!(),
    control!(),
    "]*[",
    space!(),
    "]*)?$"
);
/// An exact decimal of up to 15 digits, six of them after the point.
pub(super) const DECIMAL: &str = r"^([0-9]{1,15}|[0-9]{1,14}\.[0-9]|[0-9]{1,13}\.[0-9]{2}|[0-9]{1,12}\.[0-9]{3}|[0-9]{1,11}\.[0-9]{4}|[0-9]{1,10}\.[0-9]{5}|[0-9]{1,9}\.[0-9]{6})$";
/// A TCF string of version 2.
pub(super) const TCF: &str = concat!("^[", space!(), "]*(C[A-Za-z0-9_-]*(\\.[A-Za-z0-9_-]+){0,3}[", space!(), "]*)?$");
/// An idempotency key, quoted or bare.
pub(super) const KEY: &str = r#"^("[ !#-~]{1,255}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$"#;
/// Names of destinations, rules and organizations.
pub(super) const NAME: &str = "^[a-z0-9][a-z0-9_.-]*$";
/// A rate, no faster than one in a millisecond.
pub(super) const RATE: &str =
    "^(([1-9][0-9]{0,2}|1000)/s|([1-9][0-9]{0,3}|[1-5][0-9]{4}|60000)/m|([1-9][0-9]{0,5}|[12][0-9]{6}|3[0-5][0-9]{5}|3600000)/h)$";
/// The id of a lead, a change, a conversion, a delivery and a replay.
pub(super) const LEAD: &str = id!("lead_");
pub(super) const LEAD_OR_NONE: &str = "^(lead_[0-7][0-9a-hjkmnp-tv-z]{12})?$";
pub(super) const CHANGE: &str = id!("chg_");
pub(super) const CONVERSION: &str = id!("conv_");
pub(super) const DELIVERY: &str = id!("dlv_");
pub(super) const REPLAY: &str = id!("rpl_");
