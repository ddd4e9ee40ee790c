//! Hashed identifiers of a person in the form the Data Manager API takes: at most ten, as hexadecimal SHA-256.
//!
//! Normal forms: Data Manager API guide "Format user data" and the field texts of `AddressInfo`.

use std::borrow::Cow;

use crate::identity::{Hash, Identifier, Identifiers, google_email_hash, google_phone_hash, sha256};

use super::json::{hex, string};

/// Writes `"userData":{…}` if anything of `person` can be sent; says whether it did.
pub(super) fn write(person: &Identifiers, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(br#","userData":{"userIdentifiers":["#);
    let empty = out.len();
    if let Some(email) = &person.email {
        hashed(br#"{"emailAddress":""#, &google_email_hash(email), out);
        if let Some(variant) = gmail_with_suffix(email) {
            hashed(br#"{"emailAddress":""#, &sha256(&variant), out);
        }
    }
    if let Some(phone) = &person.phone {
        hashed(br#"{"phoneNumber":""#, &google_phone_hash(phone), out);
    }
    address(person, out);
    if out.len() == empty {
        out.truncate(start);
        return false;
    }
    out.pop(); // the comma after the last identifier
    out.extend_from_slice(b"]}");
    true
}

fn hashed(open: &[u8], hash: &Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(open);
    hex(hash, out);
    out.extend_from_slice(br#""},"#);
}

/// An address counts only when both names, the region and the postal code are there.
fn address(person: &Identifiers, out: &mut Vec<u8>) {
    let (Some(first), Some(last), Some(country), Some(postal_code)) =
        (&person.first_name, &person.last_name, &person.country, &person.postal_code)
    else {
        return;
    };
    out.extend_from_slice(br#"{"address":{"givenName":""#);
    hex(&name_hash(first), out);
    out.extend_from_slice(br#"","familyName":""#);
    hex(&name_hash(last), out);
    out.extend_from_slice(br#"","regionCode":"#);
    string(country, out);
    out.extend_from_slice(br#","postalCode":"#);
    string(postal_code.trim(), out);
    out.extend_from_slice(b"}},");
}

fn name_hash(name: &Identifier) -> Hash {
    match name {
        Identifier::Hashed(hash) => *hash,
        Identifier::Plain(text) => sha256(&normal_name(text)),
    }
}

/// Lower case, without punctuation and outer white space.
fn normal_name(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !is_punctuation(*c)).flat_map(char::to_lowercase).collect();
    kept.trim().to_owned()
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '¡' | '¿' | '«' | '»' | '·' | '´')
}

/// The second form of a Gmail address with `+suffix`, which Google may know the person by: without dots, with the suffix.
fn gmail_with_suffix(email: &Identifier) -> Option<String> {
    let Identifier::Plain(text) = email else { return None };
    if !text.contains('+') {
        return None;
    }
    let lower: Cow<'_, str> = text.trim().to_lowercase().into();
    let (local, domain) = lower.rsplit_once('@')?;
    let (name, suffix) = local.split_once('+')?;
    matches!(domain, "gmail.com" | "googlemail.com").then(|| format!("{}+{suffix}@{domain}", name.replace('.', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Identifier {
        Identifier::Plain(text.into())
    }

    fn written(person: &Identifiers) -> serde_json::Value {
        let mut out = b"{\"x\":0".to_vec();
        write(person, &mut out);
        out.push(b'}');
        serde_json::from_slice(&out).unwrap()
    }

    fn hex_of(text: &str) -> String {
        let mut out = Vec::new();
        hex(&sha256(text), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn published_examples_hash_as_published() {
        let person = Identifiers { email: Some(plain("AlexZ@example.com")), phone: Some(plain("+18005550100")), ..Identifiers::default() };
        assert_eq!(
            written(&person)["userData"]["userIdentifiers"],
            serde_json::json!([
                {"emailAddress": "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"},
                {"phoneNumber": "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"},
            ])
        );
    }

    #[test]
    fn a_gmail_address_with_suffix_goes_in_both_forms_and_others_in_one() {
        let emails = |email: &str| {
            written(&Identifiers { email: Some(plain(email)), ..Identifiers::default() })["userData"]["userIdentifiers"].clone()
        };
        let both = serde_json::json!([{"emailAddress": hex_of("ab@gmail.com")}, {"emailAddress": hex_of("ab+shop.x@gmail.com")}]);
        assert_eq!(emails("A.b+Shop.x@Gmail.com"), both);
        assert_eq!(emails("a.b+c@example.com"), serde_json::json!([{"emailAddress": hex_of("a.b+c@example.com")}]));
    }

    #[test]
    fn an_address_is_sent_only_when_it_is_complete() {
        let mut person = Identifiers {
            first_name: Some(plain(" Anne-Marie ")),
            last_name: Some(Identifier::Hashed(sha256("o"))),
            country: Some("DE".into()),
            postal_code: Some(" 10\"115".into()),
            ..Identifiers::default()
        };
        let address =
            serde_json::json!({"givenName": hex_of("annemarie"), "familyName": hex_of("o"), "regionCode": "DE", "postalCode": "10\"115"});
        assert_eq!(written(&person)["userData"]["userIdentifiers"][0]["address"], address);
        person.country = None;
        assert_eq!(written(&person).get("userData"), None);
    }

    #[test]
    fn names_lose_punctuation_and_case_but_no_letters() {
        for (text, normal) in [("O’Neil, Jr.", "oneil jr"), (" ÅSA ", "åsa"), ("李", "李")] {
            assert_eq!(normal_name(text), normal);
        }
    }
}
