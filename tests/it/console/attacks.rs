//! What other sites, other sessions and hostile names try.

use guildhall::api::Browser;
use serde_json::json;

use crate::acme::Acme;
use crate::console::{PASSWORD, nobody, signed_in, with_passwords};

#[test]
fn a_form_of_another_site_is_refused() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    let body = format!("name=stolen&value=x&csrf={}", ada.token());
    let send = |fetch_site: Option<&str>, origin: Option<&str>| {
        let mut request = ada.request("POST", "/t/research/settings/secrets/set", body.clone().into_bytes());
        request.browser =
            Browser { fetch_site: fetch_site.map(str::to_owned), origin: origin.map(str::to_owned), ..request.browser };
        ada.answer(request).status
    };
    for (fetch_site, origin) in [
        (Some("cross-site"), Some("https://evil.example")),
        (Some("same-site"), Some("http://other.localhost:8000")),
        (Some("cross-site"), None),
        (None, Some("https://evil.example")),
        (None, Some("null")),
        (None, Some("http://localhost:8001")),
        (None, None),
    ] {
        assert_eq!(send(fetch_site, origin), 403, "{fetch_site:?} {origin:?}");
    }
    assert!(!acme.content().contains("stolen"));
    assert_eq!(send(None, Some("http://localhost:8000")), 303);
    assert_eq!(send(Some("same-origin"), None), 303);
}

#[test]
fn a_form_without_the_token_of_its_session_is_refused() {
    let acme = Acme::new();
    with_passwords(&acme);
    let (ada, grace) = (signed_in(&acme, "ada"), signed_in(&acme, "grace"));
    let of_another = grace.token();
    for token in ["", "x", of_another.as_str()] {
        let body = format!("name=stolen&value=x&csrf={token}");
        let page = ada.answer(ada.request("POST", "/t/research/settings/secrets/set", body.into_bytes()));
        assert_eq!(page.status, 403, "{token}");
    }
    assert!(!acme.content().contains("stolen"));
}

#[test]
fn every_page_has_the_headers_that_protect_it() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    for page in
        [ada.get("/account"), ada.get("/t/nowhere"), nobody(&acme).get("/sign-in"), nobody(&acme).get("/account")]
    {
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    let page = ada.get("/account");
    assert!(!page.body.contains(" style=\"") && !page.body.contains("<script>") && !page.body.contains("onclick="));
    assert!(!page.body.contains("https://"), "a page names another site");
}

#[test]
fn assets_are_kept_for_good_under_names_that_change_with_their_content() {
    let acme = Acme::new();
    let page = nobody(&acme).get("/sign-in");
    let style = page.between("rel=\"stylesheet\" href=\"", "\"").to_owned();
    let script = page.between("type=\"module\" src=\"", "\"").to_owned();
    for path in [style, script.clone()] {
        let file = nobody(&acme).get(&path);
        assert_eq!((file.status, file.header("cache-control")), (200, "public, max-age=31536000, immutable"), "{path}");
    }
    assert!(nobody(&acme).get(&script).body.len() <= 10_000, "the script is larger than 10 kB");
    assert_eq!(nobody(&acme).get("/assets/guildhall.0000000000000000.css").status, 404);
}

/// Names that would be code if a page did not escape them. Each carries a mark that must not appear unescaped.
const HOSTILE: &[&str] = &[
    "<script>xss()</script>",
    "\"><img src=x onerror=xss()>",
    "'-xss()-'",
    "</title><svg/onload=xss()>",
    "{{7*7}}<b>xss</b>",
    "javascript:xss()<i>",
];

#[test]
fn hostile_names_are_text_everywhere() {
    let acme = Acme::new();
    with_passwords(&acme);
    let pages = |surfer: &crate::console::Surfer, model: &str| {
        let mut paths = vec![
            "/account".to_owned(),
            "/settings/members".into(),
            "/settings/teams".into(),
            "/settings/activity".into(),
            "/settings/permissions".into(),
            "/settings/general".into(),
            "/settings/members?dialog=invite".into(),
            "/settings/members?dialog=edit&about=tess".into(),
            "/settings/members?dialog=remove&about=tess".into(),
        ];
        for rest in [
            "",
            "/models",
            "/settings",
            "/settings/members",
            "/settings/api-keys",
            "/settings?dialog=delete",
            "/settings/api-keys?dialog=create",
            "/settings/environments",
            "/chains",
            "/training",
            "/settings/secrets",
        ] {
            paths.push(format!("/t/research{rest}"));
        }
        for rest in ["", "?dialog=delete", "?dialog=rename", "?dialog=promote&about=production"] {
            paths.push(format!("/t/research/models/{model}{rest}"));
        }
        paths.into_iter().map(|path| (surfer.get(&path), path)).collect::<Vec<_>>()
    };
    acme.model("research", "modelone");
    for name in HOSTILE {
        let ada = signed_in(&acme, "ada");
        acme.patch("ada", "/v1/teams/research", json!({ "name": name }));
        acme.patch("ada", "/v1/organizations/me", json!({ "name": name }));
        acme.patch("ada", "/v1/models/modelone", json!({ "name": name }));
        for who in ["ada", "tess"] {
            acme.patch(who, "/v1/users/me", json!({ "name": name }));
        }
        for (page, path) in pages(&ada, "modelone") {
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            let raw = page.body.contains(name) && name.contains(['<', '>', '"']);
            assert!(
                !raw && !page.body.contains("<img src=x") && !page.body.contains("<svg/onload"),
                "{path} with {name}"
            );
        }
    }
}

#[test]
fn what_was_typed_into_a_refused_form_is_text_too() {
    let acme = Acme::new();
    with_passwords(&acme);
    let ada = signed_in(&acme, "ada");
    for name in HOSTILE {
        for (path, fields) in [
            ("/t/research/settings/secrets/set", vec![("name", *name), ("value", "x")]),
            ("/settings/members/invite", vec![("email", *name), ("role", "MEMBER")]),
            ("/settings/teams/create", vec![("name", ""), ("icon", *name)]),
            ("/t/research/settings/environments/create", vec![("name", *name)]),
            ("/t/research/settings/api-keys/create", vec![("kind", "team"), ("team_id", "research"), ("name", *name)]),
        ] {
            let page = ada.send(path, &fields);
            assert_eq!(page.status, 400, "{path}: {}", page.body);
            assert!(!page.body.contains(name) || !name.contains(['<', '"']), "{path} with {name}");
            page.shows("role=\"alert\"");
        }
    }
}

#[test]
fn a_wrong_password_says_nothing_about_the_address() {
    let acme = Acme::new();
    with_passwords(&acme);
    let wrong = |email: &str| {
        let page = nobody(&acme).send("/sign-in", &[("email", email), ("password", "not the password")]);
        assert_eq!(page.status, 401);
        page.body.replace(email, "")
    };
    assert_eq!(wrong("ada@example.com"), wrong("nobody@example.com"));
}

#[test]
fn signing_in_leads_back_here_alone() {
    let acme = Acme::new();
    with_passwords(&acme);
    let sign_in = |next: &str| {
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", next)];
        nobody(&acme).send("/sign-in", &fields).header("location").to_owned()
    };
    assert_eq!(sign_in("/t/research/models"), "/t/research/models");
    for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example"] {
        assert_eq!(sign_in(elsewhere), "/");
    }
}

#[test]
fn the_page_of_a_person_who_was_removed_is_refused_at_the_next_click() {
    let acme = Acme::new();
    with_passwords(&acme);
    let max = signed_in(&acme, "max");
    assert_eq!(max.get("/t/research/models").status, 200);
    acme.delete("ada", "/v1/users/max");
    max.get("/t/research/models").leads_to("/sign-in?next=/t/research/models");
}
