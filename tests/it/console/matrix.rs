//! Every page and every form, for every kind of person. `data/pages.txt` has what each answers; it is written by hand.

use guildhall::console::pages::PAGES;
use serde_json::json;

use crate::acme::Acme;
use crate::console::{Surfer, nobody, signed_in, with_passwords};

/// Nobody, an organization admin, an admin and a member of the team, members of another team and of none, and the admin of
/// another organization.
const PEOPLE: [&str; 7] = ["-", "ada", "tess", "max", "ian", "lone", "fay"];

fn world() -> Acme {
    let acme = Acme::new();
    with_passwords(&acme);
    for team in ["home", "research", "inference", "abroad"] {
        acme.model(team, &format!("model{team}"));
        let by = if team == "abroad" { "fay" } else { "ada" };
        let secret = json!({ "name": format!("secret-of-{team}"), "value": "x" });
        acme.post(by, &format!("/v1/teams/{team}/secrets"), secret);
    }
    acme
}

/// A path with ids of the team `research`. What does not exist there is the same for everyone who may look for it.
fn path_of(template: &str) -> String {
    template
        .replace("{team_id}", "research")
        .replace("{model_id}", "modelresearch")
        .replace("{user_id}", "ghost")
        .replace("{secret_name}", "secret-of-research")
        .replace("{env_name}", "production")
        .replace("{api_key_prefix}", "guild_00000000")
        .replace(['{', '}'], "")
}

fn surfer<'a>(acme: &'a Acme, who: &str) -> Surfer<'a> {
    if who == "-" { nobody(acme) } else { signed_in(acme, who) }
}

#[test]
fn every_page_is_for_those_whom_the_tables_let_in() {
    let acme = world();
    let people: Vec<Surfer> = PEOPLE.iter().map(|who| surfer(&acme, who)).collect();
    let mut found = String::new();
    // Signing out would end the sessions of the others' turns.
    for page in PAGES.iter().filter(|page| page.template != "/sign-out") {
        let mut answers = Vec::new();
        for surfer in &people {
            let answered = match page.method {
                "GET" => surfer.get(&path_of(page.template)),
                _ => surfer.send(&path_of(page.template), &[]),
            };
            let location = answered.header("location");
            let to_sign_in = location.starts_with("/sign-in?next") || location == "/sign-in";
            answers.push(if to_sign_in { "401".to_owned() } else { answered.status.to_string() });
        }
        found += &format!("{} {} {}\n", page.method, page.template, answers.join(" "));
    }
    let expected = include_str!("../data/pages.txt");
    let expected: String =
        expected.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let differ: Vec<_> = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect();
    assert!(differ.is_empty() && found.lines().count() == expected.lines().count(), "{}", differ.join("\n"));
}

/// Whoever may not list a team's secrets and models over the API finds their names on no page.
#[test]
fn no_page_shows_what_the_api_does_not_list() {
    let acme = world();
    for who in &PEOPLE[1..] {
        let surfer = surfer(&acme, who);
        let hidden: Vec<&str> = ["home", "research", "inference", "abroad"]
            .into_iter()
            .filter(|team| acme.send(who, "GET", &format!("/v1/teams/{team}/secrets"), None).status != 200)
            .collect();
        for page in PAGES.iter().filter(|page| page.method == "GET") {
            for team in ["home", "research", "inference", "abroad"] {
                let path = path_of(page.template).replace("research", team);
                let shown = surfer.get(&path);
                for hidden in &hidden {
                    let marks = [format!("model{hidden}"), format!("secret-of-{hidden}")];
                    // An address that was asked for is not told: the page of a refusal does not repeat it.
                    assert!(!marks.iter().any(|mark| shown.body.contains(mark)), "{who} sees {hidden} at {path}");
                }
            }
        }
    }
}
