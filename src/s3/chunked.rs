//! Decodes unsigned `aws-chunked` bodies as they arrive: chunks of any size, none of them held in memory, and
//! trailers.
//!
//! ```text
//! 400\r\n … 1024 bytes … \r\n 0\r\n x-amz-checksum-crc32:AAAAAA==\r\n \r\n
//! ```

use bytes::{Buf as _, Bytes};

const LINE_BYTES_MAX: usize = 1024;
const TRAILERS_MAX: usize = 8;

#[derive(Debug)]
pub struct Chunked {
    at: At,
    /// The incomplete line.
    line: Vec<u8>,
    trailers: Vec<(String, String)>,
}

#[derive(Debug, PartialEq)]
enum At {
    Size,
    /// The number of bytes of the chunk that are still to arrive.
    Data(u64),
    EndOfData,
    Trailers,
    End,
}

/// The error of a body that is not `aws-chunked`.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Chunked {
    pub fn new() -> Chunked {
        Chunked { at: At::Size, line: Vec::new(), trailers: Vec::new() }
    }

    /// The next piece of payload in these bytes. `None` when they are used up.
    pub fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while !bytes.is_empty() {
            if let At::Data(left) = self.at {
                let piece = bytes.split_to(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                let left = left - piece.len() as u64;
                self.at = if left == 0 { At::EndOfData } else { At::Data(left) };
                return Ok(Some(piece));
            }
            if self.at == At::End {
                return Err(Malformed);
            }
            if let Some(line) = self.line(bytes)? {
                self.take(&line)?;
            }
        }
        Ok(None)
    }

    /// The trailers, if the whole body has arrived.
    pub fn end(self) -> Result<Vec<(String, String)>, Malformed> {
        if self.at == At::End { Ok(self.trailers) } else { Err(Malformed) }
    }

    /// Completes the line. Returns it without its end when it is whole.
    fn line(&mut self, bytes: &mut Bytes) -> Result<Option<String>, Malformed> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let piece = bytes.split_to(end.unwrap_or(bytes.len()));
        if self.line.len() + piece.len() > LINE_BYTES_MAX {
            return Err(Malformed);
        }
        self.line.extend_from_slice(&piece);
        if end.is_none() {
            return Ok(None);
        }
        bytes.advance(1);
        let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| Malformed)?;
        Ok(Some(line.strip_suffix('\r').ok_or(Malformed)?.to_owned()))
    }

    fn take(&mut self, line: &str) -> Result<(), Malformed> {
        self.at = match self.at {
            At::Size => match chunk_bytes(line)? {
                0 => At::Trailers,
                bytes => At::Data(bytes),
            },
            At::EndOfData if line.is_empty() => At::Size,
            At::Trailers if line.is_empty() => At::End,
            At::Trailers if self.trailers.len() < TRAILERS_MAX => {
                let (name, value) = line.split_once(':').ok_or(Malformed)?;
                self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                At::Trailers
            }
            At::EndOfData | At::Trailers | At::Data(_) | At::End => return Err(Malformed),
        };
        Ok(())
    }
}

/// Parses a chunk's size: hexadecimal digits only. A sign or an extension, such as a chunk's signature, is refused.
fn chunk_bytes(line: &str) -> Result<u64, Malformed> {
    if line.is_empty() || !line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Malformed);
    }
    u64::from_str_radix(line, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";

    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decode(pieces: &[&[u8]]) -> Result<Decoded, Malformed> {
        let (mut chunked, mut payload) = (Chunked::new(), Vec::new());
        for piece in pieces {
            let mut bytes = Bytes::copy_from_slice(piece);
            while let Some(piece) = chunked.next(&mut bytes)? {
                payload.extend_from_slice(&piece);
            }
        }
        Ok((payload, chunked.end()?))
    }

    #[test]
    fn every_cut_gives_the_same() {
        let trailers = vec![("x-amz-checksum-crc32".to_owned(), "DUoRhQ==".to_owned())];
        for cut in 0..=SENT.len() {
            let (head, tail) = SENT.split_at(cut);
            assert_eq!(decode(&[head, tail]), Ok((b"hello world".to_vec(), trailers.clone())), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = SENT.chunks(1).collect();
        assert_eq!(decode(&bytes).unwrap().0, b"hello world");
    }

    #[test]
    fn what_breaks_off_goes_on_or_is_framed_otherwise_is_refused() {
        for end in 0..SENT.len() {
            assert_eq!(decode(&[&SENT[..end]]), Err(Malformed), "ends at {end}");
        }
        let long = [b'0'; LINE_BYTES_MAX + 1];
        for wrong in [
            &b"0\r\n\r\nmore"[..],
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"5;chunk-signature=00\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\n0\n\n",
            b"4\r\nhello\r\n0\r\n\r\n",
            b"6\r\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nno colon\r\n\r\n",
            &long,
        ] {
            assert_eq!(decode(&[wrong]), Err(Malformed), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
