//! One-time codes of an authenticator (RFC 6238: SHA-1, six digits, 30 seconds) and recovery codes.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngExt as _;
use rand::rngs::StdRng;
use subtle::ConstantTimeEq as _;
use totp_rs::{Algorithm, TOTP};
use zeroize::Zeroizing;

use crate::domain::Time;
use crate::error::Error;

const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;
const STEP_SECONDS: u64 = 30;
/// By how many steps the clock of an authenticator may be wrong.
const STEPS_OFF_MAX: u64 = 1;
/// How many recovery codes a person gets.
pub const RECOVERY_CODES: usize = 10;
/// The longest text that may be a code, with the spaces and hyphens that people type.
const CODE_CHARS_MAX: usize = 40;

/// The secret that an authenticator shares with the server. `Debug` does not print it.
pub struct AuthenticatorSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for AuthenticatorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticatorSecret(…)")
    }
}

impl AuthenticatorSecret {
    pub fn generate(rng: &mut StdRng) -> AuthenticatorSecret {
        AuthenticatorSecret(Zeroizing::new(rng.random()))
    }

    /// The secret with these bytes. `None` for another number of bytes.
    pub fn of(bytes: &[u8]) -> Option<AuthenticatorSecret> {
        Some(AuthenticatorSecret(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The secret as people type it into an authenticator.
    pub fn to_text(&self) -> String {
        self.totp().get_secret_base32()
    }

    /// The address that authenticators read from a picture.
    pub fn to_uri(&self, email: &str) -> String {
        let account = utf8_percent_encode(email, NON_ALPHANUMERIC);
        format!(
            "otpauth://totp/Guildhall:{account}?secret={}&issuer=Guildhall&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
            self.to_text()
        )
    }

    /// The code that an authenticator shows at this time.
    pub fn code_at(&self, now: Time) -> String {
        self.totp().generate(seconds(now))
    }

    /// The step to which this code belongs, if it is a code of about now and of a later step than `last_step`.
    pub fn step_of(&self, code: &Code, now: Time, last_step: u64) -> Option<u64> {
        let now = seconds(now) / STEP_SECONDS;
        let totp = self.totp();
        let mut steps = now.saturating_sub(STEPS_OFF_MAX)..=now + STEPS_OFF_MAX;
        steps.find(|step| {
            let shown = totp.generate(step * STEP_SECONDS);
            bool::from(shown.as_bytes().ct_eq(code.0.as_bytes())) && *step > last_step
        })
    }

    fn totp(&self) -> TOTP {
        let secret = self.0.to_vec();
        TOTP::new(Algorithm::SHA1, DIGITS, 0, STEP_SECONDS, secret)
            .expect("the secret has 160 bits and the code six digits")
    }
}

fn seconds(now: Time) -> u64 {
    u64::try_from(now.0 / 1000).unwrap_or_default()
}

/// A code as typed: of an authenticator, or a recovery code. It is without spaces and hyphens, and in lower case.
#[derive(Clone)]
pub struct Code(Zeroizing<String>);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Code {
    pub fn parse(text: &str) -> Result<Code, Error> {
        let kept: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_CHARS_MAX + 1).collect();
        if kept.is_empty() || kept.len() > CODE_CHARS_MAX || !kept.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::field("code", "must be the six digits of an authenticator, or a recovery code"));
        }
        Ok(Code(Zeroizing::new(kept.to_ascii_lowercase())))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}
