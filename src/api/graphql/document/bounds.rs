//! The bounds of a document and of the operation that is built from it.

use std::cell::Cell;

use crate::error::Error;

// The bounds of a document. Braces, brackets and parentheses are also bounded by the parser: they nest at most 50 deep.
/// The most bytes of a document that may push: it carries configurations or patches.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The most bytes of a document of a caller who may not deploy in any team.
pub const SMALL_DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// The body that carries a document may be this many times as long as the document. The same holds for all arguments of
/// a document together, as JSON.
pub const EXPANSION_MAX: usize = 2;
/// The most tokens of a document: names, numbers, texts and signs.
pub const TOKENS_MAX: usize = 20_000;
/// The most arguments of all selections together.
const ARGUMENTS_MAX: usize = 1024;
/// The most values of all arguments together: lists, objects, their fields and their elements.
const NODES_MAX: usize = 50_000;
pub const ROOT_FIELDS_MAX: usize = 16;
/// The most fields and fragments. The fields of a fragment count each time the fragment is used.
const SELECTIONS_MAX: usize = 256;
pub const DEPTH_MAX: usize = 50;

/// Counts the tokens of a document. The count may be slightly higher than the parser's.
pub fn tokens(document: &str) -> usize {
    let mut bytes = document.bytes().peekable();
    let mut tokens = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'#' => while bytes.next_if(|byte| !matches!(byte, b'\n' | b'\r')).is_some() {},
            b'"' => {
                tokens += 1;
                while let Some(byte) = bytes.next_if(|byte| !matches!(byte, b'\n' | b'\r')) {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
            b'_' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                tokens += 1;
                while bytes
                    .next_if(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-'))
                    .is_some()
                {}
            }
            _ => tokens += 1,
        }
    }
    tokens
}

/// How much may still be built from a document.
pub struct Left {
    selections: Cell<usize>,
    arguments: Cell<usize>,
    nodes: Cell<usize>,
    bytes: Cell<usize>,
    bytes_max: usize,
}

impl Left {
    pub fn new(bytes_max: usize) -> Left {
        Left {
            selections: Cell::new(SELECTIONS_MAX),
            arguments: Cell::new(ARGUMENTS_MAX),
            nodes: Cell::new(NODES_MAX),
            bytes: Cell::new(bytes_max),
            bytes_max,
        }
    }

    /// Counts one field or fragment.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the document has too many.
    pub fn take_selection(&self) -> Result<(), Error> {
        take(&self.selections, 1)
            .ok_or_else(|| Error::Invalid(format!("a document asks for at most {SELECTIONS_MAX} fields and fragments")))
    }

    /// Counts one argument.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the document has too many.
    pub fn take_argument(&self) -> Result<(), Error> {
        take(&self.arguments, 1)
            .ok_or_else(|| Error::Invalid(format!("a document has at most {ARGUMENTS_MAX} arguments")))
    }

    /// Counts the values of an argument and their bytes as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the arguments of the document are too large.
    pub fn take_value(&self, (nodes, bytes): (usize, usize)) -> Result<(), Error> {
        let taken = take(&self.nodes, nodes).and_then(|()| take(&self.bytes, bytes));
        taken.ok_or_else(|| {
            let bytes_max = self.bytes_max;
            Error::Invalid(format!(
                "the arguments of a document are at most {bytes_max} bytes of JSON with {NODES_MAX} values, variables \
                 counted wherever they are used"
            ))
        })
    }
}

fn take(left: &Cell<usize>, taken: usize) -> Option<()> {
    left.set(left.get().checked_sub(taken)?);
    Some(())
}
