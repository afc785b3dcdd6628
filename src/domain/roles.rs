//! The roles of people and the categories of API keys, in an organization and in a team. `policy` says what they
//! include.

use crate::domain::named::named;

named! {
    /// The role of a person in the organization.
    OrgRole { Admin: ADMIN, Member: MEMBER }
}

named! {
    /// The role of a person in one team.
    TeamRole { Admin: ADMIN, Member: MEMBER }
}

named! {
    /// The categories of keys that belong to one team.
    TeamCategory {
        ManageAll: WORKSPACE_MANAGE_ALL,
        Invoke: WORKSPACE_INVOKE,
        ExportMetrics: WORKSPACE_EXPORT_METRICS,
    }
}

/// The categories of API keys, under Baseten's names (decision 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Personal,
    Team(TeamCategory),
    /// A key of the organization. It manages team keys and does nothing else.
    ManageApiKeys,
}

impl Category {
    pub const fn all() -> [Category; 5] {
        [
            Category::Personal,
            Category::Team(TeamCategory::ManageAll),
            Category::Team(TeamCategory::Invoke),
            Category::Team(TeamCategory::ExportMetrics),
            Category::ManageApiKeys,
        ]
    }

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Personal => "PERSONAL",
            Category::Team(category) => category.as_str(),
            Category::ManageApiKeys => "WORKSPACE_MANAGE_API_KEYS",
        }
    }

    pub fn parse(name: &str) -> Option<Category> {
        Category::all().into_iter().find(|category| category.as_str() == name)
    }
}
