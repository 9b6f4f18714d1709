use super::constants::{ATTRIBUTE_HEADER, NLA_TYPE_MASK};
use super::malformed::{Malformed, MalformedKind};

/// One netlink attribute (`struct nlattr`), its flags taken off.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) id: u16,
    pub(super) value: &'a [u8],
}

/// The attributes that follow each other in `rest`; `part` is what they are in, for errors. After an error there are no more.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(bytes: &'a [u8], part: &'static str) -> Self {
        Self { rest: bytes, part }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        self.rest = &[];
        let header = rest.split_first_chunk().and_then(|(length, more)| Some((length, more.first_chunk()?)));
        let Some((&length, &id)) = header else {
            return Some(Err(Malformed::new(MalformedKind::Truncated, self.part)));
        };
        let length = usize::from(u16::from_ne_bytes(length));
        let value = match rest.get(ATTRIBUTE_HEADER..length) {
            Some(value) => value,
            None if length < ATTRIBUTE_HEADER => return Some(Err(Malformed::new(MalformedKind::Truncated, self.part))),
            None => return Some(Err(Malformed::new(MalformedKind::Overlong, self.part))),
        };
        // The padding of the last one may be missing.
        self.rest = rest.get(align(length)..).unwrap_or_default();
        Some(Ok(Attribute { id: u16::from_ne_bytes(id) & NLA_TYPE_MASK, value }))
    }
}

impl<'a> Attribute<'a> {
    /// The attributes nested in this one.
    pub(super) const fn nested(self, part: &'static str) -> Attributes<'a> {
        Attributes::new(self.value, part)
    }

    pub(super) fn array<const N: usize>(self, part: &'static str) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_wrong_size| Malformed::new(MalformedKind::Size, part))
    }

    pub(super) fn u8(self, part: &'static str) -> Result<u8, Malformed> {
        self.array(part).map(u8::from_be_bytes)
    }

    pub(super) fn u16(self, part: &'static str) -> Result<u16, Malformed> {
        self.array(part).map(u16::from_be_bytes)
    }

    pub(super) fn u32(self, part: &'static str) -> Result<u32, Malformed> {
        self.array(part).map(u32::from_be_bytes)
    }

    pub(super) fn u64(self, part: &'static str) -> Result<u64, Malformed> {
        self.array(part).map(u64::from_be_bytes)
    }
}

/// `NLMSG_ALIGN` and `NLA_ALIGN` of linux/netlink.h.
pub(super) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}
