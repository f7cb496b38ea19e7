//! What comes of sessions when the secrets change with which they were begun. No sockets: requests go to the router.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Door, Known, Shown,
    tests::{Ask, World, ask, cookie, logged_in, world_with},
};
use crate::{
    engine::{
        diagnostic::{Problems, SourceText},
        yaml::{SecretRef, Section, parse},
    },
    web::{Access, AccessConfig, Peer, SecretSource},
};

const AUTH: &str = "
tokens:
  - {name: rita, token_env: A, roles: [responder]}
  - {name: vera, token_env: B, roles: [viewer]}
basic:
  - {username: adam, password_env: P, roles: [auditor]}
";

const TOKEN_A: &str = "a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a";
const TOKEN_B: &str = "b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b-b";
const TOKEN_C: &str = "c-c-c-c-c-c-c-c-c-c-c-c-c-c-c-c-c-c";

/// Secrets that can be changed, by the names of their variables.
#[derive(Clone, Default)]
struct Changing(Arc<Mutex<BTreeMap<String, String>>>);

impl Changing {
    fn new(secrets: &[(&str, &str)]) -> Changing {
        let changing = Changing::default();
        for (name, secret) in secrets {
            changing.set(name, secret);
        }
        changing
    }

    fn set(&self, name: &str, secret: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), secret.to_owned());
    }

    fn source(&self) -> SecretSource {
        let secrets = self.clone();
        Arc::new(move |secret| match secret {
            SecretRef::Env(name) => Ok(secrets.0.lock().unwrap()[name].clone()),
            _ => Err("no such secret".to_owned()),
        })
    }
}

fn world() -> (World, Changing) {
    let secrets = Changing::new(&[("A", TOKEN_A), ("B", TOKEN_B), ("P", "pw")]);
    (world_with(AUTH, true, secrets.source()), secrets)
}

async fn logged_in_with(world: &World, token: &str) -> String {
    cookie(&ask("POST", "/login").form(&format!("bearer={token}")).of(world).await)
}

/// What only responders and auditors see, asked for in a session.
fn timeline(session: &str) -> Ask {
    ask("GET", "/api/v1/timeline").with("cookie", session)
}

/// What is right holds for a moment; what is not known makes the server look what is right by now.
async fn look(world: &World) {
    let unknown = ask("GET", "/").with("authorization", "Bearer unknown");
    assert_eq!(unknown.code(world).await, 401);
}

#[tokio::test]
async fn a_session_ends_with_the_token_or_password_that_it_was_begun_with() {
    let (world, secrets) = world();
    let of_token = logged_in_with(&world, TOKEN_A).await;
    let of_other = logged_in_with(&world, TOKEN_B).await;
    let of_password = logged_in(&world, "adam", "pw").await;
    for session in [&of_token, &of_password] {
        assert_eq!(timeline(session).code(&world).await, 200);
    }
    secrets.set("A", TOKEN_C);
    look(&world).await;
    assert_eq!(timeline(&of_token).code(&world).await, 401);
    assert_eq!(timeline(&of_password).code(&world).await, 200, "others are not concerned");
    let again = logged_in_with(&world, TOKEN_C).await;
    assert_eq!(timeline(&again).code(&world).await, 200);
    secrets.set("P", "other");
    look(&world).await;
    assert_eq!(timeline(&of_password).code(&world).await, 401);
    // It is gone, also if the secret comes back.
    secrets.set("A", TOKEN_A);
    look(&world).await;
    assert_eq!(timeline(&of_token).code(&world).await, 401);
    let alerts = ask("GET", "/api/v1/alerts").with("cookie", &of_other);
    assert_eq!(alerts.code(&world).await, 200);
}

#[tokio::test]
async fn secrets_that_cannot_be_used_end_no_session() {
    let (world, secrets) = world();
    let session = logged_in(&world, "adam", "pw").await;
    secrets.set("P", "");
    look(&world).await;
    assert_eq!(timeline(&session).code(&world).await, 200, "what was there before goes on");
}

#[tokio::test]
async fn a_password_is_right_as_it_stands_and_what_headers_bring_without_the_blanks_around_it() {
    let auth =
        AUTH.to_owned() + "proxy: {from: [192.0.2.0/24], secret_env: S}\ngroups: {all: [viewer]}\n";
    let padded = format!(" {TOKEN_A}\t\n");
    let secrets =
        Changing::new(&[("A", &padded), ("B", TOKEN_B), ("P", " pass word "), ("S", " knock \n")]);
    let world = world_with(&auth, true, secrets.source());
    for (password, code) in [(" pass word ", 200), ("pass word", 401), (" pass word", 401)] {
        let basic = format!("Basic {}", STANDARD.encode(format!("adam:{password}")));
        let asked = ask("GET", "/api/v1/timeline").with("authorization", &basic);
        assert_eq!(asked.code(&world).await, code, "{password:?}");
    }
    let session = logged_in(&world, "adam", "+pass+word+").await;
    assert_eq!(timeline(&session).code(&world).await, 200);
    let token = ask("GET", "/api/v1/timeline").with("authorization", &format!("Bearer {TOKEN_A}"));
    assert_eq!(token.code(&world).await, 200);
    let by_proxy = ask("GET", "/api/v1/alerts")
        .with("x-forwarded-user", "eve")
        .with("x-forwarded-groups", "all")
        .with("x-tripline-secret", "knock");
    assert_eq!(by_proxy.code(&world).await, 200);
    // Blanks alone are none, also where they are all that is left of one.
    secrets.set("P", " \t");
    look(&world).await;
    let blank = format!("Basic {}", STANDARD.encode("adam: \t"));
    let asked = ask("GET", "/api/v1/timeline").with("authorization", &blank);
    assert_eq!(asked.code(&world).await, 401);
}

#[tokio::test]
async fn a_session_is_of_whoever_has_its_token_now_and_may_what_they_may() {
    let (world, secrets) = world();
    let session = logged_in_with(&world, TOKEN_A).await;
    assert_eq!(timeline(&session).code(&world).await, 200);
    secrets.set("A", TOKEN_C);
    secrets.set("B", TOKEN_A);
    look(&world).await;
    assert_eq!(timeline(&session).code(&world).await, 403, "a viewer's by now");
    let peer = Peer { address: [192, 0, 2, 7].into(), subject: None };
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, session.parse().unwrap());
    let Known::Caller(caller) = world.guard.door.who(&headers, &peer).0 else { panic!() };
    assert_eq!((caller.name.as_str(), caller.roles_text().as_str()), ("vera", "viewer"));
}

#[tokio::test]
async fn who_logs_in_often_logs_nobody_else_out() {
    let (world, _) = world();
    let (hers, first) =
        (logged_in_with(&world, TOKEN_A).await, logged_in_with(&world, TOKEN_B).await);
    for _ in 0..16 {
        logged_in_with(&world, TOKEN_B).await;
    }
    assert_eq!(timeline(&hers).code(&world).await, 200);
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", &first).code(&world).await, 401);
}

#[test]
fn a_session_of_bearer_token_or_basic_auth_ends_with_it() {
    let text = "bearer_token_env: A\nbasic_auth: {username: ann, password_env: P}\n";
    let source = SourceText::new("t.yaml", text);
    let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
    let config = AccessConfig::parse(&Section::new(&source, &problems, &nodes[0], ""));
    let secrets = Changing::new(&[("A", "one"), ("P", "pw")]);
    let access = Access::build(&config, secrets.source()).unwrap();
    let door = Door::new(access, None, (false, true, false));
    let peer = Peer { address: [192, 0, 2, 7].into(), subject: None };
    let begin = |shown: Shown| match door.by_shown(&shown, peer.address) {
        Known::Caller(caller) => door.begin(&caller, shown),
        other => panic!("{other:?}"),
    };
    let name = |cookie: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
        match door.who(&headers, &peer).0 {
            Known::Caller(caller) => caller.name,
            _ => "nobody".to_owned(),
        }
    };
    let sessions = [begin(Shown::token("one")), begin(Shown::password("ann", "pw"))];
    assert_eq!(sessions.each_ref().map(|one| name(one)), ["bearer_token", "ann"]);
    secrets.set("A", "two");
    assert!(matches!(door.by_shown(&Shown::token("two"), peer.address), Known::Caller(_)));
    assert_eq!(sessions.each_ref().map(|one| name(one)), ["nobody", "ann"]);
    secrets.set("P", "other");
    assert!(matches!(door.by_shown(&Shown::token("one"), peer.address), Known::Wrong(..)));
    assert_eq!(sessions.each_ref().map(|one| name(one)), ["nobody", "nobody"]);
}
