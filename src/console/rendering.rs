//! Turns templates and refusals into replies.

use askama::Template;

use crate::api::Reply;
use crate::error::Error;

/// A page as a reply.
///
/// # Errors
///
/// [`Error::Internal`] if the template cannot be rendered.
pub fn html(page: &impl Template) -> Result<Reply, Error> {
    let text = page.render().map_err(|cause| Error::Internal(format!("a page cannot be rendered: {cause}")))?;
    Ok(Reply::bytes("text/html; charset=utf-8", text.into_bytes()))
}

/// A refusal without a page around it.
pub fn plain(status: u16, sentence: &str) -> Reply {
    Reply { status, ..Reply::bytes("text/plain; charset=utf-8", sentence.as_bytes().to_vec()) }
}

/// The message of a refusal as a sentence for a person: it begins with a capital letter and ends with a full stop.
pub fn sentence(error: &Error) -> String {
    let message = error.to_string().replace('`', "");
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let stop = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
