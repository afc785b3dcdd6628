//! One macro, so that a permission table is written once and looks like a table.

/// Declares the rows of a table (acts), and which of its columns (roles, key categories) may do each.
///
/// The header names the enum of the rows, then the enum of the columns with all of its values in order. Each row is
/// `Act: NAME_ON_THE_WIRE "its wording in the documents" [a mark per column]`. A header that leaves a column out and a row
/// with a mark too few or too many do not compile, and there is no act without a row.
macro_rules! table {
    (
        $(#[$act_doc:meta])* $Act:ident by $Column:ident [$($column:ident)*]
        $($act:ident: $act_name:ident $wording:literal [$($mark:ident)*])*
    ) => {
        $(#[$act_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Act { $($act),* }

        // Marks are looked up by the column's position.
        const _: () = {
            let columns = [$($Column::$column),*];
            assert!(columns.len() == $Column::ALL.len(), "the header names every column");
            let mut at = 0;
            while at < columns.len() {
                assert!(columns[at] as usize == at, "the header names the columns in their order");
                at += 1;
            }
        };

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

            pub const fn allowed_to(self, column: $Column) -> bool {
                let marks: [bool; $Column::ALL.len()] = match self {
                    $($Act::$act => [$(mark!($mark)),*]),*
                };
                marks[column as usize]
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
