//! Converts a reply to an HTTP response.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::outgoing::Outgoing;
use crate::api::request_log::RequestLog;
use crate::api::{App, Reply};
use crate::domain::Download;
use crate::domain::training_jobs::checkpoint_folder;
use crate::error::Error;
use crate::runner::training;

/// Sends a file instead of the reply's body. If it was deleted meanwhile, the answer is 404.
pub(super) fn with_archive(app: &App, mut reply: Reply, log: &RequestLog) -> Response<Outgoing> {
    let Some(download) = reply.archive.take() else { return response(reply) };
    match open(app.db.directory(), &download) {
        Ok((file, bytes_left)) => response(reply).map(|_| Outgoing::File { file, bytes_left }),
        Err(_) => response(log.refuse(&Error::NotFound("archive"))),
    }
}

fn open(data: &Path, download: &Download) -> io::Result<(File, u64)> {
    match download {
        Download::Archive(archive) => Ok((File::open(archive.path(data))?, archive.bytes)),
        Download::Checkpoint { team_id, job_id, path } => {
            let file = training::open_inside(&checkpoint_folder(data, team_id, job_id), path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        }
    }
}

pub(super) fn response(reply: Reply) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::Whole(Bytes::from(reply.body), None));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in reply.headers {
        // A value that is not allowed in a header is left out, so that it cannot split the response.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_split_a_reply_is_left_out() {
        let headers = vec![("location", "/\r\nset-cookie: a=b".to_owned()), ("allow", "GET".to_owned())];
        let reply = response(Reply {
            status: 200,
            content_type: "text/plain",
            headers,
            body: Vec::new(),
            archive: None,
            call: None,
            model_api: None,
        });
        assert!(!reply.headers().contains_key("location") && !reply.headers().contains_key("set-cookie"));
        assert_eq!(reply.headers()["allow"], "GET");
    }
}
