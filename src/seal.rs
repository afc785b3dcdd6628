//! Secrets, sealed and opened.
//!
//! A value is sealed with XChaCha20-Poly1305 under the data key; its associated data binds organization, team, secret id,
//! name and version, so that a sealed value moved to another row does not open. The data key is random, kept in the
//! database wrapped by the master key; the master key is a file beside the database (0600) and never in it.
//!
//! A row that is set back together with its version is not detected. That would need a counter outside the database.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::{OrgId, SecretName, SecretValue, TeamId};

const NONCE_BYTES: usize = 24;
const WRAP_CONTEXT: &[&str] = &["guildhall data key", "1"];

/// 32 bytes from the master key file.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    pub fn generate(rng: &mut StdRng) -> MasterKey {
        MasterKey(Zeroizing::new(rng.random()))
    }

    /// The file's text: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<MasterKey> {
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(MasterKey(key))
    }

    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
    }

    /// A new data key, wrapped for the database.
    pub fn wrap_new_data_key(&self, rng: &mut StdRng) -> Vec<u8> {
        let data_key = Zeroizing::new(rng.random::<[u8; 32]>());
        seal(&self.0, rng, WRAP_CONTEXT, data_key.as_slice())
    }

    /// Unwraps the data key. `None` if another master key wrapped it.
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<Sealer> {
        let data_key = open(&self.0, WRAP_CONTEXT, wrapped)?;
        Some(Sealer { data_key: Zeroizing::new(data_key.as_slice().try_into().ok()?) })
    }
}

/// Seals and opens values under the data key.
pub struct Sealer {
    data_key: Zeroizing<[u8; 32]>,
}

/// The associated data of a secret's value. It must be equal when the value is sealed and when it is opened.
#[derive(Clone, Copy, Debug)]
pub struct AssociatedData<'a> {
    pub org_id: &'a OrgId,
    pub team_id: &'a TeamId,
    pub secret_id: &'a str,
    pub name: &'a SecretName,
    pub version: i64,
}

impl Sealer {
    pub fn seal(&self, rng: &mut StdRng, associated: AssociatedData<'_>, value: &SecretValue) -> Vec<u8> {
        let version = associated.version.to_string();
        seal(&self.data_key, rng, &associated.context(&version), value.expose().as_bytes())
    }

    pub fn open(&self, associated: AssociatedData<'_>, sealed: &[u8]) -> Option<SecretValue> {
        let version = associated.version.to_string();
        let value = open(&self.data_key, &associated.context(&version), sealed)?;
        SecretValue::parse(std::str::from_utf8(&value).ok()?.to_owned()).ok()
    }
}

/// Upload credentials. Their grant is sealed into the session token, so nothing is stored.
impl Sealer {
    /// Derives the secret access key of an access key id.
    pub fn upload_secret(&self, access_key_id: &str) -> Zeroizing<String> {
        let key = Zeroizing::new(keyed_hash(self.data_key.as_slice(), b"guildhall upload secret 1"));
        let secret = Zeroizing::new(keyed_hash(key.as_slice(), access_key_id.as_bytes()));
        Zeroizing::new(secret.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Seals the grant of an access key id into a session token.
    pub fn seal_grant(&self, rng: &mut StdRng, access_key_id: &str, grant: &str) -> Vec<u8> {
        seal(&self.data_key, rng, &grant_context(access_key_id), grant.as_bytes())
    }

    pub fn open_grant(&self, access_key_id: &str, sealed: &[u8]) -> Option<String> {
        let grant = open(&self.data_key, &grant_context(access_key_id), sealed)?;
        String::from_utf8(grant.to_vec()).ok()
    }
}

/// Tokens that forms of the console carry.
impl Sealer {
    /// Derives the token that the forms of a session carry, 64 hexadecimal digits.
    pub fn form_token(&self, session_id: &str) -> String {
        let key = Zeroizing::new(keyed_hash(self.data_key.as_slice(), b"guildhall form token 1"));
        keyed_hash(key.as_slice(), session_id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn grant_context(access_key_id: &str) -> [&str; 3] {
    ["guildhall upload grant", "1", access_key_id]
}

/// HMAC-SHA256.
pub fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl<'a> AssociatedData<'a> {
    fn context(&self, version: &'a str) -> [&'a str; 7] {
        let name = self.name.as_str();
        ["guildhall secret", "1", self.org_id.as_str(), self.team_id.as_str(), self.secret_id, name, version]
    }
}

fn seal(key: &[u8; 32], rng: &mut StdRng, context: &[&str], plain: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = rng.random();
    let payload = Payload { msg: plain, aad: &associated_data(context) };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload).expect("values are far below the cipher's limit");
    [nonce.as_slice(), &sealed].concat()
}

fn open(key: &[u8; 32], context: &[&str], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload { msg: sealed, aad: &associated_data(context) };
    cipher(key).decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

/// Joins the parts, each after its length, so that different parts never give equal bytes.
fn associated_data(context: &[&str]) -> Vec<u8> {
    context.iter().flat_map(|part| (part.len() as u64).to_le_bytes().into_iter().chain(part.bytes())).collect()
}
