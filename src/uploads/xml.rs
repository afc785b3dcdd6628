//! The few documents of S3 that go out, and the one that comes in.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use super::refusal::Refusal;
use super::{BUCKET, PARTS_MAX};
use crate::http::Reply;

pub fn refused(refusal: &Refusal, request_id: &str) -> Reply {
    let (code, message) = (refusal.code, escape(refusal.message.as_str()));
    let id = format!("<RequestId>{request_id}</RequestId>");
    reply(refusal.status, &format!("<Error><Code>{code}</Code><Message>{message}</Message>{id}</Error>"))
}

/// The answer to the beginning of an upload in parts. Keys and ids are of letters, digits and slashes.
pub fn created(s3_key: &str, upload_id: &str) -> Reply {
    let result = format!("<Bucket>{BUCKET}</Bucket><Key>{s3_key}</Key><UploadId>{upload_id}</UploadId>");
    reply(200, &format!("<InitiateMultipartUploadResult>{result}</InitiateMultipartUploadResult>"))
}

pub fn completed(s3_key: &str, tag: &str) -> Reply {
    let result = format!("<Bucket>{BUCKET}</Bucket><Key>{s3_key}</Key><ETag>\"{tag}\"</ETag>");
    reply(200, &format!("<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>"))
}

/// The parts that a client lists to complete an upload: their numbers, and their tags without quotes.
pub fn parts(document: &[u8]) -> Result<Vec<(u16, String)>, Refusal> {
    let text = std::str::from_utf8(document).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    let (mut parts, mut number, mut tag, mut field) = (Vec::new(), None, None, String::new());
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(_) => field.clear(),
            Event::Text(piece) => field += &piece.decode().map_err(|_| malformed())?,
            Event::End(end) => match end.local_name().as_ref() {
                b"PartNumber" => number = field.trim().parse().ok(),
                b"ETag" => tag = Some(field.trim().trim_matches('"').to_owned()),
                b"Part" => parts.push(number.take().zip(tag.take()).ok_or_else(malformed)?),
                _ => {}
            },
            Event::Eof => break,
            _ => {} // references too: the quotes around a tag are often written so
        }
        if parts.len() > usize::from(PARTS_MAX) {
            return Err(malformed());
        }
    }
    if parts.is_empty() { Err(malformed()) } else { Ok(parts) }
}

pub fn malformed() -> Refusal {
    Refusal::new(400, "MalformedXML", "the list of parts cannot be read: every part has its PartNumber and ETag")
}

fn reply(status: u16, element: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{element}").into_bytes();
    Reply { status, content_type: "application/xml", headers: Vec::new(), body, archive: None }
}
