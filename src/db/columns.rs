//! How values of the domain are stored in columns and read back.
//!
//! A value is checked before it is stored, so names and ids are not checked when they are read. The name of an enum
//! variant that this binary does not know is an error of the row: a newer binary wrote it.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::domain::async_requests::{self, FailureCode, WebhookStatus};
use crate::domain::members::Via;
use crate::domain::serving::{Backpressure, Cleanup, Level, RollingStrategy, Status};
use crate::domain::training::{Availability, GpuType, JobStatus};
use crate::domain::training_jobs::CheckpointKind;
use crate::domain::{EnvironmentName, KeyName, OrgId, OrgRole, TeamId, TeamRole, Time, UserId};

/// Ids, stored as text.
macro_rules! ids {
    ($($Id:ident)*) => {$(
        impl ToSql for $Id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $Id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$Id> {
                String::column_result(value).map($Id)
            }
        }
    )*};
}

ids! { OrgId TeamId UserId }

/// Enums, stored under their names in the HTTP interface.
macro_rules! enums {
    ($($Enum:path)*) => {$(
        impl ToSql for $Enum {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.as_str().to_sql()
            }
        }

        impl FromSql for $Enum {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$Enum> {
                <$Enum>::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
            }
        }
    )*};
}

enums! {
    Status Backpressure Cleanup RollingStrategy Level
    JobStatus Availability GpuType CheckpointKind
    OrgRole TeamRole Via
    async_requests::Status WebhookStatus FailureCode
}

/// Names, which are not checked again when they are read.
macro_rules! names {
    ($($Name:ident)*) => {$(
        impl FromSql for $Name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$Name> {
                String::column_result(value).map($Name::stored)
            }
        }
    )*};
}

names! { EnvironmentName KeyName }

/// A time, stored as milliseconds since the epoch.
impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Time> {
        i64::column_result(value).map(Time)
    }
}
