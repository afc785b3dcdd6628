//! Where the columns of a statement are: looked up by name once for all of its rows.
//!
//! `row.get("name")` compares the names of columns with each row, which costs a long list more than reading the values.

/// Declares the columns that a row is read from. `of` finds them in a prepared statement, in whatever order it selects
/// them; a statement without one of them is an error.
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
