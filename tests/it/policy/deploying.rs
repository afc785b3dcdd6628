//! Who may deploy, into which environments, and in which team if none is named.

use guildhall::policy::{Caller, Deployers, OrgRole, Reader, Restriction, TeamCategory, TeamRole, nowhere};

use super::{
    ada, environment, forbidden, id, key, key_for_environments, key_manager, lone, max, not_found, person, team, teams,
    tess,
};

fn restriction(users: &[&str], prefixes: &[&str]) -> Restriction {
    Restriction {
        users: users.iter().map(|user| id(user)).collect(),
        api_key_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
    }
}

#[test]
fn whoever_has_the_row_deploys_in_the_team() {
    let research = team("research");
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging"]);
    for caller in [ada(), tess(), max(), key(TeamCategory::ManageAll), narrowed] {
        let deployer = caller.to_deploy(&research).unwrap();
        assert!(std::ptr::eq(deployer.team(), &research) && std::ptr::eq(deployer.caller(), &caller));
    }
    for caller in [key(TeamCategory::Invoke), key(TeamCategory::ExportMetrics), key_manager()] {
        assert!(forbidden(caller.to_deploy(&research)).ends_with("\"Deploy models, Chains, and training projects\""));
    }
    assert_eq!(not_found(lone().to_deploy(&research)), "team");
    assert_eq!(not_found(ada().to_deploy(&team("abroad"))), "team");
}

#[test]
fn what_touches_no_environment_is_not_for_a_narrowed_key() {
    let research = team("research");
    for caller in [max(), key(TeamCategory::ManageAll)] {
        assert_eq!(caller.to_deploy(&research).unwrap().in_team().unwrap().team().name, "research");
    }
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging"]);
    forbidden(narrowed.to_deploy(&research).unwrap().in_team());
}

#[test]
fn an_environment_without_a_restriction_is_open_to_whoever_deploys_and_is_not_narrowed_to_others() {
    let research = team("research");
    let ask = |caller: &Caller, name: &str| {
        let changed = caller.to_deploy(&research).unwrap().in_environment(environment(name), None)?;
        assert_eq!((changed.name().as_str(), changed.team().name.as_str()), (name, "research"));
        assert_eq!(changed.caller().prefix(), caller.prefix());
        Ok(())
    };
    for caller in [ada(), tess(), max(), key(TeamCategory::ManageAll)] {
        ask(&caller, "production").unwrap();
    }
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging"]);
    ask(&narrowed, "staging").unwrap();
    let sentence = forbidden(ask(&narrowed, "production"));
    assert_eq!(sentence, "this key is narrowed to the environments staging and changes nothing else");
    let nothing = key_for_environments(TeamCategory::ManageAll, &[]);
    forbidden(ask(&nothing, "production"));
}

#[test]
fn a_restricted_environment_is_for_team_admins_and_for_its_list() {
    let research = team("research");
    let list = restriction(&["listed"], &["guild_team"]);
    let ask = |caller: &Caller, list: &Restriction| {
        caller.to_deploy(&research).unwrap().in_environment(environment("staging"), Some(list)).map(drop)
    };
    let listed = person("listed", OrgRole::Member, &[("research", TeamRole::Member)]);
    for caller in [ada(), tess(), listed, key(TeamCategory::ManageAll)] {
        ask(&caller, &list).unwrap();
    }
    assert_eq!(
        forbidden(ask(&max(), &list)),
        "the environment \"staging\" of team \"research\" is restricted and you are not on its list: ask a team admin"
    );
    let other_key = restriction(&["max"], &["guild_other"]);
    forbidden(ask(&key(TeamCategory::ManageAll), &other_key));
    ask(&max(), &other_key).unwrap();
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["canary"]);
    assert!(forbidden(ask(&narrowed, &list)).contains("narrowed"), "a list does not widen a key");
    ask(&key_for_environments(TeamCategory::ManageAll, &["staging"]), &list).unwrap();
}

fn names(deployers: &Deployers) -> Vec<String> {
    deployers.iter().map(|deployer| deployer.team().name.clone()).collect()
}

#[test]
fn whoever_deploys_somewhere_gets_the_teams_in_which_they_do() {
    let teams = teams();
    assert_eq!(names(&ada().to_deploy_in_any(&teams).unwrap()), ["home", "research", "inference"]);
    assert_eq!(names(&max().to_deploy_in_any(&teams).unwrap()), ["research"]);
    let narrowed = key_for_environments(TeamCategory::ManageAll, &["staging"]);
    assert_eq!(names(&narrowed.to_deploy_in_any(&teams).unwrap()), ["research"]);
    assert_eq!(forbidden(lone().to_deploy_in_any(&teams)), forbidden::<()>(Err(nowhere())));
    assert!(forbidden(key(TeamCategory::Invoke).to_deploy_in_any(&teams)).contains("WORKSPACE_INVOKE"));
    forbidden(key_manager().to_deploy_in_any(&teams));
}

#[test]
fn where_no_team_is_named_it_is_the_only_one_or_else_one_s_own() {
    let teams = teams();
    let both = person("both", OrgRole::Member, &[("home", TeamRole::Member), ("research", TeamRole::Member)]);
    let two = person("two", OrgRole::Member, &[("inference", TeamRole::Member), ("research", TeamRole::Member)]);
    let target = |caller: &Caller, team_id: Option<&str>| {
        let deployers = caller.to_deploy_in_any(&teams)?;
        deployers.target(team_id).map(|deployer| deployer.team().name.clone())
    };
    assert_eq!(target(&ada(), Some("inference")).unwrap(), "inference");
    assert_eq!(not_found(target(&max(), Some("inference"))), "team");
    assert_eq!(not_found(target(&ada(), Some("abroad"))), "team");
    assert_eq!(target(&max(), None).unwrap(), "research", "the only one");
    assert_eq!(target(&both, None).unwrap(), "home", "the default team");
    assert_eq!(target(&ada(), None).unwrap(), "home");
    assert_eq!(target(&key(TeamCategory::ManageAll), None).unwrap(), "research");
    assert!(forbidden(target(&two, None)).starts_with("you may not deploy in the default team"));
}

#[test]
fn one_s_own_team_is_the_key_s_or_the_default_team() {
    let teams = teams();
    let own = |caller: &Caller| {
        let deployers = caller.to_deploy_in_any(&teams)?;
        assert_eq!(deployers.caller().prefix(), caller.prefix());
        deployers.own().map(|deployer| deployer.team().name.clone())
    };
    assert_eq!(own(&ada()).unwrap(), "home");
    assert_eq!(own(&key(TeamCategory::ManageAll)).unwrap(), "research");
    assert!(forbidden(own(&max())).starts_with("you may not deploy in the default team"));
}

#[test]
fn a_deployer_and_whoever_changes_an_environment_read_their_team() {
    let (research, max) = (team("research"), max());
    let deployer = max.to_deploy(&research).unwrap();
    let changes = deployer.in_environment(environment("staging"), None).unwrap();
    let everywhere = deployer.in_team().unwrap();
    for told in [read(&deployer), read(&changes), read(&everywhere)] {
        assert_eq!(told, ("research".to_owned(), "guild_max".to_owned()));
    }
}

fn read(reader: &impl Reader) -> (String, String) {
    (reader.team().name.clone(), reader.caller().prefix().to_owned())
}
