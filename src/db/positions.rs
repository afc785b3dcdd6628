//! The positions of a statement's columns, looked up by name once for all its rows.
//!
//! `row.get("name")` compares column names at each row, which costs more for a long list than reading the values.

/// Declares the columns that a row is read from. `of` finds their positions in a prepared statement, in any order. A
/// statement that lacks one of them is an error.
macro_rules! columns {
    ($(#[$doc:meta])* $Columns:ident: $($column:ident)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(in crate::db) struct $Columns {
            $($column: usize),+
        }

        impl $Columns {
            pub(in crate::db) fn of(statement: &rusqlite::Statement) -> rusqlite::Result<$Columns> {
                Ok($Columns { $($column: statement.column_index(stringify!($column))?),+ })
            }
        }
    };
}

pub(in crate::db) use columns;
