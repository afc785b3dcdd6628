//! API keys and one-time links: created from the caller's random generator, shown once, stored as a hash.
//!
//! An API key is `guild_<8>.<32><6>`. The text before the first dot is its prefix, which identifies it in lists and logs. The
//! last six characters are a checksum of the rest. So a secret scanner recognizes a key offline, and a mistyped key is refused
//! without reading the database.

use std::fmt;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const ALPHANUMERICS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LOWER: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

const MARK: &str = "guild_";
const PREFIX_CHARS: usize = 8;
const SECRET_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const ACCESS_KEY_MARK: &str = "GUILD";
const ACCESS_KEY_CHARS: usize = 20;
const ID_CHARS: usize = 10;
const LINK_CHARS: usize = 43;

/// SHA-256 of a token, as the database stores it. A token has 190 random bits, so one pass is enough.
pub type TokenHash = [u8; 32];

/// The text of an API key. `Debug` does not print it.
pub struct PlainKey(Zeroizing<String>);

impl PlainKey {
    pub fn generate(rng: &mut StdRng) -> PlainKey {
        let body =
            format!("{MARK}{}.{}", draw(rng, ALPHANUMERICS, PREFIX_CHARS), draw(rng, ALPHANUMERICS, SECRET_CHARS));
        let checksum = checksum(&body);
        PlainKey(Zeroizing::new(body + &checksum))
    }

    /// Parses a key. `None` if the form or the checksum is wrong.
    pub fn parse(text: &str) -> Option<PlainKey> {
        let body = text.len().checked_sub(CHECKSUM_CHARS).and_then(|at| text.get(..at))?;
        let (prefix, secret) = body.strip_prefix(MARK)?.split_once('.')?;
        let well_formed = prefix.len() == PREFIX_CHARS
            && secret.len() == SECRET_CHARS
            && prefix.bytes().chain(secret.bytes()).all(|b| b.is_ascii_alphanumeric())
            && text[body.len()..] == checksum(body);
        well_formed.then(|| PlainKey(Zeroizing::new(text.to_owned())))
    }

    pub fn prefix(&self) -> &str {
        &self.0[..MARK.len() + PREFIX_CHARS]
    }

    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The text of the key, for the one reply that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({}…)", self.prefix())
    }
}

/// The secret part of a one-time link.
pub struct LinkToken(Zeroizing<String>);

impl LinkToken {
    pub fn generate(rng: &mut StdRng) -> LinkToken {
        LinkToken(Zeroizing::new(draw(rng, ALPHANUMERICS, LINK_CHARS)))
    }

    pub fn hash(&self) -> TokenHash {
        link_hash(&self.0)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The token of a session, which its cookie carries: 256 random bits. `Debug` does not print it.
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    pub fn generate(rng: &mut StdRng) -> SessionToken {
        SessionToken(Zeroizing::new(draw(rng, ALPHANUMERICS, LINK_CHARS)))
    }

    /// Parses a token. `None` if the form is wrong.
    pub fn parse(text: &str) -> Option<SessionToken> {
        let well_formed = text.len() == LINK_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric());
        well_formed.then(|| SessionToken(Zeroizing::new(text.to_owned())))
    }

    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// The hash of a link's token. Any text has one.
pub fn link_hash(text: &str) -> TokenHash {
    Sha256::digest(text.as_bytes()).into()
}

/// Creates the access key id of upload credentials, as long as S3's.
pub fn access_key_id(rng: &mut StdRng) -> String {
    let name = draw(rng, LOWER, ACCESS_KEY_CHARS - ACCESS_KEY_MARK.len());
    ACCESS_KEY_MARK.to_owned() + &name.to_ascii_uppercase()
}

/// A new id.
pub fn id(rng: &mut StdRng) -> String {
    draw(rng, LOWER, ID_CHARS)
}

/// Decodes hexadecimal digits. `None` if the text is something else.
pub fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn draw(rng: &mut StdRng, from: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(from[rng.random_range(0..from.len())])).collect()
}

/// CRC-32 in base 62. It detects typing errors; forgery is detected by the hash.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHANUMERICS[rest % ALPHANUMERICS.len()];
        rest /= ALPHANUMERICS.len();
    }
    digits.iter().map(|&b| char::from(b)).collect()
}
