//! Signing in with a code after the password.

use guildhall::db::{second_factor, sessions};
use guildhall::domain::second_factor::Code;
use guildhall::token::SessionToken;

use crate::acme::Acme;
use crate::console::{PASSWORD, Surfer, nobody, signed_in, with_passwords};

/// Sets up an authenticator for the person of this browser. Returns the recovery codes.
fn enrolled(acme: &Acme, surfer: &Surfer) -> Vec<String> {
    let server = &acme.server;
    let token = surfer.cookie.as_deref().and_then(|cookie| cookie.split_once('=')).expect("they are signed in").1;
    let token = SessionToken::parse(token).expect("it is a token");
    let set_up = move |tx: &guildhall::db::Tx| {
        let seen = sessions::authenticate(tx, &token)?;
        let (org, person) = seen.caller.as_member()?;
        let secret = second_factor::enrol(tx, person)?;
        let code = Code::parse(&secret.code_at(tx.now))?;
        let codes = second_factor::confirm(tx, &org, person, &code)?.expect("the code is right");
        Ok(codes.iter().map(|code| code.reveal()).collect())
    };
    server.block_on(server.app.db.write(server.now(), set_up)).unwrap()
}

#[test]
fn a_password_alone_signs_nobody_in_who_has_an_authenticator() {
    let acme = Acme::new();
    with_passwords(&acme);
    let recovery = enrolled(&acme, &signed_in(&acme, "tess"));
    let page = nobody(&acme).send("/sign-in", &[("email", "tess@example.com"), ("password", PASSWORD)]);
    assert_eq!((page.status, page.header("set-cookie")), (200, ""));
    let ticket = page.shows("one-time-code").between("name=\"ticket\" value=\"", "\"").to_owned();
    for wrong in ["000000", "", "<b>"] {
        let page = nobody(&acme).send("/sign-in", &[("ticket", &ticket), ("code", wrong)]);
        assert_eq!((page.status, page.header("set-cookie")), (401, ""), "{wrong}");
        page.shows("name=\"code\"");
    }
    let forged = nobody(&acme).send("/sign-in", &[("ticket", "00"), ("code", &recovery[0])]);
    assert_eq!((forged.status, forged.header("set-cookie")), (401, ""));
    let given = [("ticket", ticket.as_str()), ("code", recovery[0].as_str()), ("next", "//evil.example")];
    let page = nobody(&acme).send("/sign-in", &given);
    assert!(!page.leads_to("/").header("set-cookie").is_empty());
    assert_eq!(nobody(&acme).send("/sign-in", &given).status, 401, "a recovery code works once");
}
