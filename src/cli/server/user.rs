//! `guildhall user`

use serde::Deserialize;

use crate::cli::{Data, Failure, Format, Output, operator, print, report};
use crate::wire::users::{IssueApiKey, IssuePasswordReset, IssuedApiKey, IssuedPasswordReset};

/// Give people a way back in
#[derive(clap::Subcommand)]
pub enum Action {
    #[command(subcommand)]
    ApiKey(ApiKeyAction),
    #[command(subcommand)]
    Password(PasswordAction),
}

/// Personal API keys
#[derive(clap::Subcommand)]
pub enum ApiKeyAction {
    Create(CreateApiKey),
}

/// Make a personal API key for a member of an organization
///
/// Works with and without a running server. The key is printed once. The organization's audit log records that the operator
/// created it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall user api-key create --organization acme --email ada@acme.example
  guildhall user api-key create --organization acme --email ada@acme.example --name laptop -o json")]
pub struct CreateApiKey {
    /// The name of the organization
    #[arg(long, value_name = "NAME")]
    organization: String,
    /// The member's e-mail address
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// The name of the key: lower-case letters, digits and hyphens
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

/// Passwords
#[derive(clap::Subcommand)]
pub enum PasswordAction {
    Reset(ResetPassword),
}

/// Make a one-time link by which a person sets a password
///
/// Works with and without a running server. The link is printed once and is valid for a day.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall user password reset --email ada@acme.example
  guildhall user password reset --email ada@acme.example -o json")]
pub struct ResetPassword {
    /// The person's e-mail address
    #[arg(long, value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::ApiKey(ApiKeyAction::Create(create)) => create_api_key(create),
        Action::Password(PasswordAction::Reset(reset)) => reset_password(reset),
    }
}

fn create_api_key(create: &CreateApiKey) -> Result<(), Failure> {
    let asked = IssueApiKey {
        organization: create.organization.clone(),
        email: create.email.clone(),
        name: create.name.clone(),
    };
    let body = serde_json::to_vec(&asked).expect("shapes of ours always serialize");
    operator::ask(&create.data.path()?, "/v1/operator/users/api_keys", &body, |answer| {
        let issued: IssuedApiKey = read(answer)?;
        match create.format.output {
            Output::Json => print(String::from_utf8_lossy(answer)),
            Output::Text => {
                report(format_args!(
                    "A personal API key of {} in the organization \"{}\".\n\
                     Save this key now. It will not be shown again.",
                    create.email, create.organization
                ));
                print(issued.api_key)
            }
        }
    })
}

fn reset_password(reset: &ResetPassword) -> Result<(), Failure> {
    let asked = IssuePasswordReset { email: reset.email.clone() };
    let body = serde_json::to_vec(&asked).expect("shapes of ours always serialize");
    operator::ask(&reset.data.path()?, "/v1/operator/users/password_resets", &body, |answer| {
        let issued: IssuedPasswordReset = read(answer)?;
        match reset.format.output {
            Output::Json => print(String::from_utf8_lossy(answer)),
            Output::Text => {
                report(format_args!(
                    "A link for {}. It works once, until {}. Its last part is the token; to use it, send\n  \
                     POST /v1/users/reset {{\"token\": \"…\", \"password\": \"…\", \"api_key_name\": \"…\"}}\n\
                     With `api_key_name` the answer holds a new personal API key.",
                    reset.email, issued.expires_at
                ));
                print(issued.reset_url)
            }
        }
    })
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|cause| Failure::new(format!("the server's answer cannot be read: {cause}")))
}
