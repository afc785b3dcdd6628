//! Teams and keys as the world begins with them, and as they are when they are made.

use std::collections::{BTreeMap, BTreeSet};

use super::{Category, Chain, Group, Key, Team};
use crate::seed::WORLD;

impl Team {
    pub(super) fn of_the_world(id: &str, name: &str, there: bool) -> Team {
        let furnished = ["home", "research", "inference"].contains(&id);
        let mut team = Team::new(id.to_owned(), name.to_owned());
        team.there = there;
        team.is_default = id == "home";
        team.has_model = furnished;
        team.chain = furnished.then(|| Chain::of_the_world(id));
        if furnished {
            team.secrets.insert("Token");
            team.projects.insert("tune", format!("{id}project"));
            for name in ["staging", "guarded"] {
                team.groups.insert(name, Group { restricted: true, ..Group::default() });
            }
        }
        team
    }

    pub fn new(id: String, name: String) -> Team {
        Team {
            id,
            name,
            is_default: false,
            there: true,
            members: BTreeMap::new(),
            secrets: BTreeSet::new(),
            projects: BTreeMap::new(),
            has_model: false,
            chain: None,
            groups: BTreeMap::new(),
        }
    }
}

impl Key {
    pub(super) fn of_the_world(name: &'static str, category: Category) -> Key {
        Key { name: Some(name), ..Key::new(WORLD.keys.text(name), category) }
    }

    pub fn new(text: &str, category: Category) -> Key {
        let prefix = text.split('.').next().expect("a text has a first part").to_owned();
        Key {
            text: text.to_owned(),
            prefix,
            category,
            name: None,
            owner: None,
            team: None,
            ours: true,
            revoked: false,
            replaced: false,
            ends: None,
        }
    }

    pub(super) fn holds_its_name(&self) -> bool {
        !self.revoked && !self.replaced
    }
}
