//! One macro, so that a permission table is written once and looks like a table.

/// Declares the columns of a table (roles, key categories), its rows (acts), and who may do which.
///
/// The header gives each column its name on the wire; each row is
/// `Act: NAME_ON_THE_WIRE "its wording in the documents" [a mark per column]`. A row with a mark too few or too many does
/// not compile, and there is no act without a row.
macro_rules! table {
    (
        $(#[$role_doc:meta])* $Role:ident [$($role:ident: $role_name:ident),*]
        $(#[$act_doc:meta])* $Act:ident
        $($act:ident: $act_name:ident $wording:literal [$($mark:ident)*])*
    ) => {
        $(#[$role_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Role { $($role),* }

        impl $Role {
            pub const ALL: &[$Role] = &[$($Role::$role),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($Role::$role => stringify!($role_name)),* }
            }

            pub fn parse(name: &str) -> Option<$Role> {
                Self::ALL.iter().copied().find(|role| role.as_str() == name)
            }
        }

        $(#[$act_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Act { $($act),* }

        impl $Act {
            pub const ALL: &[$Act] = &[$($Act::$act),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($Act::$act => stringify!($act_name)),* }
            }

            pub fn parse(name: &str) -> Option<$Act> {
                Self::ALL.iter().copied().find(|act| act.as_str() == name)
            }

            /// The act as the documents word it.
            pub const fn wording(self) -> &'static str {
                match self { $($Act::$act => $wording),* }
            }

            pub const fn allowed_to(self, role: $Role) -> bool {
                let marks: [bool; $Role::ALL.len()] = match self {
                    $($Act::$act => [$(mark!($mark)),*]),*
                };
                marks[role as usize]
            }
        }
    };
}

macro_rules! mark {
    (yes) => {
        true
    };
    (no) => {
        false
    };
}

pub(crate) use {mark, table};
