//! Members of a team on the wire.

use serde::{Deserialize, Serialize};

use crate::db::members;
use crate::model::Time;
use crate::wire::Role;

#[derive(Serialize)]
pub struct Member<'a> {
    user_id: &'a str,
    email: &'a str,
    name: &'a str,
    role: &'static str,
    via: &'static str,
    created_at: Time,
}

impl<'a> From<&'a members::Member> for Member<'a> {
    fn from(member: &'a members::Member) -> Member<'a> {
        Member {
            user_id: member.user.id.as_str(),
            email: &member.user.email,
            name: &member.user.name,
            role: member.role.as_str(),
            via: member.via.as_str(),
            created_at: member.created_at,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    pub user_id: String,
    pub role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateMember {
    pub role: Option<Role>,
}

#[derive(Serialize)]
pub struct MemberTombstone<'a> {
    team_id: &'a str,
    user_id: &'a str,
    deleted: bool,
}

impl<'a> MemberTombstone<'a> {
    pub fn of(team_id: &'a str, user_id: &'a str) -> MemberTombstone<'a> {
        MemberTombstone { team_id, user_id, deleted: true }
    }
}
