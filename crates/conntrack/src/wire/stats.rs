use super::attribute::Attributes;
use super::constants::*;
use super::malformed::{Malformed, MalformedKind};
use super::message::{Kind, Message, conntrack};

/// How full the table of a network namespace is, and what happened in it since the namespace began, on all CPUs together.
///
/// The kernel counts each of the latter in 32 bits for each CPU, which begin again at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are there.
    pub entries: u32,
    /// How many there may be; 0 is no limit, `None` a kernel too old to say. Each namespace may have that many.
    pub max_entries: Option<u32>,
    /// Lookups for a tuple that nobody has, to translate to, that found one who has it.
    pub found: u64,
    /// Packets that are of no connection and cannot begin one.
    pub invalid: u64,
    /// Connections that were inserted otherwise than by their own packets.
    pub insert: u64,
    /// Connections that could not be inserted.
    pub insert_failed: u64,
    /// Packets that were dropped because no connection could be made for them, or none inserted.
    pub drop: u64,
    /// Connections that were ended before their time to make room for others.
    pub early_drop: u64,
    /// ICMP errors that are of no connection, and other packets that could not be looked at.
    pub error: u64,
    /// Lookups that began again because the table had changed.
    pub search_restart: u64,
    /// Insertions that met the same connection, and went on with that.
    pub clash_resolve: u64,
    /// Insertions that failed because a chain of the table is too long.
    pub chain_toolong: u64,
}

impl Stats {
    /// Adds what a message says that answers to [`stats`](super::stats) or [`stats_cpu`](super::stats_cpu).
    ///
    /// # Errors
    ///
    /// If the message is of another kind, or its attributes are not what the kernel makes. Some may have been added then.
    pub fn add(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        const TABLE: u16 = conntrack(IPCTNL_MSG_CT_GET_STATS);
        const CPU: u16 = conntrack(IPCTNL_MSG_CT_GET_STATS_CPU);
        let (add, part): (fn(&mut Self, u16, u32), _) = match message.kind() {
            Kind::Other(TABLE) => (Self::add_table, "ctattr_stats_global"),
            Kind::Other(CPU) => (Self::add_cpu, "ctattr_stats_cpu"),
            _ => return Err(Malformed::new(MalformedKind::Type, "nlmsg_type")),
        };
        let Some((_, attributes)) = message.payload.split_first_chunk::<FAMILY_HEADER>() else {
            return Err(Malformed::new(MalformedKind::Truncated, "nfgenmsg"));
        };
        for attribute in Attributes::new(attributes, part) {
            let attribute = attribute?;
            add(self, attribute.id, attribute.u32(part)?);
        }
        Ok(())
    }

    const fn add_table(&mut self, id: u16, value: u32) {
        match id {
            CTA_STATS_GLOBAL_ENTRIES => self.entries = value,
            CTA_STATS_GLOBAL_MAX_ENTRIES => self.max_entries = Some(value),
            _ => {}
        }
    }

    fn add_cpu(&mut self, id: u16, value: u32) {
        let sum = match id {
            CTA_STATS_FOUND => &mut self.found,
            CTA_STATS_INVALID => &mut self.invalid,
            CTA_STATS_INSERT => &mut self.insert,
            CTA_STATS_INSERT_FAILED => &mut self.insert_failed,
            CTA_STATS_DROP => &mut self.drop,
            CTA_STATS_EARLY_DROP => &mut self.early_drop,
            CTA_STATS_ERROR => &mut self.error,
            CTA_STATS_SEARCH_RESTART => &mut self.search_restart,
            CTA_STATS_CLASH_RESOLVE => &mut self.clash_resolve,
            CTA_STATS_CHAIN_TOOLONG => &mut self.chain_toolong,
            _ => return,
        };
        *sum += u64::from(value);
    }
}
