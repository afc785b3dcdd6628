//! The proofs of the organization and of its teams.

use guildhall::policy::{Caller, OrgAct, OrgRole, Standing, TeamAct, TeamCategory, TeamRole};

use super::{
    ada, forbidden, id, key, key_for_environments, key_manager, lone, max, not_found, person, team, teams, tess,
};

#[test]
fn a_caller_has_one_standing_in_a_team_of_their_organization_and_none_elsewhere() {
    let expected = [
        (ada(), "research", Some(Standing::Admin)),
        (ada(), "abroad", None),
        (tess(), "research", Some(Standing::Admin)),
        (tess(), "inference", None),
        (max(), "research", Some(Standing::Member)),
        (max(), "home", None),
        (lone(), "home", None),
        (person("mole", OrgRole::Member, &[("abroad", TeamRole::Admin)]), "abroad", None),
        (key(TeamCategory::ManageAll), "research", Some(Standing::ManageAll)),
        (key(TeamCategory::Invoke), "research", Some(Standing::Invoke)),
        (key(TeamCategory::ExportMetrics), "research", Some(Standing::ExportMetrics)),
        (key(TeamCategory::ManageAll), "inference", None),
        (key_manager(), "research", Some(Standing::ManageApiKeys)),
        (key_manager(), "abroad", None),
    ];
    for (caller, name, standing) in expected {
        assert_eq!(caller.standing_in(&team(name)), standing, "{caller:?} in {name}");
    }
}

#[test]
fn a_proof_of_a_team_names_the_team_and_the_caller() {
    let (team, max) = (team("research"), max());
    let proof = max.in_team(&team, TeamAct::View).unwrap();
    assert!(std::ptr::eq(proof.team(), &team) && std::ptr::eq(proof.caller(), &max));
}

/// The marks of the table, by hand.
#[test]
fn each_standing_does_what_its_column_says_and_nothing_else() {
    use TeamAct::{CallModels, CreateApiKeys, CreateRestrictedEnvironments, Deploy, ManageMembers, View};
    let all = [ManageMembers, CreateRestrictedEnvironments, CreateApiKeys, Deploy, CallModels, View];
    let expected: [(Caller, &[TeamAct]); 7] = [
        (ada(), &all),
        (tess(), &all),
        (max(), &[Deploy, CallModels, View]),
        (key(TeamCategory::ManageAll), &[Deploy, CallModels, View]),
        (key(TeamCategory::Invoke), &[CallModels]),
        (key(TeamCategory::ExportMetrics), &[]),
        (key_manager(), &[CreateApiKeys]),
    ];
    for (caller, acts) in expected {
        for act in all {
            let decision = caller.in_team(&team("research"), act).map(drop);
            if acts.contains(&act) {
                decision.unwrap_or_else(|refusal| panic!("{act:?} by {caller:?}: {refusal}"));
            } else {
                let sentence = forbidden(decision);
                assert!(sentence.ends_with(&format!("does not include \"{}\"", act.wording())), "{sentence}");
            }
            assert_eq!(not_found(caller.in_team(&team("abroad"), act)), "team");
        }
    }
    assert_eq!(not_found(lone().in_team(&team("research"), View)), "team");
}

#[test]
fn a_refusal_names_the_role_or_the_category() {
    let about = |caller: &Caller| forbidden(caller.in_team(&team("research"), TeamAct::ManageMembers));
    assert_eq!(about(&max()), "the team role MEMBER does not include \"Manage team members\"");
    for (caller, category) in [
        (key(TeamCategory::ManageAll), "WORKSPACE_MANAGE_ALL"),
        (key(TeamCategory::Invoke), "WORKSPACE_INVOKE"),
        (key(TeamCategory::ExportMetrics), "WORKSPACE_EXPORT_METRICS"),
        (key_manager(), "WORKSPACE_MANAGE_API_KEYS"),
    ] {
        assert_eq!(about(&caller), format!("a key of category {category} does not include \"Manage team members\""));
    }
}

#[test]
fn a_key_narrowed_to_environments_deploys_nothing_team_wide() {
    let research = team("research");
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging", "canary"]);
    let sentence = forbidden(narrowed.in_team(&research, TeamAct::Deploy));
    assert_eq!(sentence, "this key is narrowed to the environments staging, canary and changes nothing else");
    for act in [TeamAct::View, TeamAct::CallModels] {
        narrowed.in_team(&research, act).unwrap();
    }
    for caller in [key(TeamCategory::ManageAll), max()] {
        caller.in_team(&research, TeamAct::Deploy).unwrap();
    }
}

#[test]
fn either_of_two_acts_is_enough_and_a_refusal_names_the_first() {
    let research = team("research");
    let ask = |caller: &Caller| caller.in_team_by_either(&research, TeamAct::View, TeamAct::CreateApiKeys).map(drop);
    ask(&max()).unwrap(); // by the first
    ask(&key_manager()).unwrap(); // by the second
    ask(&tess()).unwrap(); // by both
    assert!(forbidden(ask(&key(TeamCategory::Invoke))).ends_with("\"View team resources\""));
    assert_eq!(not_found(ask(&lone())), "team");
}

#[test]
fn a_row_about_a_person_is_open_to_that_person() {
    let research = team("research");
    let ask = |caller: &Caller, user| caller.in_team_or_self(&research, TeamAct::ManageMembers, user).map(drop);
    ask(&max(), "max").unwrap();
    ask(&tess(), "max").unwrap();
    forbidden(ask(&max(), "tess"));
    forbidden(ask(&key(TeamCategory::ManageAll), "guild_team"));
    forbidden(ask(&key_manager(), "guild_manager"));
    assert_eq!(not_found(ask(&lone(), "lone")), "team");
}

#[test]
fn the_default_team_is_known_to_everyone_so_its_refusal_is_a_403() {
    let home = team("home");
    let dora = person("dora", OrgRole::Member, &[("home", TeamRole::Member)]);
    dora.in_default_team(&home, TeamAct::Deploy).unwrap();
    ada().in_default_team(&home, TeamAct::Deploy).unwrap();
    let by_the_table = forbidden(dora.in_default_team(&home, TeamAct::CreateApiKeys));
    assert!(by_the_table.ends_with("\"Create team API keys\""), "{by_the_table}");
    let unseen = forbidden(max().in_default_team(&home, TeamAct::Deploy));
    assert!(unseen.contains("the default team, \"home\", and you are not in it"), "{unseen}");
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging"]);
    forbidden(narrowed.in_default_team(&team("research"), TeamAct::Deploy));
}

#[test]
fn model_apis_are_the_default_team_s() {
    let home = team("home");
    person("dora", OrgRole::Member, &[("home", TeamRole::Member)]).with_model_apis(&home).unwrap();
    ada().with_model_apis(&home).unwrap();
    for caller in [max(), lone(), key(TeamCategory::ManageAll)] {
        assert_eq!(forbidden(caller.with_model_apis(&home)), "Model APIs are only available in the default team");
    }
    assert!(forbidden(key_manager().with_model_apis(&home)).ends_with("\"View team resources\""));
}

#[test]
fn a_list_joins_the_teams_of_a_person_and_the_one_team_of_a_key() {
    let teams = teams();
    let joined = |caller: &Caller, act| -> Vec<String> {
        let proofs = caller.in_all(&teams, act).unwrap();
        proofs.iter().map(|proof| proof.team().name.clone()).collect()
    };
    assert_eq!(joined(&ada(), TeamAct::View), ["home", "research", "inference"]);
    assert_eq!(joined(&max(), TeamAct::View), ["research"]);
    assert_eq!(joined(&max(), TeamAct::ManageMembers), [""; 0], "a person is not refused");
    assert_eq!(joined(&lone(), TeamAct::View), [""; 0]);
    assert_eq!(joined(&key(TeamCategory::ManageAll), TeamAct::View), ["research"]);
    for caller in [key(TeamCategory::Invoke), key_manager()] {
        forbidden(caller.in_all(&teams, TeamAct::View));
    }
}

#[test]
fn a_list_by_either_act_joins_the_teams_of_both() {
    let teams = teams();
    let joined = |caller: &Caller| {
        caller.in_all_by_either(&teams, TeamAct::View, TeamAct::CreateApiKeys).map(|proofs| proofs.len())
    };
    assert_eq!(joined(&key_manager()).unwrap(), 3);
    assert_eq!(joined(&max()).unwrap(), 1);
    assert_eq!(joined(&lone()).unwrap(), 0);
    forbidden(joined(&key(TeamCategory::ExportMetrics)));
}

#[test]
fn the_organization_s_acts_are_the_admins() {
    for act in OrgAct::ALL.iter().copied() {
        let ada = ada();
        let proof = ada.in_org(act).unwrap();
        assert_eq!((proof.org_id().as_str(), proof.caller().prefix()), ("acme", "guild_ada"));
        assert_eq!(
            forbidden(tess().in_org(act)),
            format!("the organization role MEMBER does not include \"{}\"", act.wording())
        );
        for caller in [key(TeamCategory::ManageAll), key_manager()] {
            let sentence = format!("\"{}\" needs an organization role, and this key is no person's", act.wording());
            assert_eq!(forbidden(caller.in_org(act)), sentence);
        }
    }
}

#[test]
fn the_organization_s_acts_about_a_team_ask_whether_it_is_seen() {
    let ask = |caller: &Caller, name| caller.in_org_about(&team(name), OrgAct::ManageTeams).map(drop);
    ask(&ada(), "research").unwrap();
    assert_eq!(not_found(ask(&ada(), "abroad")), "team");
    assert_eq!(not_found(ask(&max(), "inference")), "team");
    for caller in [max(), tess(), key(TeamCategory::ManageAll), key_manager()] {
        forbidden(ask(&caller, "research"));
    }
}

#[test]
fn a_row_about_a_member_of_the_organization_is_open_to_that_member() {
    let ask = |caller: &Caller, user| caller.in_org_or_self(OrgAct::ManageMembers, user).map(drop);
    ask(&max(), "max").unwrap();
    ask(&ada(), "max").unwrap();
    forbidden(ask(&max(), "tess"));
    forbidden(ask(&key(TeamCategory::ManageAll), "max"));
    let hidden = |caller: &Caller, user| caller.in_org_or_self_alone(OrgAct::ManageMembers, user).map(drop);
    hidden(&max(), "max").unwrap();
    hidden(&ada(), "max").unwrap();
    assert_eq!(not_found(hidden(&max(), "tess")), "user");
    for caller in [key(TeamCategory::ManageAll), key_manager()] {
        assert!(forbidden(hidden(&caller, "max")).contains("needs a personal key"));
    }
}

#[test]
fn a_member_is_a_person() {
    let max = max();
    let (proof, person) = max.as_member().unwrap();
    assert_eq!((proof.org_id().as_str(), person.user_id.as_str()), ("acme", "max"));
    for caller in [key(TeamCategory::ManageAll), key_manager()] {
        forbidden(caller.as_member());
        assert_eq!(caller.own_org().org_id().as_str(), "acme", "of which it is, it may know");
    }
}

#[test]
fn a_caller_is_known_by_the_key_that_was_sent_and_an_author_by_their_id() {
    let told = |caller: &Caller| (caller.prefix().to_owned(), caller.author().to_owned());
    let both = |prefix: &str, author: &str| (prefix.to_owned(), author.to_owned());
    assert_eq!(told(&max()), both("guild_max", "max"));
    assert_eq!(told(&key(TeamCategory::Invoke)), both("guild_team", "guild_team"));
    assert_eq!(told(&key_manager()), both("guild_manager", "guild_manager"));
    assert!(max().is_person("max") && !max().is_person("tess") && !key_manager().is_person("guild_manager"));
}

#[test]
fn an_explicit_role_is_that_of_its_team() {
    let max = max();
    let person = max.as_member().unwrap().1;
    assert_eq!(person.explicit_role_in(&id("research")), Some(TeamRole::Member));
    assert_eq!(person.explicit_role_in(&id("home")), None);
}
