use super::format::{COMMENT, END, MAX_BLOCK, padding};
use crate::{Error, ErrorKind, Result};

/// The options of a block that is being written, in a buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct OptionWriter {
    bytes: Vec<u8>,
    is_big_endian: bool,
}

impl OptionWriter {
    /// That of the section.
    pub(super) fn in_order(&mut self, is_big_endian: bool) {
        self.is_big_endian = is_big_endian;
    }

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

    /// Puts options that were read, as they were.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
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

/// The options of a block that was read: a code and a value each, without the one that ends them.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Options<'a> {
    pub(super) const fn new(rest: &'a [u8], is_big_endian: bool) -> Self {
        Self { rest, is_big_endian }
    }

    /// The comments that are text.
    pub fn comments(self) -> impl Iterator<Item = &'a str> {
        self.filter_map(Self::comment)
    }

    /// The comment that an option is, if it is one and text.
    pub(super) fn comment((code, value): (u16, &'a [u8])) -> Option<&'a str> {
        str::from_utf8(value).ok().filter(|_| code == COMMENT)
    }

    /// The bytes of them that have not been read, and of what is behind them.
    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) const fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    /// The next option, and all of its bytes.
    pub(super) fn next_whole(&mut self) -> Option<(<Self as Iterator>::Item, &'a [u8])> {
        let before = self.rest;
        let option = self.next()?;
        Some((option, &before[..before.len() - self.rest.len()]))
    }

    fn half(&self, at: usize) -> Option<u16> {
        let bytes = *self.rest.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    /// What does not fit into the block ends them too.
    fn next(&mut self) -> Option<Self::Item> {
        let (code, length) = (self.half(0)?, usize::from(self.half(2)?));
        if code == END {
            return None;
        }
        let value = self.rest.get(4..4 + length)?;
        self.rest = self.rest.get(4 + length + padding(length)..)?;
        Some((code, value))
    }
}
