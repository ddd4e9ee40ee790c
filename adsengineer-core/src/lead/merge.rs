//! An update of a lead that is known already.

use super::{Lead, LeadStatus, Utm};

impl Lead {
    /// This lead after `newer` of the same organization, site and external id: what it gives wins, what it leaves out
    /// stays. The first touch and the first sight of each click are kept; a status only moves as
    /// [`LeadStatus::may_become`] allows, and `new` means that nothing was said.
    #[must_use]
    pub fn merge(mut self, newer: Self) -> Self {
        let before = self.touch();
        self.clicks.update(&mut self.click_seen, newer.clicks, &newer.click_seen, self.earlier_touch.as_deref());
        self.utm = self.utm.updated(newer.utm);
        replace(&mut self.landing_page, newer.landing_page);
        if self.earlier_touch.is_none() && before.as_ref().is_some_and(|before| self.touch().is_some_and(|now| !same(before, &now))) {
            self.earlier_touch = before.map(Box::new);
        }
        replace(&mut self.external_id, newer.external_id);
        replace(&mut self.site_id, newer.site_id);
        replace(&mut self.email, newer.email);
        replace(&mut self.phone, newer.phone);
        replace(&mut self.company, newer.company);
        replace(&mut self.budget, newer.budget);
        replace(&mut self.vertical, newer.vertical);
        replace(&mut self.value, newer.value);
        replace(&mut self.occurred_at, newer.occurred_at);
        if !newer.tags.is_empty() {
            self.tags = newer.tags;
        }
        if newer.status != LeadStatus::New && self.status.may_become(newer.status) {
            self.status = newer.status;
        }
        self.consent = self.consent.updated(newer.consent);
        self
    }
}

/// Whether two touches name the same origin, whenever that was.
fn same(a: &super::Touch, b: &super::Touch) -> bool {
    a.clicks == b.clicks && a.utm == b.utm && a.landing_page == b.landing_page
}

fn replace<T>(slot: &mut Option<T>, newer: Option<T>) {
    if newer.is_some() {
        *slot = newer;
    }
}

impl Utm {
    fn updated(mut self, newer: Self) -> Self {
        replace(&mut self.source, newer.source);
        replace(&mut self.medium, newer.medium);
        replace(&mut self.campaign, newer.campaign);
        replace(&mut self.content, newer.content);
        replace(&mut self.term, newer.term);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CLICK_DAYS, Judged, parse_leads};
    use super::*;

    const DAY: i64 = 86_400;
    const FIRST: i64 = 1_795_000_000;

    fn lead(fields: &str, now_s: i64) -> Lead {
        let body = format!(r#"{{"external_id":"L",{fields},"consent":{{"storage":"granted"}}}}"#);
        match parse_leads(body.as_bytes(), 1, now_s).unwrap().leads.pop() {
            Some(Judged::Lead(lead)) => *lead,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_wins_and_what_is_left_out_stays() {
        let old = lead(r#""email":"a@example.com","company":"Old","tags":["a"],"budget":"5k","value":"1","currency":"EUR""#, FIRST);
        let merged = old.merge(lead(r#""phone":"+4915123456789","company":"New""#, FIRST + DAY));
        assert_eq!((merged.company.as_deref(), merged.budget.as_deref(), merged.tags.len()), (Some("New"), Some("5k"), 1));
        assert!(merged.email.is_some() && merged.phone.is_some() && merged.value.is_some());
        assert_eq!(merged.captured_s, FIRST);
    }

    #[test]
    fn the_status_moves_forward_only_and_silence_leaves_it() {
        let won = lead(r#""email":"a@example.com","status":"won""#, FIRST);
        assert_eq!(won.clone().merge(lead(r#""email":"a@example.com""#, FIRST)).status, LeadStatus::Won);
        assert_eq!(won.clone().merge(lead(r#""email":"a@example.com","status":"contacted""#, FIRST)).status, LeadStatus::Won);
        assert_eq!(won.merge(lead(r#""email":"a@example.com","status":"lost""#, FIRST)).status, LeadStatus::Lost);
    }

    #[test]
    fn the_first_touch_is_never_overwritten() {
        let merged = lead(r#""gclid":"A","utm":{"source":"google"}"#, FIRST)
            .merge(lead(r#""gclid":"B","utm":{"source":"bing"}"#, FIRST + DAY))
            .merge(lead(r#""fbclid":"C","landing_page":"https://example.com""#, FIRST + 2 * DAY));
        let first = merged.first_touch().unwrap();
        assert_eq!((first.clicks.gclid.as_deref(), first.utm.source.as_deref(), first.at), (Some("A"), Some("google"), FIRST));
        assert!(first.clicks.fbclid.is_none() && first.landing_page.is_none());
        assert_eq!((merged.clicks.gclid.as_deref(), merged.clicks.fbclid.as_deref()), (Some("B"), Some("C")));
        let json = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<Lead>(&json).unwrap(), merged);
    }

    #[test]
    fn a_lead_without_origin_takes_its_first_touch_from_the_first_update_that_has_one() {
        let plain = lead(r#""email":"a@example.com""#, FIRST);
        assert_eq!(plain.first_touch(), None);
        let merged = plain.merge(lead(r#""gclid":"A""#, FIRST + DAY));
        assert_eq!(merged.first_touch().map(|touch| (touch.clicks.gclid, touch.at)), Some((Some("A".into()), FIRST + DAY)));
    }

    #[test]
    fn seeing_a_click_again_does_not_make_it_younger_and_another_one_starts_anew() {
        let merged = lead(r#""gclid":"A","gbraid":"G""#, FIRST).merge(lead(r#""gclid":"A","gbraid":"H""#, FIRST + 60 * DAY));
        let late = merged.clicks_at(FIRST + (CLICK_DAYS + 1) * DAY);
        assert_eq!((late.gclid, late.gbraid.as_deref()), (None, Some("H")));
        let again =
            lead(r#""gclid":"A""#, FIRST).merge(lead(r#""gclid":"B""#, FIRST + DAY)).merge(lead(r#""gclid":"A""#, FIRST + 80 * DAY));
        assert_eq!(again.click_seen.gclid, Some(FIRST));
    }
}
