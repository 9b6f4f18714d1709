use super::format::{COMMENT, END, MAX_BLOCK, padding};
use crate::{Error, ErrorKind, Result};

/// The options of a block that is being written, in a buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct OptionWriter {
    bytes: Vec<u8>,
    is_big_endian: bool,
}

impl OptionWriter {
    pub(super) fn clear(&mut self) -> &mut Self {
        self.bytes.clear();
        self
    }

    /// An option has a length of 16 bits, and a block must be short enough to be read again.
    pub(super) fn put(&mut self, code: u16, value: &[u8]) -> Result<&mut Self> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::Config, what.into(), None));
        let Ok(length) = u16::try_from(value.len()) else {
            return refuse("a comment or another option of a pcapng file has at most 65535 bytes");
        };
        if self.bytes.len() > MAX_BLOCK / 2 {
            return refuse("a block of a pcapng file has at most 8 MiB of comments and options");
        }
        let order = |number: u16| if self.is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.bytes.extend_from_slice(&order(code));
        self.bytes.extend_from_slice(&order(length));
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(&[0; 3][..padding(value.len())]);
        Ok(self)
    }

    pub(super) fn put_comments(&mut self, comments: impl IntoIterator<Item = impl AsRef<str>>) -> Result<&mut Self> {
        for comment in comments {
            self.put(COMMENT, comment.as_ref().as_bytes())?;
        }
        Ok(self)
    }

    /// With the option that ends them, if there are any.
    pub(super) fn finish(&mut self) -> &[u8] {
        const { assert!(END == 0, "four zeros end the options in either byte order") };
        if !self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; 4]);
        }
        &self.bytes
    }
}
