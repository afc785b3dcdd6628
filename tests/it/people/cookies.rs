//! What does the cookie of a session say, and what is read from one?

use guildhall::domain::BaseUrl;
use guildhall::domain::sessions::Cookie;

use super::*;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

#[test]
fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    let token = SessionToken::parse(TOKEN).unwrap();
    let of = |url: &str| Cookie::of(&BaseUrl::parse(url).unwrap()).set(&token);
    let always = format!("={TOKEN}; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax");
    assert_eq!(of("https://guildhall.example.com"), format!("__Host-guildhall{always}; Secure"));
    assert_eq!(of("http://10.0.0.5:8000"), format!("guildhall{always}"));
    assert!(Cookie::Secure.clear().starts_with("__Host-guildhall=; Path=/; Max-Age=0;"));
}

#[test]
fn a_token_is_read_only_from_the_one_cookie_of_its_name() {
    let read = |header: &str| Cookie::Plain.token(header).map(|token| token.reveal().to_owned());
    assert_eq!(read(&format!("guildhall={TOKEN}")).as_deref(), Some(TOKEN));
    assert_eq!(read(&format!("a=b; guildhall={TOKEN}; c=d")).as_deref(), Some(TOKEN));
    for other in [
        String::new(),
        "guildhall=".to_owned(),
        format!("guildhall={}", &TOKEN[1..]),
        format!("guildhall={}!", &TOKEN[1..]),
        format!("__Host-guildhall={TOKEN}"),
        format!("Guildhall={TOKEN}"),
        format!("guildhall={TOKEN}; guildhall={TOKEN}"), // one of them may be another site's
    ] {
        assert_eq!(read(&other), None, "{other}");
    }
}

#[test]
fn a_token_is_not_printed() {
    assert!(!format!("{:?}", SessionToken::parse(TOKEN).unwrap()).contains("0123"));
}

#[test]
fn what_a_browser_calls_itself_is_kept_short_and_on_one_line() {
    let long = UserAgent::of(Some(&"ä".repeat(300)));
    assert_eq!(long.as_str().chars().count(), 200);
    assert_eq!(UserAgent::of(Some("one\r\ntwo\u{7}")).as_str(), "onetwo");
    assert_eq!(UserAgent::of(None).as_str(), "");
}
