//! What the head and the trailers of a request declare about its body. Every declaration is checked against the bytes
//! that arrive.
//!
//! A checksum that is not supported is refused, never ignored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::http::request::Parts as Head;
use sha2::{Digest as _, Sha256};

use super::content::{Content, Tally};
use super::refusal::Refusal;
use super::signature::{CONTENT_SHA256, header};
use crate::token::bytes_of_hex;

pub const CHECKSUM: &str = "x-amz-checksum-";
const CRC32: &str = "x-amz-checksum-crc32";
const SHA256: &str = "x-amz-checksum-sha256";
const ARCHIVE_BYTES: &str = "x-amz-mp-object-size";
/// Headers with the prefix of a checksum that are not checksums.
const NO_CHECKSUMS: [&str; 2] = ["x-amz-checksum-algorithm", "x-amz-checksum-type"];

pub struct DeclaredBody {
    /// The length of the payload.
    pub bytes: u64,
    pub framing: Framing,
    /// The SHA-256 that the signature covers.
    payload_sha256: Option<[u8; 32]>,
    checksums: Vec<Checksum>,
    /// The name of the announced trailer.
    trailer: Option<String>,
    /// The length of the archive whose parts are listed.
    archive_bytes: Option<u64>,
}

/// Whether a body may arrive without a signature: only if nobody on the way can replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsignedPayloads {
    Accepted,
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Plain,
    /// `aws-chunked`.
    Chunked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    Crc32(u32),
    Sha256([u8; 32]),
    /// A checksum of the checksums of this many parts.
    OfParts(Box<Checksum>, usize),
}

impl DeclaredBody {
    pub fn by(head: &Head, unsigned: UnsignedPayloads) -> Result<DeclaredBody, Refusal> {
        if head.headers.contains_key("content-md5") {
            return Err(Refusal::not_implemented("`content-md5`"));
        }
        let (framing, payload_sha256) = match header(head, CONTENT_SHA256)?.unwrap_or_default() {
            "UNSIGNED-PAYLOAD" => (Framing::Plain, None),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => (Framing::Chunked, None),
            hash => match bytes_of_hex(hash).and_then(|hash| hash.try_into().ok()) {
                Some(hash) => (Framing::Plain, Some(hash)),
                None => return Err(Refusal::not_implemented("this way to sign a body")),
            },
        };
        if payload_sha256.is_none() && unsigned == UnsignedPayloads::Refused {
            return Err(Refusal::new(
                403,
                "AccessDenied",
                "the body must be signed, because this server is not reached by https: send its SHA-256 in \
                 `x-amz-content-sha256`",
            ));
        }
        let length = match framing {
            Framing::Plain => header(head, "content-length")?,
            Framing::Chunked => header(head, "x-amz-decoded-content-length")?,
        };
        let bytes = length.and_then(|length| length.parse().ok()).ok_or_else(|| {
            Refusal::new(
                411,
                "MissingContentLength",
                "say how many bytes come: `content-length`, or of a chunked body \
                                                       `x-amz-decoded-content-length`",
            )
        })?;
        let mut checksums = Vec::new();
        for name in head.headers.keys().map(|name| name.as_str()) {
            if name.starts_with(CHECKSUM) && !NO_CHECKSUMS.contains(&name) {
                checksums.push(Checksum::read(name, header(head, name)?.unwrap_or_default())?);
            }
        }
        let trailer = header(head, "x-amz-trailer")?.map(str::to_ascii_lowercase);
        if trailer.is_some() != (framing == Framing::Chunked) {
            return Err(Refusal::invalid("a chunked body, and no other, announces its checksum in `x-amz-trailer`"));
        }
        let archive_bytes = header(head, ARCHIVE_BYTES)?.map(|text| {
            let bytes = text.parse().ok();
            bytes.ok_or_else(|| Refusal::invalid(format!("`{ARCHIVE_BYTES}` must be a number of bytes")))
        });
        Ok(DeclaredBody {
            bytes,
            framing,
            payload_sha256,
            checksums,
            trailer,
            archive_bytes: archive_bytes.transpose()?,
        })
    }

    /// Adds the trailers. The announced one must be among them.
    pub fn add_trailers(&mut self, trailers: &[(String, String)]) -> Result<(), Refusal> {
        let announced = self.trailer.as_deref().unwrap_or_default();
        let trailer = trailers.iter().find(|(name, _)| name == announced);
        let (name, value) = trailer.ok_or_else(|| Refusal::invalid("the trailer that was announced did not come"))?;
        self.checksums.push(Checksum::read(name, value)?);
        Ok(())
    }

    /// Hashes what will be checked. SHA-256, which takes the longest, is computed only if it is declared.
    pub fn tally(&self) -> Tally {
        let is_claimed = self.payload_sha256.is_some()
            || self.trailer.as_deref() == Some(SHA256)
            || self.checksums.iter().any(|checksum| matches!(checksum, Checksum::Sha256(_)));
        Tally::new(is_claimed.then(Sha256::new))
    }

    /// Checks a list of parts. The signed hash is of the list; all other declarations are about the archive.
    pub fn check_list(&mut self, list: &[u8]) -> Result<(), Refusal> {
        match self.payload_sha256.take() {
            Some(declared_body) if declared_body[..] != Sha256::digest(list)[..] => Err(other_payload()),
            Some(_) | None => Ok(()),
        }
    }

    pub fn check(&self, content: &Content) -> Result<(), Refusal> {
        if self.payload_sha256.is_some() && self.payload_sha256 != content.sha256 {
            return Err(other_payload());
        }
        if self.checksums.iter().all(|checksum| checksum.is_of(content)) { Ok(()) } else { Err(bad_digest()) }
    }

    /// Checks the parts together before they are joined. All other declarations are about the archive.
    pub fn check_parts(&mut self, parts: &[&Content]) -> Result<(), Refusal> {
        self.check_archive_bytes(parts.iter().map(|part| part.bytes).sum())?;
        let of_parts: Vec<Checksum> =
            self.checksums.extract_if(.., |checksum| matches!(checksum, Checksum::OfParts(..))).collect();
        if of_parts.iter().all(|checksum| checksum.is_of_parts(parts)) { Ok(()) } else { Err(bad_digest()) }
    }

    pub fn check_archive_bytes(&self, bytes: u64) -> Result<(), Refusal> {
        match self.archive_bytes {
            Some(declared_body) if declared_body != bytes => Err(Refusal::invalid(format!(
                "`{ARCHIVE_BYTES}` says {declared_body}, and the parts hold {bytes} bytes"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

fn bad_digest() -> Refusal {
    Refusal::new(400, "BadDigest", "what came does not have the checksum that was sent")
}

fn other_payload() -> Refusal {
    Refusal::new(400, "XAmzContentSHA256Mismatch", "the body is not the one whose hash was signed")
}

impl Checksum {
    /// Parses the header or trailer of this name.
    pub fn read(name: &str, value: &str) -> Result<Checksum, Refusal> {
        if let Some((sum, count)) = value.split_once('-') {
            let count = count.parse().map_err(|_| Refusal::invalid(format!("`{name}` is no checksum of parts")))?;
            return Ok(Checksum::OfParts(Box::new(Checksum::read(name, sum)?), count));
        }
        let bytes = || BASE64.decode(value).unwrap_or_default();
        let checksum = match name {
            CRC32 => bytes().try_into().ok().map(|bytes| Checksum::Crc32(u32::from_be_bytes(bytes))),
            SHA256 => bytes().try_into().ok().map(Checksum::Sha256),
            _ => return Err(Refusal::not_implemented(&format!("`{name}`"))),
        };
        checksum.ok_or_else(|| Refusal::invalid(format!("`{name}` is not the checksum of a whole object, in Base64")))
    }

    pub fn is_of(&self, content: &Content) -> bool {
        match self {
            Checksum::Crc32(declared_body) => *declared_body == content.crc32(),
            Checksum::Sha256(declared_body) => Some(*declared_body) == content.sha256,
            Checksum::OfParts(..) => false, // a single PUT has no parts
        }
    }

    fn is_of_parts(&self, parts: &[&Content]) -> bool {
        let Checksum::OfParts(declared_body, count) = self else { return false };
        *count == parts.len()
            && match **declared_body {
                Checksum::Crc32(declared_body) => {
                    let sums: Vec<u8> = parts.iter().flat_map(|part| part.crc32().to_be_bytes()).collect();
                    declared_body == crc32fast::hash(&sums)
                }
                Checksum::Sha256(declared_body) => {
                    let sums: Option<Vec<[u8; 32]>> = parts.iter().map(|part| part.sha256).collect();
                    sums.is_some_and(|sums| Sha256::digest(sums.concat())[..] == declared_body[..])
                }
                Checksum::OfParts(..) => false,
            }
    }
}
