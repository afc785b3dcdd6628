//! The console: pages and forms, sent as a browser sends them, without a socket and without JavaScript.

use guildhall::api::{Browser, Reply, Request};
use guildhall::console::dispatch;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::acme::Acme;

mod attacks;
mod codes;
mod flows;
mod matrix;

pub const PASSWORD: &str = "correct horse battery";

/// A browser of one person.
pub struct Surfer<'a> {
    acme: &'a Acme,
    cookie: Option<String>,
}

/// What a page answered.
pub struct Page {
    pub status: u16,
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Page {
    fn of(reply: Reply) -> Page {
        let body = String::from_utf8(reply.body).expect("pages are UTF-8");
        Page { status: reply.status, body, headers: reply.headers }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| *header == name).map_or("", |(_, value)| value)
    }

    /// The text between two marks.
    #[track_caller]
    pub fn between(&self, start: &str, end: &str) -> &str {
        let rest = self.body.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.body)).1;
        rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {start}")).0
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> &Page {
        assert!(self.body.contains(text), "{} shows no {text}:\n{}", self.status, self.body);
        self
    }

    #[track_caller]
    pub fn leads_to(&self, path: &str) -> &Page {
        assert_eq!((self.status, self.header("location")), (303, path), "{}", self.body);
        self
    }
}

/// Gives everyone of the organizations the same password.
pub fn with_passwords(acme: &Acme) {
    let made: Value = acme.post("ada", "/v1/users/grace/reset", serde_json::json!({}));
    let url = made["reset_url"].as_str().expect("a reset has a link").to_owned();
    let token = url.rsplit('/').next().unwrap();
    nobody(acme).send(&format!("/reset/{token}"), &[("password", PASSWORD)]).leads_to("/sign-in?done=password");
    acme.run("UPDATE user SET password_hash = (SELECT password_hash FROM user WHERE id = 'grace')");
}

pub fn nobody(acme: &Acme) -> Surfer<'_> {
    Surfer { acme, cookie: None }
}

/// Signs somebody in.
pub fn signed_in<'a>(acme: &'a Acme, who: &str) -> Surfer<'a> {
    let mut surfer = nobody(acme);
    let page = surfer.send("/sign-in", &[("email", &format!("{who}@example.com")), ("password", PASSWORD)]);
    page.leads_to("/");
    surfer.cookie = Some(page.header("set-cookie").split(';').next().unwrap().to_owned());
    surfer
}

impl Surfer<'_> {
    pub fn request(&self, method: &str, target: &str, body: Vec<u8>) -> Request {
        let request = self.acme.server.request(None, method, target, body);
        let browser =
            Browser { cookie: self.cookie.clone(), fetch_site: Some("same-origin".to_owned()), ..Browser::default() };
        let content_type = Some("application/x-www-form-urlencoded".to_owned());
        Request { browser, content_type, ..request }
    }

    pub fn answer(&self, request: Request) -> Page {
        assert!(dispatch::serves(&request), "{:?} is not of the console", request.path);
        Page::of(self.acme.server.block_on(dispatch::answer(&self.acme.server.app, request)))
    }

    pub fn get(&self, target: &str) -> Page {
        self.answer(self.request("GET", target, Vec::new()))
    }

    /// Sends a form as the page with it would, with the token of the session.
    pub fn send(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.cookie.as_ref().map(|_| self.token());
        let token = token.as_deref().map(|token| ("csrf", token));
        let encoded: Vec<String> = fields
            .iter()
            .copied()
            .chain(token)
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.answer(self.request("POST", path, encoded.join("&").into_bytes()))
    }

    /// The token that the forms of this session carry.
    pub fn token(&self) -> String {
        let page = self.get("/account");
        page.between("name=\"csrf\" value=\"", "\"").to_owned()
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
