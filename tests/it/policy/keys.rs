//! Who sees, makes, replaces and revokes API keys, and how long a new one lasts.

use guildhall::domain::api_keys::KeyKind;
use guildhall::domain::{Time, UserId};
use guildhall::policy::keys::{KeysSeen, Lifetime};
use guildhall::policy::{Caller, Category, OrgRole, TeamCategory, TeamRole};

use super::{ada, forbidden, id, key, key_manager, lone, max, not_found, person, team, tess};

#[test]
fn a_kind_of_key_has_a_category_and_is_of_a_person_or_of_a_team() {
    let (owner, research): (UserId, _) = (id("max"), team("research"));
    let told = |kind: KeyKind| {
        let user = kind.user_id().map(|user| user.as_str().to_owned());
        (kind.category(), user, kind.team().map(|team| team.name.clone()))
    };
    assert_eq!(told(KeyKind::Personal(&owner)), (Category::Personal, Some("max".to_owned()), None));
    assert_eq!(
        told(KeyKind::Team(TeamCategory::Invoke, &research)),
        (Category::Team(TeamCategory::Invoke), None, Some("research".to_owned()))
    );
    assert_eq!(told(KeyKind::ManageApiKeys), (Category::ManageApiKeys, None, None));
}

// ---- making and replacing ----

#[test]
fn a_team_s_key_makes_no_key() {
    for caller in [ada(), lone(), key_manager()] {
        assert_eq!(caller.as_key_maker().unwrap().caller().prefix(), caller.prefix());
    }
    for category in [TeamCategory::ManageAll, TeamCategory::Invoke, TeamCategory::ExportMetrics] {
        assert!(forbidden(key(category).as_key_maker()).starts_with("a team's API key manages no keys"));
    }
}

#[test]
fn keys_of_a_team_are_made_by_whoever_has_the_row_there() {
    let research = team("research");
    for caller in [ada(), tess(), key_manager()] {
        assert_eq!(caller.as_key_maker().unwrap().in_team(&research).unwrap().team().name, "research");
    }
    assert!(forbidden(max().as_key_maker().unwrap().in_team(&research)).ends_with("\"Create team API keys\""));
    assert_eq!(not_found(lone().as_key_maker().unwrap().in_team(&research)), "team");
}

#[test]
fn keys_of_the_default_team_are_refused_with_a_403() {
    let home = team("home");
    let lead = person("lead", OrgRole::Member, &[("home", TeamRole::Admin)]);
    for caller in [ada(), lead, key_manager()] {
        assert_eq!(caller.as_key_maker().unwrap().in_default_team(&home).unwrap().team().name, "home");
    }
    forbidden(
        person("dora", OrgRole::Member, &[("home", TeamRole::Member)]).as_key_maker().unwrap().in_default_team(&home),
    );
    assert!(forbidden(tess().as_key_maker().unwrap().in_default_team(&home)).contains("the default team"));
}

#[test]
fn each_kind_of_key_has_its_makers() {
    let (owner, research): (UserId, _) = (id("max"), team("research"));
    let over = |caller: &Caller, kind: KeyKind| {
        let maker = caller.as_key_maker().unwrap();
        let made = maker.over(kind)?;
        assert_eq!((made.caller().prefix(), made.kind().category()), (caller.prefix(), kind.category()));
        Ok(())
    };
    let personal = KeyKind::Personal(&owner);
    over(&max(), personal).unwrap();
    for caller in [ada(), tess(), key_manager()] {
        assert_eq!(forbidden(over(&caller, personal)), "a personal API key is made and replaced by its owner alone");
    }
    let of_team = KeyKind::Team(TeamCategory::Invoke, &research);
    for caller in [ada(), tess(), key_manager()] {
        over(&caller, of_team).unwrap();
    }
    forbidden(over(&max(), of_team));
    assert_eq!(not_found(over(&lone(), of_team)), "team");
    over(&ada(), KeyKind::ManageApiKeys).unwrap();
    for caller in [tess(), key_manager()] {
        forbidden(over(&caller, KeyKind::ManageApiKeys));
    }
}

#[test]
fn restricted_environments_are_granted_by_whoever_makes_them() {
    let research = team("research");
    let grants = |caller: &Caller, kind: KeyKind| caller.as_key_maker().unwrap().over(kind).unwrap().may_grant();
    let of_team = KeyKind::Team(TeamCategory::ManageAll, &research);
    assert!(grants(&ada(), of_team) && grants(&tess(), of_team));
    assert!(!grants(&key_manager(), of_team));
    assert!(!grants(&ada(), KeyKind::ManageApiKeys), "it is of no team");
}

// ---- revoking ----

#[test]
fn a_key_is_revoked_by_itself_by_its_makers_and_a_person_s_by_an_admin() {
    let (owner, research): (UserId, _) = (id("max"), team("research"));
    let revoke = |caller: &Caller, prefix: &str, kind: KeyKind| {
        let revoked = caller.to_revoke(prefix, kind)?;
        assert_eq!((revoked.caller().prefix(), revoked.kind().category()), (caller.prefix(), kind.category()));
        Ok(())
    };
    let of_team = KeyKind::Team(TeamCategory::Invoke, &research);
    let personal = KeyKind::Personal(&owner);
    revoke(&key(TeamCategory::Invoke), "guild_team", of_team).unwrap();
    revoke(&key_manager(), "guild_manager", KeyKind::ManageApiKeys).unwrap();
    forbidden(revoke(&key(TeamCategory::ManageAll), "guild_other", of_team));
    forbidden(revoke(&key_manager(), "guild_other", KeyKind::ManageApiKeys));
    for caller in [ada(), tess(), key_manager()] {
        revoke(&caller, "guild_other", of_team).unwrap();
    }
    forbidden(revoke(&max(), "guild_other", of_team));
    for caller in [max(), ada()] {
        revoke(&caller, "guild_other", personal).unwrap();
    }
    for caller in [tess(), lone(), key_manager()] {
        forbidden(revoke(&caller, "guild_other", personal));
    }
    revoke(&ada(), "guild_other", KeyKind::ManageApiKeys).unwrap();
    forbidden(revoke(&tess(), "guild_other", KeyKind::ManageApiKeys));
}

// ---- seeing ----

#[test]
fn each_kind_of_caller_sees_its_keys() {
    let (max_id, ada_id): (UserId, UserId) = (id("max"), id("ada"));
    let (research, inference) = (team("research"), team("inference"));
    let kinds = [
        ("guild_max", KeyKind::Personal(&max_id)),
        ("guild_ada", KeyKind::Personal(&ada_id)),
        ("guild_team", KeyKind::Team(TeamCategory::Invoke, &research)),
        ("guild_other", KeyKind::Team(TeamCategory::Invoke, &inference)),
        ("guild_manager", KeyKind::ManageApiKeys),
        ("guild_manager2", KeyKind::ManageApiKeys),
    ];
    let seen = |caller: &Caller| -> Vec<&str> {
        let seen = caller.keys_seen();
        kinds.iter().filter(|(prefix, kind)| seen.holds(prefix, *kind)).map(|(prefix, _)| *prefix).collect()
    };
    assert_eq!(seen(&ada()), kinds.map(|(prefix, _)| prefix));
    assert_eq!(seen(&max()), ["guild_max", "guild_team"]);
    assert_eq!(seen(&tess()), ["guild_team"]);
    assert_eq!(seen(&lone()), [""; 0]);
    assert_eq!(seen(&key(TeamCategory::ManageAll)), ["guild_team"]);
    assert_eq!(seen(&key_manager()), ["guild_team", "guild_other", "guild_manager"]);
    assert!(matches!(ada().keys_seen(), KeysSeen::All));
}

// ---- lifetimes ----

#[test]
fn a_key_that_ends_makes_none_that_lasts_longer() {
    let ending = |ends: Option<i64>| Caller { key_ends_at: ends.map(Time), ..max() };
    let made = |ends, asked: Option<i64>| ending(ends).lifetime(asked.map(Time)).map(Lifetime::ends_at);
    assert_eq!(made(None, None).unwrap(), None);
    assert_eq!(made(None, Some(5)).unwrap(), Some(Time(5)));
    assert_eq!(made(Some(10), Some(9)).unwrap(), Some(Time(9)));
    assert_eq!(made(Some(10), Some(10)).unwrap(), Some(Time(10)));
    for asked in [None, Some(11)] {
        assert!(forbidden(made(Some(10), asked)).contains("makes no key that lasts longer"));
    }
    assert_eq!(Lifetime::of_proof(Some(Time(7))).ends_at(), Some(Time(7)));
    assert_eq!(Lifetime::of_proof(None).ends_at(), None);
}
