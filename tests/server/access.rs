//! Every route with every role, without a token, with a bad one, and with another organization's.

use adsengineer_core::org::Role;

use crate::{
    routes::{ROUTES, Route, Things, furnished},
    said::Said,
    stage::Stage,
};

const ROLES: [Role; 4] = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];

async fn ask(stage: &Stage, route: &Route, path: &str, token: Option<&str>) -> Said {
    stage.ask(route.method, path, token, route.body().as_ref()).await
}

#[tokio::test]
async fn a_role_below_the_weakest_is_refused_everywhere_without_effect() {
    let (_sandbox, stage, things) = furnished().await;
    let before = stage.effects().await;
    let mut asked = 0;
    for route in ROUTES {
        let Some(weakest) = route.weakest else { continue };
        for role in ROLES.into_iter().filter(|role| *role < weakest) {
            let said = ask(&stage, route, &things.path(route), Some(&stage.token("acme", role))).await;
            assert_eq!(said.refused(403), "FORBIDDEN", "{} {} as {role}", route.method, route.path);
            assert!(said.text().contains(weakest.as_str()), "{}", said.text());
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn nobody_and_somebody_with_a_bad_token_are_refused_everywhere_without_effect() {
    let (_sandbox, stage, things) = furnished().await;
    let before = stage.effects().await;
    for route in ROUTES.iter().filter(|route| route.weakest.is_some()) {
        for (token, code, challenge) in [
            (None, "TOKEN_MISSING", "Bearer realm=\"adsengineer\""),
            (Some("not.a.token"), "TOKEN_MALFORMED", "Bearer realm=\"adsengineer\", error=\"invalid_token\""),
        ] {
            let said = ask(&stage, route, &things.path(route), token).await;
            assert_eq!(said.refused(401), code, "{} {}", route.method, route.path);
            assert_eq!(said.header("www-authenticate"), Some(challenge));
        }
    }
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn the_weakest_role_that_a_route_names_may_use_it() {
    let (_sandbox, stage, things) = furnished().await;
    for route in ROUTES {
        let token = route.weakest.map(|role| stage.token("acme", role));
        let said = ask(&stage, route, &things.path(route), token.as_deref()).await;
        assert_eq!(said.status, route.success, "{} {}: {}", route.method, route.path, said.text());
    }
}

#[tokio::test]
async fn higher_roles_may_do_what_lower_ones_may() {
    let (_sandbox, stage, things) = furnished().await;
    for route in ROUTES {
        for role in ROLES.into_iter().filter(|role| route.weakest.is_some_and(|weakest| *role > weakest)) {
            let said = ask(&stage, route, &things.path(route), Some(&stage.token("acme", role))).await;
            // What an earlier role removed is not there any more.
            let gone = route.method == "DELETE" && said.status == 404;
            assert!(said.status == route.success || gone || said.status == 409, "{} {} {}", route.method, route.path, said.text());
        }
    }
}

#[tokio::test]
async fn another_organizations_things_are_told_from_nothing_by_no_status_text_or_effect() {
    let (_sandbox, stage, things) = furnished().await;
    let before = stage.effects().await;
    let stranger = stage.token("globex", Role::Owner);
    let plain = |said: &Said, path: &str| {
        let mut body = said.json();
        body["request_id"].take();
        let name = path.split(['/', '?']).find(|part| part.contains('_') || ["shop", "won", "none"].contains(part)).unwrap();
        body.to_string().replace(name, "…")
    };
    let mut asked = 0;
    for route in ROUTES.iter().filter(|route| route.is_named() && !route.makes_its_own()) {
        let (there, nowhere) = (things.path(route), Things::missing(route));
        let (theirs, none) = (ask(&stage, route, &there, Some(&stranger)).await, ask(&stage, route, &nowhere, Some(&stranger)).await);
        assert_eq!(theirs.refused(404), "NOT_FOUND", "{} {there}", route.method);
        assert_eq!(none.refused(404), "NOT_FOUND");
        assert_eq!(plain(&theirs, &there), plain(&none, &nowhere), "{} {}", route.method, route.path);
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
    assert_eq!(stage.effects().await, before);
}

#[tokio::test]
async fn what_a_stranger_makes_under_a_known_name_is_the_strangers_own() {
    let (_sandbox, stage, things) = furnished().await;
    let stranger = stage.token("globex", Role::Owner);
    let revocable = stage.token_with("acme", Role::Viewer, &things.jti);
    for route in ROUTES.iter().filter(|route| route.makes_its_own()) {
        let path = things.path(route);
        let is_put = route.method == "PUT";
        let before = if is_put { stage.get(&path).await.ok(200) } else { serde_json::Value::Null };
        assert_eq!(ask(&stage, route, &path, Some(&stranger)).await.status, route.success);
        if is_put {
            assert_eq!(stage.get(&path).await.ok(200), before, "{path}");
        } else {
            stage.ask("GET", "/api/v1/me", Some(&revocable), None).await.ok(200);
        }
    }
}

#[tokio::test]
async fn lists_show_only_the_callers_organization() {
    let (_sandbox, stage, _things) = furnished().await;
    let stranger = stage.token("globex", Role::Owner);
    for route in ROUTES.iter().filter(|route| route.method == "GET" && !route.is_named() && route.weakest.is_some()) {
        let mine = stage.get(route.path).await;
        let theirs = stage.ask("GET", route.path, Some(&stranger), None).await;
        theirs.ok(200);
        assert_ne!(mine.text(), theirs.text(), "{}", route.path);
        assert!(!theirs.text().contains("acme") && !theirs.text().contains("shop"), "{}", theirs.text());
        if let Some(list) = theirs.json().as_object().unwrap().values().find_map(|value| value.as_array()) {
            assert!(list.is_empty(), "{}", theirs.text());
        }
    }
}
