//! An in-memory reference for what the documents say: one organization with its people, teams, keys and invitations.

use std::collections::{BTreeMap, BTreeSet};

use super::chains::Chain;

mod of_the_world;
mod seen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Member,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "ADMIN",
            Role::Member => "MEMBER",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Personal,
    ManageAll,
    Invoke,
    ExportMetrics,
    ManageApiKeys,
}

impl Category {
    pub const ALL: [Category; 5] =
        [Category::Personal, Category::ManageAll, Category::Invoke, Category::ExportMetrics, Category::ManageApiKeys];

    pub fn name(self) -> &'static str {
        match self {
            Category::Personal => "PERSONAL",
            Category::ManageAll => "WORKSPACE_MANAGE_ALL",
            Category::Invoke => "WORKSPACE_INVOKE",
            Category::ExportMetrics => "WORKSPACE_EXPORT_METRICS",
            Category::ManageApiKeys => "WORKSPACE_MANAGE_API_KEYS",
        }
    }
}

/// What a caller is in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Person(Role),
    Key(Category),
}

/// The rows of the team table that the histories need.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    ManageMembers,
    Restrict,
    CreateKeys,
    Deploy,
    View,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub email: String,
    /// In this organization; `None`: not of it.
    pub role: Option<Role>,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub restricted: bool,
    pub people: BTreeSet<usize>,
    pub keys: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub struct Team {
    pub id: String,
    pub name: String,
    pub is_default: bool,
    /// Of this organization, and not deleted.
    pub there: bool,
    pub members: BTreeMap<usize, Role>,
    pub secrets: BTreeSet<&'static str>,
    pub projects: BTreeMap<&'static str, String>,
    /// A model stands in it, with its `production`.
    pub has_model: bool,
    pub chain: Option<Chain>,
    pub groups: BTreeMap<&'static str, Group>,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub prefix: String,
    pub category: Category,
    pub name: Option<&'static str>,
    /// Of a personal key.
    pub owner: Option<usize>,
    /// Of a team key.
    pub team: Option<usize>,
    /// Of this organization.
    pub ours: bool,
    pub revoked: bool,
    pub replaced: bool,
    pub ends: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Accepted,
    Revoked,
}

#[derive(Clone, Debug)]
pub struct Invitation {
    pub id: String,
    pub token: String,
    pub old_tokens: Vec<String>,
    pub email: &'static str,
    pub role: Role,
    pub teams: BTreeMap<usize, Role>,
    pub inviter: usize,
    pub ends: i64,
    pub status: Status,
}

#[derive(Clone, Debug)]
pub struct Reference {
    /// Seconds since the world began.
    pub now: i64,
    pub teams_enabled: bool,
    pub people: Vec<Person>,
    pub teams: Vec<Team>,
    pub keys: Vec<Key>,
    pub invitations: Vec<Invitation>,
}

/// A refusal's status.
pub type Verdict = Result<(), u16>;

/// A person, their organization role, and their team roles.
type Standings = (&'static str, Option<Role>, &'static [(&'static str, Role)]);

const PEOPLE: &[Standings] = &[
    ("ada", Some(Role::Admin), &[]),
    ("grace", Some(Role::Admin), &[]),
    ("lone", Some(Role::Member), &[]),
    ("tess", Some(Role::Member), &[("research", Role::Admin)]),
    ("max", Some(Role::Member), &[("research", Role::Member)]),
    ("ian", Some(Role::Member), &[("inference", Role::Member)]),
    ("dora", Some(Role::Member), &[("home", Role::Member)]),
    ("crew", Some(Role::Member), &[("research", Role::Member), ("inference", Role::Member), ("home", Role::Member)]),
    ("fay", None, &[]),
];

const TEAMS: &[(&str, &str, bool)] = &[
    ("home", "Default", true),
    ("research", "Research", true),
    ("inference", "Inference", true),
    ("empty", "Empty", true),
    ("abroad", "Abroad", false),
    ("nosuchteam", "Nowhere", false),
];

const KEYS: &[(&str, Category, Option<&str>)] = &[
    ("manage-all", Category::ManageAll, Some("research")),
    ("invoke", Category::Invoke, Some("research")),
    ("metrics", Category::ExportMetrics, Some("research")),
    ("spare", Category::Invoke, Some("research")),
    ("inference-manage-all", Category::ManageAll, Some("inference")),
    ("inference-spare", Category::Invoke, Some("inference")),
    ("home-manage-all", Category::ManageAll, Some("home")),
    ("home-spare", Category::Invoke, Some("home")),
    ("key-manager", Category::ManageApiKeys, None),
    ("spare-key-manager", Category::ManageApiKeys, None),
];

impl Reference {
    pub fn new() -> Reference {
        let team_at = |id: &str| TEAMS.iter().position(|(team, _, _)| *team == id).expect("it is listed");
        let mut teams: Vec<Team> = TEAMS.iter().map(|(id, name, there)| Team::of_the_world(id, name, *there)).collect();
        let mut people = Vec::new();
        let mut keys = Vec::new();
        for (at, (name, role, memberships)) in PEOPLE.iter().enumerate() {
            people.push(Person { id: (*name).to_owned(), email: format!("{name}@example.com"), role: *role });
            keys.push(Key { ours: role.is_some(), owner: Some(at), ..Key::of_the_world(name, Category::Personal) });
            for (team, role) in *memberships {
                teams[team_at(team)].members.insert(at, *role);
            }
        }
        let max = people.iter().position(|person| person.id == "max");
        let closed = Group { restricted: true, people: max.into_iter().collect(), ..Group::default() };
        teams[team_at("research")].groups.insert("production", closed);
        for (name, category, team) in KEYS {
            keys.push(Key { team: team.map(team_at), ..Key::of_the_world(name, *category) });
        }
        Reference { now: 0, teams_enabled: true, people, teams, keys, invitations: Vec::new() }
    }

    // ---- who is what ----

    pub fn lives(&self, key: &Key) -> bool {
        let in_time = key.ends.is_none_or(|ends| ends > self.now);
        let owned = match (key.owner, key.team) {
            (Some(owner), _) => !key.ours || self.people[owner].role.is_some(),
            (_, Some(team)) => self.teams[team].there,
            _ => true,
        };
        !key.revoked && in_time && owned
    }

    /// The role of a person who uses their own key here.
    pub fn org_role(&self, caller: &Key) -> Option<Role> {
        caller.owner.filter(|_| caller.ours).and_then(|owner| self.people[owner].role)
    }

    pub fn is_org_admin(&self, caller: &Key) -> bool {
        self.org_role(caller) == Some(Role::Admin)
    }

    pub fn standing(&self, caller: &Key, team: usize) -> Option<Standing> {
        if !self.teams[team].there || !caller.ours {
            return None;
        }
        match (caller.category, caller.owner) {
            (_, Some(_)) if self.is_org_admin(caller) => Some(Standing::Person(Role::Admin)),
            (_, Some(owner)) => self.teams[team].members.get(&owner).copied().map(Standing::Person),
            (Category::ManageApiKeys, None) => Some(Standing::Key(Category::ManageApiKeys)),
            (category, None) => (caller.team == Some(team)).then_some(Standing::Key(category)),
        }
    }

    pub fn default_team(&self) -> usize {
        self.teams.iter().position(|team| team.is_default).expect("there is always one")
    }

    fn admins(&self) -> usize {
        self.people.iter().filter(|person| person.role == Some(Role::Admin)).count()
    }

    // ---- may they? ----

    /// Someone whose key works.
    pub fn known(&self, caller: &Key) -> Verdict {
        if self.lives(caller) { Ok(()) } else { Err(401) }
    }

    pub fn in_team(&self, caller: &Key, team: usize, act: Act) -> Verdict {
        self.known(caller)?;
        match self.standing(caller, team) {
            None => Err(404),
            Some(standing) if allowed(standing, act) => Ok(()),
            Some(_) => Err(403),
        }
    }

    /// Without a team in the path.
    pub fn unprefixed(&self, caller: &Key) -> usize {
        caller.team.unwrap_or_else(|| self.default_team())
    }

    pub fn in_unprefixed(&self, caller: &Key, act: Act) -> Verdict {
        self.in_team(caller, self.unprefixed(caller), act).map_err(|status| if status == 404 { 403 } else { status })
    }

    pub fn as_org_admin(&self, caller: &Key) -> Verdict {
        self.known(caller)?;
        if self.is_org_admin(caller) { Ok(()) } else { Err(403) }
    }

    pub fn as_org_admin_of(&self, caller: &Key, team: usize) -> Verdict {
        self.known(caller)?;
        self.standing(caller, team).ok_or(404_u16)?;
        self.as_org_admin(caller)
    }

    pub fn name_is_free(&self, name: &str, but: Option<usize>) -> Verdict {
        let taken = |(at, team): (usize, &Team)| {
            team.there && Some(at) != but && team.name.to_lowercase() == name.to_lowercase()
        };
        if self.teams.iter().enumerate().any(taken) { Err(409) } else { Ok(()) }
    }

    /// The organization keeps an admin when this person is none any more, and a key by which one gets in.
    pub fn can_lose(&self, person: usize) -> Verdict {
        let is_last = self.people[person].role == Some(Role::Admin) && self.admins() == 1;
        let locks_out = self.ways_in(Some(person), None) < self.ways_in(None, None);
        if is_last || locks_out { Err(409) } else { Ok(()) }
    }

    /// The same when this key ends.
    pub fn can_end(&self, key: &Key) -> Verdict {
        if self.ways_in(None, Some(&key.prefix)) < self.ways_in(None, None) { Err(409) } else { Ok(()) }
    }

    /// Whether the admins, without this one and without this key, have a key that works, and one that does not end.
    fn ways_in(&self, but: Option<usize>, but_key: Option<&str>) -> (bool, bool) {
        let is_way_in = |key: &&Key| {
            let of_admin = |owner: usize| self.people[owner].role == Some(Role::Admin) && Some(owner) != but;
            key.ours && self.lives(key) && key.owner.is_some_and(of_admin) && Some(&*key.prefix) != but_key
        };
        let mut ways = self.keys.iter().filter(is_way_in);
        (self.keys.iter().any(|key| is_way_in(&key)), ways.any(|key| key.ends.is_none()))
    }

    /// Whether anything ties a person to their address: a membership, or a key that works.
    pub fn is_established(&self, person: usize) -> bool {
        let theirs = |key: &Key| key.owner == Some(person) && self.lives(key);
        self.people[person].role.is_some() || self.keys.iter().any(theirs)
    }

    pub fn create_key(&self, caller: &Key, category: Category, team: usize, name: Option<&str>) -> Verdict {
        self.known(caller)?;
        match category {
            Category::Personal if caller.owner.is_none() => return Err(403),
            Category::Personal => {}
            Category::ManageApiKeys => self.as_org_admin(caller)?,
            _ if caller.team.is_some() => return Err(403),
            _ => self.in_team(caller, team, Act::CreateKeys)?,
        }
        let of_scope = |key: &Key| match category {
            Category::Personal => key.category == category && key.owner == caller.owner && key.ours == caller.ours,
            Category::ManageApiKeys => key.category == category && key.ours == caller.ours,
            _ => key.team == Some(team),
        };
        let taken =
            name.is_some() && self.keys.iter().any(|key| of_scope(key) && key.name == name && key.holds_its_name());
        if taken { Err(409) } else { Ok(()) }
    }

    /// Whether the caller may revoke (or rotate) the key.
    pub fn manage_key(&self, caller: &Key, target: &Key, rotating: bool) -> Verdict {
        self.known(caller)?;
        let is_self = caller.prefix == target.prefix;
        if is_self && !rotating {
            return Ok(());
        }
        if caller.team.is_some() {
            return Err(403);
        }
        if is_self && caller.category == Category::ManageApiKeys {
            return Err(403);
        }
        if target.revoked || target.ours != caller.ours || !self.lives(target) {
            return Err(404);
        }
        match target.category {
            Category::Personal if target.owner == caller.owner => Ok(()),
            Category::Personal if self.is_org_admin(caller) => {
                if rotating {
                    Err(403)
                } else {
                    Ok(())
                }
            }
            Category::ManageApiKeys if self.is_org_admin(caller) => Ok(()),
            Category::Personal | Category::ManageApiKeys => Err(404),
            _ => self.in_team(caller, target.team.expect("a team key has one"), Act::CreateKeys),
        }
    }

    pub fn group_is_there(&self, team: usize, name: &str) -> bool {
        self.teams[team].groups.contains_key(name) || (name == "production" && self.teams[team].has_model)
    }

    pub fn may_change(&self, caller: &Key, team: usize, name: &str) -> bool {
        if self.in_team(caller, team, Act::Deploy).is_err() {
            return false;
        }
        let Some(group) = self.teams[team].groups.get(name).filter(|group| group.restricted) else { return true };
        let granted_key = || group.keys.iter().any(|at| self.keys[*at].prefix == caller.prefix);
        match self.standing(caller, team) {
            Some(Standing::Person(Role::Admin)) => true,
            Some(Standing::Person(Role::Member)) => caller.owner.is_some_and(|owner| group.people.contains(&owner)),
            Some(Standing::Key(_)) => granted_key(),
            None => false,
        }
    }

    // ---- what becomes of it ----

    pub fn leaves_team(&mut self, person: usize, team: usize) {
        self.teams[team].members.remove(&person);
        for group in self.teams[team].groups.values_mut() {
            group.people.remove(&person);
        }
    }

    pub fn leaves_organization(&mut self, person: usize) {
        self.people[person].role = None;
        self.invites_no_more(person);
        for team in 0..self.teams.len() {
            self.leaves_team(person, team);
        }
        for key in self.keys.iter_mut().filter(|key| key.owner == Some(person) && key.ours) {
            key.revoked = true;
        }
    }

    pub fn becomes(&mut self, person: usize, role: Role) {
        let was = self.people[person].role.replace(role);
        if role == Role::Member {
            self.invites_no_more(person);
        }
        if !self.teams_enabled && role == Role::Member && was != Some(Role::Member) {
            let default = self.default_team();
            self.teams[default].members.entry(person).or_insert(Role::Member);
        }
    }

    fn invites_no_more(&mut self, person: usize) {
        let open = |invitation: &&mut Invitation| invitation.inviter == person && invitation.status == Status::Pending;
        for invitation in self.invitations.iter_mut().filter(open) {
            invitation.status = Status::Revoked;
        }
    }

    pub fn revoke(&mut self, key: usize) {
        self.keys[key].revoked = true;
        for group in self.teams.iter_mut().flat_map(|team| team.groups.values_mut()) {
            group.keys.remove(&key);
        }
    }

    pub fn delete_team(&mut self, team: usize) {
        self.teams[team].there = false;
        self.teams[team].members.clear();
        for key in self.keys.iter_mut().filter(|key| key.team == Some(team)) {
            key.revoked = true;
        }
        for invitation in &mut self.invitations {
            invitation.teams.remove(&team);
        }
    }
}

fn allowed(standing: Standing, act: Act) -> bool {
    match act {
        Act::ManageMembers | Act::Restrict => standing == Standing::Person(Role::Admin),
        Act::CreateKeys => {
            matches!(standing, Standing::Person(Role::Admin) | Standing::Key(Category::ManageApiKeys))
        }
        Act::Deploy | Act::View => matches!(standing, Standing::Person(_) | Standing::Key(Category::ManageAll)),
    }
}
