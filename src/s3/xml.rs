//! The XML documents of S3: the few that are sent, and the one that is received.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use super::PARTS_MAX;
use super::declared_body::{CHECKSUM, Checksum};
use super::refusal::Refusal;
use crate::api::Reply;
use crate::api::request_log::RequestLog;
use crate::domain::uploads::BUCKET;

impl Refusal {
    /// Converts an error. The cause of an internal error goes to the log only.
    pub fn reply(&self, log: &RequestLog) -> Reply {
        if let Some(failure) = &self.failure {
            log.note_failure(failure);
        }
        refused(self, log.id())
    }
}

fn refused(refusal: &Refusal, request_id: &str) -> Reply {
    let (code, message) = (refusal.code, escape(refusal.message.as_str()));
    let id = format!("<RequestId>{request_id}</RequestId>");
    reply(refusal.status, &format!("<Error><Code>{code}</Code><Message>{message}</Message>{id}</Error>"))
}

/// The reply to CreateMultipartUpload. Keys and ids contain letters, digits and slashes only, so nothing needs
/// escaping.
pub fn created(s3_key: &str, upload_id: &str) -> Reply {
    let result = format!("<Bucket>{BUCKET}</Bucket><Key>{s3_key}</Key><UploadId>{upload_id}</UploadId>");
    reply(200, &format!("<InitiateMultipartUploadResult>{result}</InitiateMultipartUploadResult>"))
}

pub fn completed(s3_key: &str, tag: &str) -> Reply {
    let result = format!("<Bucket>{BUCKET}</Bucket><Key>{s3_key}</Key><ETag>\"{tag}\"</ETag>");
    reply(200, &format!("<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>"))
}

/// A part in the list of CompleteMultipartUpload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    pub number: u16,
    /// The entity tag, without quotes.
    pub tag: String,
    pub checksums: Vec<Checksum>,
}

/// A part while its fields are being read.
#[derive(Default)]
struct Fields {
    number: Option<u16>,
    tag: Option<String>,
    checksums: Vec<Checksum>,
}

impl Fields {
    fn take(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
        let is_repeated = match name {
            "PartNumber" => self.number.replace(part_number(text)?).is_some(),
            "ETag" => self.tag.replace(text.trim_matches('"').to_owned()).is_some(),
            _ => {
                let algorithm = name.strip_prefix("Checksum").map(str::to_ascii_lowercase);
                let checksum = algorithm.map(|algorithm| Checksum::read(&format!("{CHECKSUM}{algorithm}"), text));
                self.checksums.extend(checksum.transpose()?);
                false
            }
        };
        if is_repeated { Err(malformed()) } else { Ok(()) }
    }

    fn end(self) -> Result<ListedPart, Refusal> {
        let (number, tag) = self.number.zip(self.tag).ok_or_else(malformed)?;
        Ok(ListedPart { number, tag, checksums: self.checksums })
    }
}

pub fn part_number(text: &str) -> Result<u16, Refusal> {
    let number = text.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number) && !text.starts_with('+'));
    number.ok_or_else(|| {
        let message = format!("the number of a part must be a number from 1 to {PARTS_MAX}");
        Refusal::new(400, "InvalidArgument", message)
    })
}

/// Parses the parts that a client lists to complete an upload.
pub fn parts(document: &[u8]) -> Result<Vec<ListedPart>, Refusal> {
    let text = std::str::from_utf8(document).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    let (mut parts, mut fields, mut field) = (Vec::new(), Fields::default(), String::new());
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(_) => field.clear(),
            Event::Text(piece) => field += &piece.decode().map_err(|_| malformed())?,
            Event::End(end) => match end.local_name().as_ref() {
                b"Part" => parts.push(std::mem::take(&mut fields).end()?),
                name => fields.take(&String::from_utf8_lossy(name), field.trim())?,
            },
            Event::Eof => break,
            _ => {} // references too: the quotes of an entity tag are often written so
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
    Reply {
        status,
        content_type: "application/xml",
        headers: Vec::new(),
        body,
        archive: None,
        call: None,
        model_api: None,
    }
}
