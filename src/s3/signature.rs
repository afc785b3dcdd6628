//! Signature Version 4 in the `Authorization` header, the only form in which the clients sign.
//!
//! The signature covers the method, the raw path and query, all headers that it names, and the value of
//! `x-amz-content-sha256`. The headers that decide what is done must be among the named ones.

use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::refusal::Refusal;
use crate::domain::Time;
use crate::error::quoted;
use crate::seal::keyed_hash;
use crate::token::bytes_of_hex;

pub const CONTENT_SHA256: &str = "x-amz-content-sha256";
pub const SESSION_TOKEN: &str = "x-amz-security-token";
const DATE: &str = "x-amz-date";
const MUST_BE_SIGNED: [&str; 4] = ["host", CONTENT_SHA256, DATE, SESSION_TOKEN];

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SKEW_SECONDS_MAX: i64 = 15 * 60;

/// Characters that S3 does not escape in a path or query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A claimed signature. Nothing in it is proven before [`Signature::verify`].
pub struct Signature<'r> {
    pub access_key_id: &'r str,
    /// Date, region, service and `aws4_request`.
    scope: &'r str,
    signed_headers: &'r str,
    signature: Vec<u8>,
}

impl<'r> Signature<'r> {
    pub fn read(head: &'r Parts) -> Result<Signature<'r>, Refusal> {
        let sent = header(head, "authorization")?
            .ok_or_else(|| Refusal::new(403, "AccessDenied", "an upload must be signed with its credentials"))?;
        let fields = sent.strip_prefix(ALGORITHM).ok_or_else(malformed)?;
        let field = |name: &str| {
            let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(malformed)
        };
        let (access_key_id, scope) = field("Credential")?.split_once('/').ok_or_else(malformed)?;
        let signature = bytes_of_hex(field("Signature")?).ok_or_else(malformed)?;
        Ok(Signature { access_key_id, scope, signed_headers: field("SignedHeaders")?, signature })
    }

    /// Verifies that the holder of this secret signed this head within the allowed time.
    pub fn verify(&self, secret: &str, head: &Parts, now: Time) -> Result<(), Refusal> {
        let date = header(head, DATE)?.ok_or_else(malformed)?;
        let [day, region, "s3", "aws4_request"] = self.scope.split('/').collect::<Vec<_>>()[..] else {
            return Err(malformed());
        };
        if !date.starts_with(day) || day.len() != "20261125".len() {
            return Err(malformed());
        }
        let seconds = epoch_seconds(date).ok_or_else(malformed)? - now.0 / 1000;
        if seconds.abs() > SKEW_SECONDS_MAX {
            let message = "the clocks of client and server are more than 15 minutes apart";
            return Err(Refusal::new(403, "RequestTimeTooSkewed", message));
        }
        let request = Sha256::digest(self.canonical_request(head)?);
        let to_sign = format!("{ALGORITHM}\n{date}\n{}\n{}", self.scope, hex(&request));
        let key = [day, region, "s3", "aws4_request"]
            .iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| keyed_hash(&key, part.as_bytes()).to_vec());
        if keyed_hash(&key, to_sign.as_bytes()).ct_eq(&self.signature).into() {
            return Ok(());
        }
        let host = quoted(header(head, "host")?.unwrap_or_default());
        let message = format!(
            "the signature is not that of these credentials over this request, which came for the host `{host}`: \
             whatever stands before the server must pass on the host that the client signed"
        );
        Err(Refusal::new(403, "SignatureDoesNotMatch", message))
    }

    fn canonical_request(&self, head: &Parts) -> Result<String, Refusal> {
        let names: Vec<&str> = self.signed_headers.split(';').collect();
        if let Some(missing) = MUST_BE_SIGNED.iter().find(|name| !names.contains(name)) {
            return Err(Refusal::new(403, "AccessDenied", format!("the header `{missing}` must be signed")));
        }
        // Names must be sorted and unique, so that the hashed text is never longer than the request.
        if !names.is_sorted_by(|name, next| name < next) {
            return Err(malformed());
        }
        let mut headers = String::new();
        for name in names {
            let values: Vec<&str> = head
                .headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().map_err(|_| malformed()))
                .collect::<Result<_, _>>()?;
            if values.is_empty() {
                return Err(Refusal::new(
                    403,
                    "AccessDenied",
                    format!("the signed header `{}` is missing", quoted(name)),
                ));
            }
            let words = values.iter().map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
            headers += &format!("{name}:{}\n", words.collect::<Vec<_>>().join(","));
        }
        let payload = header(head, CONTENT_SHA256)?.ok_or_else(malformed)?;
        Ok(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{payload}",
            head.method,
            head.uri.path(),
            canonical_query(head.uri.query().unwrap_or_default()),
            self.signed_headers,
        ))
    }
}

/// A header that may occur once.
pub fn header<'r>(head: &'r Parts, name: &str) -> Result<Option<&'r str>, Refusal> {
    let mut values = head.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| Refusal::invalid(format!("the header `{name}` holds no text")))
        }
        (Some(_), Some(_)) => Err(Refusal::invalid(format!("send the header `{name}` once"))),
    }
}

/// The decoded pairs of a query. A `+` is a plus sign here.
pub fn query(text: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn canonical_query(text: &str) -> String {
    let encoded = |text: String| utf8_percent_encode(&text, ENCODED).to_string();
    let mut pairs: Vec<_> = query(text).map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Parses a time such as `20261125T093000Z` to seconds since the epoch.
fn epoch_seconds(date: &str) -> Option<i64> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    PrimitiveDateTime::parse(date, format).ok().map(|parsed| parsed.assume_utc().unix_timestamp())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn malformed() -> Refusal {
    Refusal::new(
        400,
        "AuthorizationHeaderMalformed",
        "sign with Signature Version 4 in the header `Authorization`, and send `x-amz-date` and `x-amz-content-sha256`",
    )
}
