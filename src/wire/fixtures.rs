//! Fixture files on the wire: the content of a file, and the reply to loading one.
//!
//! A file contains one organization or a list of organizations. Its shapes are closed, and its values are checked while
//! they are read, so that an error names its place in the file. References inside the file use names or e-mail
//! addresses, because ids are made when the file is loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::domain::{
    Email, EnvironmentName, Icon, KeyName, OrgRole, PersonName, ResourceName, SecretName, SecretValue, TeamCategory,
    TeamName, TeamRole,
};
use crate::error::{Error, quoted};
use crate::wire;

/// One organization with all its content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    pub organization: Organization,
    #[serde(default)]
    pub people: Vec<Person>,
    /// The teams. If the default team is listed, its entry describes its content.
    #[serde(default)]
    pub teams: Vec<Team>,
    /// Keys that manage the team keys of the organization.
    #[serde(default)]
    pub api_keys: Vec<OrganizationKey>,
    #[serde(default)]
    pub model_apis: Vec<ModelApi>,
    #[serde(default)]
    pub invitations: Vec<Invitation>,
    /// Further people and teams, which are made from a seed.
    pub generate: Option<Generate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    pub name: TeamName,
    pub teams_enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub email: Email,
    pub name: PersonName,
    pub role: OrgRole,
    /// The name of the personal key that every person gets.
    pub api_key_name: Option<KeyName>,
    /// The person's role in each team, by the team's name.
    #[serde(default, deserialize_with = "once_each")]
    pub teams: BTreeMap<String, TeamRole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    pub name: TeamName,
    pub icon: Option<Icon>,
    #[serde(default)]
    pub default: bool,
    #[serde(default)]
    pub models: Vec<Model>,
    #[serde(default)]
    pub chains: Vec<Chain>,
    #[serde(default)]
    pub training_projects: Vec<TrainingProject>,
    #[serde(default)]
    pub secrets: Vec<Secret>,
    #[serde(default)]
    pub api_keys: Vec<TeamKey>,
    #[serde(default)]
    pub environment_groups: Vec<EnvironmentGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: ResourceName,
    /// The id of an instance type.
    pub instance_type: String,
    /// The environments besides `production`, which every model has.
    #[serde(default)]
    pub environments: Vec<EnvironmentName>,
    /// The usage of its deployments.
    #[serde(default)]
    pub usage: Vec<Usage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    pub name: ResourceName,
    /// The environments. `production` may be listed or not, because every Chain has it.
    #[serde(default)]
    pub environments: Vec<EnvironmentName>,
    /// The usage of its chainlets.
    #[serde(default)]
    pub usage: Vec<Usage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingProject {
    pub name: ResourceName,
    /// The usage of its jobs.
    #[serde(default)]
    pub usage: Vec<Usage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelApi {
    /// The name in the catalog.
    pub name: String,
    pub usage: Option<Tokens>,
}

/// The usage of a deployment, a chainlet or a training job. It is the same on each of the given days.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub name: ResourceName,
    pub environment: Option<EnvironmentName>,
    pub instance_type: String,
    pub days: Days,
    pub minutes_per_day: u32,
    #[serde(default)]
    pub requests_per_day: u32,
    pub micro_usd_per_day: u32,
}

/// The usage of a Model API. It is the same on each of the given days.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    pub days: Days,
    pub requests_per_day: u32,
    pub input_tokens_per_day: u32,
    pub output_tokens_per_day: u32,
    #[serde(default)]
    pub cached_tokens_per_day: u32,
    pub micro_usd_per_day: u32,
}

/// A range of days, counted back from the day on which the file is loaded, which is 0. `from` is the earlier day. Both
/// days are included.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "DaysAgo")]
pub struct Days {
    from: u16,
    to: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DaysAgo {
    from: u16,
    #[serde(default)]
    to: u16,
}

/// Usage is kept for one year.
const DAYS_AGO_MAX: u16 = 366;

impl TryFrom<DaysAgo> for Days {
    type Error = String;

    fn try_from(DaysAgo { from, to }: DaysAgo) -> Result<Days, String> {
        if to > from || from > DAYS_AGO_MAX {
            return Err(format!("`from` counts days back, to `to` or further and to {DAYS_AGO_MAX} at most"));
        }
        Ok(Days { from, to })
    }
}

impl Days {
    /// The last `count` days including today. `None` if `count` is 0.
    pub fn last(count: u16) -> Option<Days> {
        Some(Days { from: count.checked_sub(1)?, to: 0 })
    }

    /// How many days ago each day was, the earliest day first.
    pub fn ago(self) -> impl Iterator<Item = u16> {
        (self.to..=self.from).rev()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub name: SecretName,
    pub value: SecretValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationKey {
    pub name: Option<KeyName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamKey {
    #[serde(rename = "type")]
    pub category: TeamCategory,
    pub name: Option<KeyName>,
    /// The names of models of the team. If absent: all models, including future ones.
    pub models: Option<Vec<String>>,
    pub environments: Option<Vec<EnvironmentName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentGroup {
    pub name: EnvironmentName,
    pub is_restricted: bool,
    /// The e-mail addresses of members of the team.
    #[serde(default)]
    pub users: Vec<Email>,
    /// The names of keys of the team.
    #[serde(default)]
    pub api_keys: Vec<KeyName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    pub email: Email,
    pub role: OrgRole,
    #[serde(default, deserialize_with = "once_each")]
    pub teams: BTreeMap<String, TeamRole>,
    /// The e-mail address of an organization admin.
    pub invited_by: Email,
}

/// How many of each to make. The same description always makes the same organization.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    pub seed: u64,
    pub teams: u32,
    pub people: u32,
    /// How many of the people are organization admins.
    pub admins: u32,
    pub teams_per_person: u32,
    pub secrets_per_team: u32,
    pub api_keys_per_team: u32,
    pub models_per_team: u32,
    pub chains_per_team: u32,
    pub training_projects_per_team: u32,
    /// The instance type of the models.
    pub instance_type: String,
    /// The number of days on which the first model of each team was used.
    pub usage_days: u16,
}

/// The content of a fixture file.
pub struct File {
    pub fixtures: Vec<Fixture>,
    /// Whether the file contains a list. Places in the file then begin with an index.
    pub is_list: bool,
}

impl File {
    /// Reads a file. A byte-order mark, which some editors write, is skipped.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the file is not UTF-8 text, is empty or does not fit; the last names the place in the
    /// file.
    pub fn parse(body: &[u8]) -> Result<File, Error> {
        if [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| body.starts_with(*mark)) || body.contains(&0) {
            return Err(Error::Invalid("the file is UTF-16, or not text at all: save it as UTF-8".to_owned()));
        }
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let (fixtures, is_list) = match body.trim_ascii_start().first() {
            None => {
                return Err(Error::Invalid("the file is empty: it must hold an organization, or a list".to_owned()));
            }
            Some(b'[') => (wire::parse::<Vec<Fixture>>(body)?, true),
            Some(_) => (vec![wire::parse(body)?], false),
        };
        if fixtures.is_empty() {
            return Err(Error::Invalid("the list is empty: it must hold at least one organization".to_owned()));
        }
        Ok(File { fixtures, is_list })
    }
}

/// Reads a map and refuses a duplicate name. serde alone would use the last one.
fn once_each<'de, D: Deserializer<'de>, V: Deserialize<'de>>(from: D) -> Result<BTreeMap<String, V>, D::Error> {
    struct OnceEach<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> de::Visitor<'de> for OnceEach<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut read = BTreeMap::new();
            while let Some(name) = entries.next_key::<String>()? {
                let value = entries.next_value()?;
                if read.contains_key(&name) {
                    return Err(de::Error::custom(format_args!("\"{}\" is listed twice", quoted(&name))));
                }
                read.insert(name, value);
            }
            Ok(read)
        }
    }

    from.deserialize_map(OnceEach(PhantomData))
}

/// What was loaded, with the new keys. The keys are shown only once.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Loaded {
    pub organizations: Vec<LoadedOrganization>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LoadedOrganization {
    pub org_id: String,
    pub name: String,
    pub people: Vec<LoadedPerson>,
    pub teams: Vec<LoadedTeam>,
    pub api_keys: Vec<LoadedKey>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LoadedPerson {
    pub user_id: String,
    pub email: String,
    pub name: String,
    pub role: String,
    pub api_key: String,
    pub api_key_name: Option<String>,
    pub teams: Vec<LoadedMembership>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LoadedMembership {
    pub team_id: String,
    pub name: String,
    pub role: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LoadedTeam {
    pub team_id: String,
    pub name: String,
    pub default: bool,
    pub api_keys: Vec<LoadedKey>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct LoadedKey {
    #[serde(rename = "type")]
    pub category: String,
    pub name: Option<String>,
    pub prefix: String,
    pub api_key: String,
    /// The names of the environments that the key is narrowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<String>>,
    /// The ids of the models that the key is narrowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_ids: Option<Vec<String>>,
    /// The names of the models that the key is narrowed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

/// The line that `guildhall demo -o json` prints.
#[derive(Serialize)]
pub struct Demo<'a> {
    pub url: &'a str,
    pub organizations: &'a [LoadedOrganization],
}

/// Reads a checked value from a string. If the check refuses it, the error names its place.
macro_rules! read_checked {
    ($($Type:ty: $parse:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$Type, D::Error> {
                let parse: fn(String) -> Result<$Type, Error> = $parse;
                parse(String::deserialize(from)?).map_err(de::Error::custom)
            }
        }
    )*};
}

read_checked! {
    Email: |text| Email::parse(&text);
    EnvironmentName: |text| EnvironmentName::parse("name", &text);
    Icon: |text| Icon::parse(&text);
    KeyName: |text| KeyName::parse("name", &text);
    PersonName: |text| PersonName::parse(&text);
    ResourceName: |text| ResourceName::parse("name", &text);
    SecretName: |text| SecretName::parse(&text);
    SecretValue: SecretValue::parse;
    TeamName: |text| TeamName::parse(&text);
}
