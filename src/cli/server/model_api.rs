//! `guildhall model-api`

use std::io::Read as _;
use std::path::PathBuf;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cli::{Data, Failure, Format, Output, operator, print, report};
use crate::domain::SECRET_VALUE_BYTES_MAX;
use crate::server::operator::Asked;
use crate::wire::model_apis::{AddModelApi, ListedUpstreams};

const ROUTE: &str = "/v1/operator/model_apis";

/// Configure the upstreams of Model APIs
#[derive(clap::Subcommand)]
pub enum Action {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add an upstream that answers a Model API
///
/// Works with and without a running server. The default team of each organization can call it at once: at
/// `/inference/v1/chat/completions`, with the slug as `model`. The upstream speaks OpenAI's interface and knows the model by
/// the same name.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  guildhall model-api add llama-3-3-70b-instruct --url http://127.0.0.1:9000/v1
  guildhall model-api add gpt-oss-120b --url https://llm.example.com/v1 --credential-file key.txt")]
pub struct Add {
    /// The name of the model in requests
    slug: String,
    /// The base URL of the upstream, below which chat/completions is
    #[arg(long, value_name = "URL")]
    url: String,
    /// A file with the credential that the upstream wants, sent as `Authorization: Bearer …`; - reads standard input
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
}

/// List the upstreams
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    format: Format,
}

/// Remove an upstream
///
/// Calls that are in progress end undisturbed.
#[derive(clap::Args)]
pub struct Remove {
    /// The name of the model in requests
    slug: String,
    #[command(flatten)]
    data: Data,
}

pub fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Add(add) => run_add(add),
        Action::List(list) => run_list(list),
        Action::Remove(remove) => run_remove(remove),
    }
}

fn run_add(add: &Add) -> Result<(), Failure> {
    let credential = add.credential_file.as_ref().map(read_credential).transpose()?;
    let asked = AddModelApi { slug: add.slug.clone(), url: add.url.clone(), credential };
    let body = serde_json::to_vec(&asked).expect("shapes of ours always serialize");
    operator::ask(&add.data.path()?, ROUTE, &body, |_| {
        report(format_args!("Model API {} is answered by {}", add.slug, add.url));
        Ok(())
    })
}

/// Reads a credential from a file, without the line break at its end.
fn read_credential(path: &PathBuf) -> Result<String, Failure> {
    let failed = |cause| Failure::new(format!("cannot read {}: {cause}", path.display()));
    let mut text = String::new();
    let bytes_max = SECRET_VALUE_BYTES_MAX as u64 + 2;
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(bytes_max).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(bytes_max).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn run_list(list: &List) -> Result<(), Failure> {
    let asked = Asked { method: "GET", path: ROUTE, body: &[] };
    operator::ask_for(&list.data.path()?, &asked, |answer| {
        if list.format.output == Output::Json {
            return print(String::from_utf8_lossy(answer));
        }
        let listed: ListedUpstreams = serde_json::from_slice(answer)
            .map_err(|cause| Failure::new(format!("the server's answer cannot be read: {cause}")))?;
        for upstream in &listed.items {
            let credential = if upstream.has_credential { "with a credential" } else { "without a credential" };
            print(format_args!("{}  {}  {credential}", upstream.slug, upstream.url))?;
        }
        Ok(())
    })
}

fn run_remove(remove: &Remove) -> Result<(), Failure> {
    let path = format!("{ROUTE}/{}", utf8_percent_encode(&remove.slug, NON_ALPHANUMERIC));
    operator::ask_for(&remove.data.path()?, &Asked { method: "DELETE", path: &path, body: &[] }, |_| {
        report(format_args!("Model API {} is removed", remove.slug));
        Ok(())
    })
}
