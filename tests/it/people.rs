//! How do people sign in, and what do they get by mail? All that a person does without an API key.

use std::net::IpAddr;

use guildhall::api::sign_in::{Answer, Attempt, sign_in};
use guildhall::db::Tx;
use guildhall::db::sessions::{self, Place, SignedIn};
use guildhall::domain::sessions::{NewSession, UserAgent};
use guildhall::domain::{Email, Password};
use guildhall::error::Error;
use guildhall::token::SessionToken;
use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams, accept};
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, HOUR, text};

mod cookies;
mod ending;
mod guessing;
mod signing_in;

const PASSWORD: &str = "correct horse";

/// Invites a person, who accepts with a password and the name of a key.
fn person(org: &Org, name: &str, role: &str) -> Someone {
    let (_, link) = org.invite(&address(name), role, json!([]));
    let body = json!({ "name": name, "password": PASSWORD });
    let accepted = accept(org.server, None, &link, body).ok();
    let id = text(&accepted["user"]["user_id"]);
    let key = org.server.send_as_operator(
        "POST",
        "/v1/operator/users/api_keys",
        json!({ "organization": name_of(org), "email": address(name) }),
    );
    Someone { id, key: text(&key.ok()["api_key"]) }
}

fn name_of(org: &Org) -> String {
    text(&org.get(&org.founder, "/v1/organizations/me").ok()["name"])
}

fn address(name: &str) -> String {
    format!("{name}@people.example")
}

fn place(peer: &str) -> Place {
    let address: IpAddr = peer.parse().unwrap();
    Place { user_agent: UserAgent::of(Some("Browser/1 (a test)")), address: Some(address) }
}

fn attempt(server: &TestServer, name: &str, password: &str, peer: &str) -> Result<Answer, Error> {
    let attempt = Attempt {
        email: Email::parse(&address(name)).unwrap(),
        password: Password::parse(password.to_owned()).unwrap(),
        place: place(peer),
    };
    server.block_on(sign_in(&server.app, attempt, server.now()))
}

#[track_caller]
fn signed_in(server: &TestServer, name: &str) -> NewSession {
    match attempt(server, name, PASSWORD, "203.0.113.1") {
        Ok(Answer::SignedIn(session)) => session,
        other => panic!("{name} is not signed in: {other:?}"),
    }
}

/// The session of this token, after all that its request leaves to be written.
fn seen(server: &TestServer, token: &SessionToken) -> Result<SignedIn, Error> {
    let now = server.now();
    let seen = server.app.db.read(now, |tx| sessions::authenticate(tx, token));
    server.block_on(server.app.db.mark_ended(now.seed)).unwrap();
    seen
}

fn write<T: Send + 'static>(
    server: &TestServer,
    work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    server.block_on(server.app.db.write(server.now(), work))
}

/// Notes the use of a session, as every request does.
fn note_use(server: &TestServer, session: &NewSession) {
    let id = session.session.id.clone();
    write(server, move |tx| sessions::note_use(tx, &id)).unwrap();
}

fn wait(server: &TestServer, seconds: i64) {
    server.now.set(server.now.get().plus_seconds(seconds));
}

#[track_caller]
fn works(server: &TestServer, token: &SessionToken) -> bool {
    match seen(server, token) {
        Ok(_) => true,
        Err(Error::Unauthenticated) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn copy(token: &SessionToken) -> SessionToken {
    SessionToken::parse(token.reveal()).unwrap()
}

fn listed(org: &Org, by: &Someone) -> Vec<Value> {
    org.get(by, "/v1/users/me/sessions").ok()["items"].as_array().unwrap().clone()
}
