//! Members of a team on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Time, api_keys, members};
use crate::wire::Role;
use crate::wire::api_keys::MadeKey;
use crate::wire::schemas::Listed;

/// A member of a team. `via` says whether the member has an explicit membership or is an organization admin.
/// Guildhall's own `Member`.
#[derive(JsonSchema, Serialize)]
pub struct Member<'a> {
    user_id: &'a str,
    email: &'a str,
    name: &'a str,
    #[schemars(with = "Role")]
    role: &'static str,
    #[schemars(extend("enum" = ["TEAM", "ORGANIZATION"]))]
    via: &'static str,
    created_at: Time,
}

impl Listed for Member<'_> {
    const SCHEMA: &'static str = "Members";
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

/// Adds a person of the organization to a team. Guildhall's own `AddMemberRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddMemberRequest")]
pub struct AddMember {
    pub user_id: String,
    pub role: Role,
}

/// Changes a member's role in a team. Guildhall's own `UpdateMemberRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateMemberRequest")]
pub struct UpdateMember {
    #[schemars(required)]
    pub role: Option<Role>,
}

/// A member whose role was changed. If the member lost a role, also the active keys of the team that the member made.
/// Guildhall's own `UpdatedMember`.
#[derive(JsonSchema, Serialize)]
pub struct UpdatedMember<'a> {
    #[serde(flatten)]
    member: Member<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<MadeKey>")]
    remaining_team_api_keys: Option<Vec<MadeKey<'a>>>,
}

impl<'a> From<&'a members::RoleUpdated> for UpdatedMember<'a> {
    fn from(updated: &'a members::RoleUpdated) -> UpdatedMember<'a> {
        UpdatedMember {
            member: Member::from(&updated.member),
            remaining_team_api_keys: updated.remaining.as_deref().map(MadeKey::all),
        }
    }
}

/// A person who was removed from a team, with the active keys of the team that the person made. Guildhall's own
/// `MemberTombstone`.
#[derive(JsonSchema, Serialize)]
pub struct MemberTombstone<'a> {
    team_id: &'a str,
    user_id: &'a str,
    deleted: bool,
    remaining_team_api_keys: Vec<MadeKey<'a>>,
}

impl<'a> MemberTombstone<'a> {
    pub fn of(team_id: &'a str, user_id: &'a str, remaining: &'a [api_keys::MadeKey]) -> MemberTombstone<'a> {
        MemberTombstone { team_id, user_id, deleted: true, remaining_team_api_keys: MadeKey::all(remaining) }
    }
}
