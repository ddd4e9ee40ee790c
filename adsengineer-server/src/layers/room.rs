//! How many requests are worked on at a time, and for how long each.
//!
//! Of the places one organization has a quarter at most: whoever sends bodies slowly, or asks for much, leaves room for the others.
//! Whoever watches the server needs no place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use adsengineer_core::org::{Caller, OrgId};
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::gate::is_watched;
use crate::{Api, error::Problem};

/// One organization has this part of all places.
const SHARE: usize = 4;

/// How many places each organization takes now.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<HashMap<OrgId, usize>>>);

impl Seats {
    /// A seat for `org`, while it has fewer than its part of `places`.
    fn take(&self, org: &OrgId, places: usize) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(org.clone()).or_default();
        if *own >= (places / SHARE).max(1) {
            return None;
        }
        *own += 1;
        Some(Seat { seats: self.clone(), org: org.clone() })
    }
}

/// A seat that is held until this is dropped.
struct Seat {
    seats: Seats,
    org: OrgId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.org) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.org)),
        }
    }
}

pub(crate) async fn room(State(api): State<Api>, request: Request, next: Next) -> Response {
    if is_watched(request.uri().path()) {
        return next.run(request).await;
    }
    let seat = match request.extensions().get::<Caller>().map(|caller| api.seats().take(caller.org(), api.place_count())) {
        Some(None) => return Problem::overloaded().into_response(),
        seat => seat,
    };
    let Ok(place) = api.places().clone().try_acquire_owned() else { return Problem::overloaded().into_response() };
    let answer = tokio::time::timeout(api.timeout(), next.run(request)).await;
    drop((place, seat));
    answer.unwrap_or_else(|_| {
        let detail = "the request took too long and was given up; if it was to change something, ask before sending it again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT", detail).retry_after(5).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_a_quarter_of_the_places_and_nothing_is_kept_of_those_that_left() {
        let (seats, acme, globex) = (Seats::default(), "acme".parse().unwrap(), "globex".parse().unwrap());
        let held: Vec<_> = (0..2).map(|_| seats.take(&acme, 8).unwrap()).collect();
        assert!(seats.take(&acme, 8).is_none());
        drop(seats.take(&globex, 8).unwrap());
        drop(held);
        assert!(seats.0.lock().unwrap().is_empty());
        assert!(seats.take(&acme, 1).is_some());
    }
}
