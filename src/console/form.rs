//! The fields of a form, as browsers send them.

use percent_encoding::percent_decode;

use crate::error::Error;

/// The size limit of a form. A secret of 64 KiB needs up to three times its size when it is encoded.
pub const FORM_BYTES_MAX: usize = 256 << 10;

/// How many fields a form may have: a dialog can list a thousand people or teams with a role each.
const FIELDS_MAX: usize = 2200;

/// The fields of a form in the order in which they were sent.
#[derive(Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a form.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a body that is not encoded as a form, for bytes that are not UTF-8, and for more than 2200
    /// fields.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Form, Error> {
        if body.is_empty() {
            return Ok(Form::default());
        }
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Error::Invalid("send the form as application/x-www-form-urlencoded".to_owned()));
        }
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let mut fields = Vec::new();
        for pair in pairs {
            if fields.len() == FIELDS_MAX {
                return Err(Error::Invalid(format!("the form has more than {FIELDS_MAX} fields")));
            }
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            fields.push((decode(&pair[..at])?, decode(pair.get(at + 1..).unwrap_or_default())?));
        }
        Ok(Form(fields))
    }

    /// The first value of a field. A field that was not sent is empty.
    pub fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// The first value of a field, if the field was sent.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All values of a field that may be sent more than once, such as a group of checkboxes.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|given| given == value)
    }

    /// Whether a checkbox was ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        self.given(name).is_some()
    }
}

fn decode(text: &[u8]) -> Result<String, Error> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| Error::Invalid("the form holds bytes that are not UTF-8".to_owned()))?;
    if decoded.contains('\0') {
        return Err(Error::Invalid("the form holds a NUL".to_owned()));
    }
    // Browsers send line ends of a text area as CR LF.
    Ok(decoded.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODED: Option<&str> = Some("application/x-www-form-urlencoded; charset=UTF-8");

    #[test]
    fn fields_are_decoded_once() {
        let form = Form::parse(ENCODED, b"name=a+b%26c%252F&team=x&team=y&value=1%0D%0A2&flag").unwrap();
        assert_eq!(form.text("name"), "a b&c%2F");
        assert_eq!(form.all("team").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(form.text("value"), "1\n2");
        assert!(form.is_ticked("flag") && !form.is_ticked("other") && form.has("team", "y"));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert!(Form::parse(Some("application/json"), b"{}").is_err());
        assert!(Form::parse(ENCODED, b"name=%ff").is_err());
        assert!(Form::parse(ENCODED, b"name=%00").is_err());
        assert!(Form::parse(ENCODED, "a&".repeat(FIELDS_MAX + 1).as_bytes()).is_err());
        assert!(Form::parse(None, b"").is_ok());
    }
}
