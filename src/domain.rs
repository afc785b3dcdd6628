//! The values of the domain. A value of these types is always valid, because each type checks it when it is made.
//!
//! The bounds follow decisions of the documents. If Baseten documents a bound, that bound is used.
//!
//! The `parse` functions of these types return [`Error::Invalid`] that names the field if the value is not valid.

use std::fmt;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::error::Error;

pub mod api_keys;
mod archive;
pub mod async_requests;
pub mod audit;
mod base_url;
pub mod billing;
pub mod calls;
pub mod capacity;
pub mod chains;
pub mod custom_servers;
pub mod deployments;
pub mod endpoints;
pub mod environment_groups;
pub mod environments;
pub mod instance_types;
pub mod invitations;
pub mod latencies;
pub mod logs;
pub mod mail;
pub mod members;
pub mod metering;
pub mod metrics;
pub mod model_apis;
pub mod models;
pub(crate) mod named;
mod names;
pub mod network;
pub mod password_resets;
pub mod promotion;
pub mod quotas;
pub mod remote_url;
mod roles;
pub mod scaling;
pub mod second_factor;
pub mod secrets;
pub mod serving;
pub mod sessions;
pub mod training;
pub mod training_capacity;
pub mod training_jobs;
pub mod training_projects;
pub mod truss_config;
pub mod turns;
pub mod uploads;
pub mod users;

pub use archive::{Archive, Download, PATH_BYTES_MAX, PATH_DEPTH_MAX};
pub use base_url::BaseUrl;
pub use names::{ENVIRONMENT_NAME_BYTES_MAX, EnvironmentName, KEY_NAME_BYTES_MAX, KeyName};
pub use roles::{Category, OrgRole, TeamCategory, TeamRole};

// The bounds of the domain.
pub const TEAM_NAME_CHARS_MAX: usize = 64;
pub const PERSON_NAME_CHARS_MAX: usize = 100;
pub const EMAIL_BYTES_MAX: usize = 254;
pub const PASSWORD_BYTES_MIN: usize = 8;
pub const PASSWORD_BYTES_MAX: usize = 256;
pub const SECRET_NAME_BYTES_MAX: usize = 128;
pub const SECRET_VALUE_BYTES_MAX: usize = 64 << 10;
/// How many models, environments, people or keys one list in a body may name.
pub const NAMED_MAX: usize = 1000;
pub const RESOURCE_NAME_CHARS_MAX: usize = 255;
const CLIENT_TOKEN_BYTES_MAX: usize = 64;

/// Ids are short, opaque and made of lower-case letters and digits, because they are used in host names.
macro_rules! id {
    ($($(#[$doc:meta])* $Id:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Id(pub(crate) String);

        impl $Id {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

id! {
    OrgId
    TeamId
    UserId
}

/// Milliseconds since the Unix epoch. Callers pass the time in: no module below `http` and `cli` reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    pub const fn plus_seconds(self, seconds: i64) -> Time {
        Time(self.0 + seconds * 1000)
    }

    /// Reads a time in RFC 3339 with any offset. Fractions of a millisecond are cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names `field` if the text is no such time, or is after the year 9999 in UTC.
    pub fn parse(field: &str, text: &str) -> Result<Time, Error> {
        // A time after the year 9999 in UTC could not be shown again.
        let in_utc = |time: OffsetDateTime| time.checked_to_offset(UtcOffset::UTC);
        let parsed = OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(in_utc)
            .ok_or_else(|| Error::field(field, "must be a time as in RFC 3339, such as 2026-12-31T23:59:59Z"))?;
        Ok(Time((parsed.unix_timestamp_nanos() / 1_000_000) as i64))
    }
}

/// RFC 3339 in UTC, with milliseconds. The digits are written directly, because a list shows a time in each row.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl Time {
    fn digits(self) -> [u8; 24] {
        let t = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        let t = t.unwrap_or(OffsetDateTime::UNIX_EPOCH); // the year 10,000 is beyond RFC 3339
        let (year, month, day) = t.to_calendar_date();
        let (hour, minute, second, milli) = t.to_hms_milli();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let parts = [
            (0..4, u32::try_from(year).unwrap_or_default()),
            (5..7, u32::from(u8::from(month))),
            (8..10, u32::from(day)),
            (11..13, u32::from(hour)),
            (14..16, u32::from(minute)),
            (17..19, u32::from(second)),
            (20..23, u32::from(milli)),
        ];
        for (place, mut rest) in parts {
            for digit in text[place].iter_mut().rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        }
        text
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(std::str::from_utf8(&self.digits()).map_err(serde::ser::Error::custom)?)
    }
}

/// An organization that exists: `db` has found it.
#[derive(Clone, Debug)]
pub struct Organization {
    pub id: OrgId,
    pub name: String,
    pub teams_enabled: bool,
    pub created_at: Time,
}

/// A team that exists: `db` has found it.
#[derive(Clone, Debug)]
pub struct Team {
    pub id: TeamId,
    pub org_id: OrgId,
    pub name: String,
    pub icon: Option<String>,
    pub is_default: bool,
    pub created_at: Time,
}

/// A person, as the members of an organization see each other.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
}

/// The program that sent a request, by the name that it gives itself.
#[derive(Clone, Debug)]
pub struct Client {
    name: String,
    version: Option<String>,
}

impl Client {
    /// Reads the first product of a `User-Agent`, such as `name/version`. `None` if the header does not begin with a
    /// product.
    pub fn parse(user_agent: &str) -> Option<Client> {
        let token = |text: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            (1..=CLIENT_TOKEN_BYTES_MAX).contains(&text.len()) && text.chars().all(allowed)
        };
        let product = user_agent.split(' ').next()?;
        let (name, version) = product.split_once('/').map_or((product, None), |(name, rest)| (name, Some(rest)));
        let name = Some(name).filter(token)?.to_owned();
        Some(Client { name, version: version.filter(token).map(str::to_owned) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// The part of a list that is requested.
#[derive(Clone, Debug)]
pub struct Paging {
    /// The cursor: the place of the last item that the client has. Empty for the first page.
    pub after: String,
    pub items_max: usize,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The place of the last item if more items follow it.
    pub next: Option<String>,
}

impl Paging {
    /// The number of rows to read: one more than a page shows, to find out whether more rows follow.
    pub fn rows_max(&self) -> i64 {
        self.items_max as i64 + 1
    }

    pub fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> &str) -> Page<T> {
        let others = rows.len() > self.items_max;
        rows.truncate(self.items_max);
        let next = rows.last().filter(|_| others).map(|last| place(last).to_owned());
        Page { items: rows, next }
    }
}

/// Checks text that people read and returns it in NFC and trimmed. It has no control characters and no invisible
/// characters.
fn words(field: &str, text: &str, chars_max: usize) -> Result<String, Error> {
    let text: String = text.nfc().collect::<String>().trim().to_owned();
    let chars = text.chars().count();
    if chars == 0 || chars > chars_max || text.chars().any(|c| c.is_control() || is_unseen(c)) {
        let why = format!("must be 1 to {chars_max} characters without control characters and invisible ones");
        return Err(Error::field(field, &why));
    }
    Ok(text)
}

/// Invisible characters: directions, fillers, line separators, tags and code points that are no characters. With them,
/// two names could differ but look the same. Joiners are allowed, because scripts and emoji need them;
/// [`TeamName::key`] ignores them.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FDD0}'..='\u{FDEF}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
        || (c as u32) & 0xFFFE == 0xFFFE
}

/// The name of a team or of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamName(String);

impl TeamName {
    pub fn parse(text: &str) -> Result<TeamName, Error> {
        words("name", text, TEAM_NAME_CHARS_MAX).map(TeamName)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form of the name that must be unique. It ignores case, joiners and variation selectors, which are invisible.
    pub fn key(&self) -> String {
        let seen = |c: &char| !matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}');
        caseless::default_case_fold_str(&self.0).chars().filter(seen).nfc().collect()
    }
}

/// One emoji that is shown beside a team's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icon(String);

impl Icon {
    pub fn parse(text: &str) -> Result<Icon, Error> {
        match emojis::get(text) {
            Some(_) => Ok(Icon(text.to_owned())),
            None => Err(Error::field("icon", "must be one emoji")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonName(String);

impl PersonName {
    pub fn parse(text: &str) -> Result<PersonName, Error> {
        words("name", text, PERSON_NAME_CHARS_MAX).map(PersonName)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a model, a Chain or a training project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceName(String);

impl ResourceName {
    pub fn parse(field: &str, text: &str) -> Result<ResourceName, Error> {
        words(field, text, RESOURCE_NAME_CHARS_MAX).map(ResourceName)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A normalized e-mail address: in lower case, with an ASCII local part and the domain as IDNA writes it.
///
/// Addresses that look the same must not belong to different people. So `mıke@` is refused and does not become `mike@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    pub fn parse(text: &str) -> Result<Email, Error> {
        Email::normalize(text.trim()).ok_or_else(|| {
            Error::field("email", "must be an e-mail address with an ASCII name before the @, such as ada@example.com")
        })
    }

    fn normalize(text: &str) -> Option<Email> {
        let (local, domain) = text.rsplit_once('@')?;
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        let local_is_dot_atom = local.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
        let domain = idna::domain_to_ascii_strict(domain).ok()?;
        let domain_has_two_labels = domain.contains('.') && !domain.split('.').any(str::is_empty);
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        (local_is_dot_atom && local.len() <= 64 && domain_has_two_labels && address.len() <= EMAIL_BYTES_MAX)
            .then_some(Email(address))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password as typed. It has no `Debug` that shows it and is wiped when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn parse(text: String) -> Result<Password, Error> {
        let text = Zeroizing::new(text);
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
            let why = format!("must be {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes");
            return Err(Error::field("password", &why));
        }
        Ok(Password(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The name of a secret. Names that differ only in case or in `-`, `_` and `.` are the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(String);

impl SecretName {
    pub fn parse(text: &str) -> Result<SecretName, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let has_substance = text.chars().any(|c| c.is_ascii_alphanumeric());
        if text.len() > SECRET_NAME_BYTES_MAX || !has_substance || !text.chars().all(allowed) {
            let why = format!(
                "must be 1 to {SECRET_NAME_BYTES_MAX} letters, digits, `_`, `-` or `.`, with a letter or digit among them"
            );
            return Err(Error::field("name", &why));
        }
        Ok(SecretName(text.to_owned()))
    }

    /// The name as it was first given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form of the name that must be unique in a team.
    pub fn lookup(&self) -> String {
        let equivalent = |c: char| if matches!(c, '-' | '.') { '_' } else { c.to_ascii_lowercase() };
        self.0.chars().map(equivalent).collect()
    }
}

/// The value of a secret. Its `Debug` does not show it, and it is only read to be encrypted.
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    pub fn parse(text: String) -> Result<SecretValue, Error> {
        let text = Zeroizing::new(text);
        if text.is_empty() || text.len() > SECRET_VALUE_BYTES_MAX {
            return Err(Error::field("value", &format!("must be 1 to {SECRET_VALUE_BYTES_MAX} bytes")));
        }
        Ok(SecretValue(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}
