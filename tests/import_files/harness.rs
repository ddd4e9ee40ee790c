//! Reads a file and writes each row as one line, so that a case is a file and a list of lines.

use adsengineer_core::{
    finding::Finding,
    identity::{google_email_hash, google_name_hash, google_phone_hash},
    import::{Change, Context, Options, Reader, Row, RowKind, Summary, Target},
};

/// The header of the plain template, with consent.
pub(crate) const HEADER: &str = "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency";

pub(crate) fn context() -> Context {
    Context { org: "default".parse().unwrap(), now: "2026-11-20T12:00:00Z".parse().unwrap() }
}

/// Options under which rows need not say anything about consent.
pub(crate) fn granted() -> Options {
    Options { default_consent: Some("granted".parse().unwrap()), ..Options::default() }
}

pub(crate) struct Outcome {
    pub rows: Vec<String>,
    pub warnings: Vec<Finding>,
    pub summary: Summary,
}

/// All rows of a file as lines such as `3 2026-11-18T13:05:00Z gclid=Cj0 120.00 EUR !NUMERIC_ORDER_ID`.
pub(crate) fn read(file: &[u8], options: &Options) -> Result<Outcome, Finding> {
    let mut reader = Reader::open(file, options, &context()).map_err(|fault| *fault.finding)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next().map_err(|fault| *fault.finding)? {
        rows.push(line(&row));
    }
    Ok(Outcome { rows, warnings: reader.warnings().to_vec(), summary: reader.summary().clone() })
}

/// The lines of a file that has no fault.
pub(crate) fn rows(file: &str, options: &Options) -> Vec<String> {
    read(file.as_bytes(), options).unwrap_or_else(|fault| panic!("{fault}\n{file}")).rows
}

/// The fault of a file that has one, as `CODE@row`.
pub(crate) fn fault(file: &[u8], options: &Options) -> String {
    let fault = match read(file, options) {
        Err(fault) => fault,
        Ok(outcome) => panic!("no fault: {:?}", outcome.rows),
    };
    assert!(!fault.reason.is_empty() && !fault.hint.is_empty());
    match fault.row {
        Some(row) => format!("{}@{row}", fault.code),
        None => fault.code.to_string(),
    }
}

/// One row of the plain template: what is expected of the cells given for it.
pub(crate) fn plain(cells: &str, options: &Options) -> String {
    let rows = rows(&format!("{HEADER}\n{cells}\n"), options);
    assert_eq!(rows.len(), 1, "{cells}");
    rows[0].strip_prefix("2 ").unwrap().to_owned()
}

fn line(row: &Row<'_>) -> String {
    let mut parts = vec![row.number.to_string()];
    match &row.kind {
        RowKind::Denied => parts.push("denied".to_owned()),
        RowKind::Skipped(code) => parts.push(format!("skipped {code}")),
        RowKind::Refused(findings) => {
            for finding in *findings {
                assert_eq!(finding.row, Some(row.number));
                parts.push(format!("-{}{}", finding.code, finding.column.as_ref().map(|c| format!("[{c}]")).unwrap_or_default()));
            }
        }
        RowKind::Conversion(candidate) => {
            let conversion = candidate.clone().into_conversion();
            assert_eq!(conversion.natural_key(&context().org), candidate.natural_key);
            parts.push(conversion.occurred_at.to_string());
            if &*conversion.action != "Lead" {
                parts.push(format!("action={}", conversion.action));
            }
            parts.extend(conversion.click_id.as_ref().map(ToString::to_string));
            parts.extend(conversion.order_id.as_ref().map(|id| format!("order={id}")));
            parts.extend(conversion.value.map(|value| value.to_string()));
            let person = &conversion.identifiers;
            let hash = |hash: [u8; 32]| hash.iter().take(4).map(|b| format!("{b:02x}")).collect::<String>();
            parts.extend(person.email.as_ref().map(|e| format!("email={}", hash(google_email_hash(e)))));
            parts.extend(person.phone.as_ref().map(|p| format!("phone={}", hash(google_phone_hash(p)))));
            parts.extend(person.first_name.as_ref().map(|n| format!("first={}", hash(google_name_hash(n)))));
            parts.extend(person.last_name.as_ref().map(|n| format!("last={}", hash(google_name_hash(n)))));
            parts.extend(person.country.as_ref().map(|c| format!("country={c}")));
            parts.extend(person.postal_code.as_ref().map(|z| format!("zip={z}")));
            parts.extend(conversion.consent.ad_personalization.map(|state| format!("personalization={state}")));
        }
        RowKind::Adjustment(adjustment) => {
            parts.push(match adjustment.change {
                Change::Restate(money) => format!("restate {money}"),
                Change::Retract => "retract".to_owned(),
            });
            parts.push(match adjustment.target {
                Target::Order(order) => format!("order={order}"),
                Target::Click(kind, id, at) => format!("{}={id} at {at}", kind.as_str()),
            });
            parts.push(adjustment.adjusted_at.to_string());
        }
    }
    for warning in row.warnings {
        assert_eq!(warning.row, Some(row.number));
        parts.push(format!("!{}", warning.code));
    }
    parts.join(" ")
}
