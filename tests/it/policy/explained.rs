//! The content of an explanation, for each kind of caller and question.

use guildhall::policy::{Caller, Explanation, OrgAct, OrgRole, Question, Restriction, TeamAct, TeamCategory, TeamRole};

use super::{
    ada, environment, forbidden, id, key, key_for_environments, key_for_models, key_manager, lone, max, not_found,
    person, team, tess,
};

/// Whether it is allowed, and all sentences.
fn told(explanation: &Explanation) -> (bool, Vec<&str>) {
    (explanation.allowed, explanation.because.iter().map(String::as_str).collect())
}

#[test]
fn an_act_of_the_organization_is_explained_by_the_organization_s_role() {
    let question = Question::Org(OrgAct::ManageTeams);
    assert_eq!(
        told(&ada().explain(question)),
        (true, vec!["the organization role is ADMIN", "that includes \"Manage teams\""])
    );
    assert_eq!(
        told(&max().explain(question)),
        (
            false,
            vec!["the organization role is MEMBER", "the organization role MEMBER does not include \"Manage teams\""]
        )
    );
    let no_person = "\"Manage teams\" needs an organization role, and this key is no person's";
    assert_eq!(
        told(&key(TeamCategory::ManageAll).explain(question)),
        (false, vec!["a team API key holds no organization role", no_person])
    );
    assert_eq!(
        told(&key_manager().explain(question)),
        (false, vec!["a key-managing key holds no organization role", no_person])
    );
}

#[test]
fn an_act_in_a_team_is_explained_by_the_standing_there() {
    let research = team("research");
    let ask = |caller: &Caller| {
        let Explanation { allowed, because } = caller.explain(Question::Team(&research, TeamAct::CallModels));
        (allowed, because[0].clone(), because[1].clone())
    };
    let yes = "that includes \"Call models\"";
    let expected = [
        (
            ada(),
            true,
            "an organization admin is an admin of every team of the organization, so also of \"research\"",
            yes,
        ),
        (tess(), true, "the team role in \"research\" is ADMIN", yes),
        (max(), true, "the team role in \"research\" is MEMBER", yes),
        (lone(), false, "not a member of \"research\"", "no such team"),
        (key(TeamCategory::Invoke), true, "a key of \"research\" with category WORKSPACE_INVOKE", yes),
        (
            key_for_environments(TeamCategory::ManageAll, &["staging"]),
            true,
            "a key of \"research\" with category WORKSPACE_MANAGE_ALL, narrowed to environments",
            yes,
        ),
        (
            key_manager(),
            false,
            "a key that manages the team keys of its organization",
            "a key of category WORKSPACE_MANAGE_API_KEYS does not include \"Call models\"",
        ),
    ];
    for (caller, allowed, first, second) in expected {
        assert_eq!(ask(&caller), (allowed, first.to_owned(), second.to_owned()), "{caller:?}");
    }
    let elsewhere = key(TeamCategory::Invoke).explain(Question::Team(&team("inference"), TeamAct::CallModels));
    assert_eq!(told(&elsewhere), (false, vec!["a key of another team than \"inference\"", "no such team"]));
}

#[test]
fn changing_an_environment_is_explained_by_its_restriction() {
    let research = team("research");
    let staging = environment("staging");
    let list = Restriction { users: vec![id("listed")], api_key_prefixes: Vec::new() };
    let ask = |caller: &Caller, list| caller.explain(Question::ChangeEnvironment(&research, &staging, list));
    let listed = person("listed", OrgRole::Member, &[("research", TeamRole::Member)]);
    let role = "the team role in \"research\" is MEMBER";
    let restricted = "the environment \"staging\" of \"research\" is restricted";
    assert_eq!(told(&ask(&listed, Some(&list))), (true, vec![role, restricted, "so it may be changed"]));
    let refused =
        "the environment \"staging\" of team \"research\" is restricted and you are not on its list: ask a team admin";
    assert_eq!(told(&ask(&max(), Some(&list))), (false, vec![role, restricted, refused]));
    let open = "the environment \"staging\" of \"research\" is not restricted";
    assert_eq!(told(&ask(&max(), None)), (true, vec![role, open, "so it may be changed"]));
    assert!(!ask(&key(TeamCategory::Invoke), None).allowed);
    assert!(!ask(&lone(), None).allowed);
}

/// The third sentence is of what no row of the tables says.
#[test]
fn what_no_row_says_is_said_beside_the_tables() {
    let ask = |caller: &Caller, name: &str, act: TeamAct| {
        let because = caller.explain(Question::Team(&team(name), act)).because;
        assert!(because.len() <= 3, "{because:?}");
        because.get(2).cloned()
    };
    let (invoke, export) = (TeamCategory::Invoke, TeamCategory::ExportMetrics);
    let narrowed = |category| key_for_models(category, &["llama"]);
    let expected = [
        (
            narrowed(invoke),
            TeamAct::CallModels,
            Some("but this key is narrowed to the model llama and calls nothing else"),
        ),
        (key(invoke), TeamAct::CallModels, None),
        (narrowed(export), TeamAct::CallModels, None),
        (narrowed(invoke), TeamAct::View, None),
        (
            key(export),
            TeamAct::View,
            Some("but a key of this category reads metrics, and this one those of the whole team"),
        ),
        (
            narrowed(export),
            TeamAct::View,
            Some("but a key of this category reads metrics, and this one those of the model llama"),
        ),
        (narrowed(export), TeamAct::Deploy, None),
        (key_manager(), TeamAct::View, Some("but a key of this category sees which teams there are, and their names")),
        (key_manager(), TeamAct::CreateApiKeys, None),
        (max(), TeamAct::View, None),
    ];
    for (caller, act, sentence) in expected {
        assert_eq!(ask(&caller, "research", act).as_deref(), sentence, "{act:?} by {caller:?}");
    }
    assert_eq!(ask(&key(export), "inference", TeamAct::View), None);
    assert_eq!(ask(&key_manager(), "abroad", TeamAct::View), None);
}

#[test]
fn whoever_manages_the_members_asks_about_others() {
    let research = team("research");
    for caller in [ada(), tess()] {
        caller.may_ask_about_others(Some(&research)).unwrap();
    }
    for caller in [max(), key(TeamCategory::ManageAll), key_manager()] {
        forbidden(caller.may_ask_about_others(Some(&research)));
    }
    assert_eq!(not_found(lone().may_ask_about_others(Some(&research))), "team");
    ada().may_ask_about_others(None).unwrap();
    for caller in [tess(), key(TeamCategory::ManageAll)] {
        forbidden(caller.may_ask_about_others(None));
    }
}
