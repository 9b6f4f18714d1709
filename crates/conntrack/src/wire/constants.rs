//! Numbers of the kernel, each group with the header that it is from.

/// linux/netlink.h: `struct nlmsghdr`, message types and flags.
pub(super) const HEADER: usize = 16;
pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLMSG_OVERRUN: u16 = 4;
pub(super) const NLM_F_REQUEST: u16 = 0x01;
pub(super) const NLM_F_ACK: u16 = 0x04;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;

/// linux/netlink.h: `struct nlattr`; its type has two flags.
pub(super) const ATTRIBUTE_HEADER: usize = 4;
pub(super) const NLA_F_NESTED: u16 = 0x8000;
pub(super) const NLA_TYPE_MASK: u16 = 0x3fff;

/// linux/netfilter/nfnetlink.h: `struct nfgenmsg`; a message's type is the subsystem and an operation.
pub(super) const FAMILY_HEADER: usize = 4;
pub(super) const NFNL_SUBSYS_CTNETLINK: u8 = 1;

/// linux/netfilter/nfnetlink_conntrack.h: `enum cntl_msg_types`.
pub(super) const IPCTNL_MSG_CT_NEW: u8 = 0;
pub(super) const IPCTNL_MSG_CT_GET: u8 = 1;
pub(super) const IPCTNL_MSG_CT_DELETE: u8 = 2;
pub(super) const IPCTNL_MSG_CT_GET_STATS_CPU: u8 = 4;
pub(super) const IPCTNL_MSG_CT_GET_STATS: u8 = 5;
pub(super) const IPCTNL_MSG_CT_GET_DYING: u8 = 6;

/// linux/socket.h, as `nfgen_family`.
pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_type`.
pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_STATUS: u16 = 3;
pub(super) const CTA_PROTOINFO: u16 = 4;
pub(super) const CTA_HELP: u16 = 5;
pub(super) const CTA_TIMEOUT: u16 = 7;
pub(super) const CTA_MARK: u16 = 8;
pub(super) const CTA_COUNTERS_ORIG: u16 = 9;
pub(super) const CTA_COUNTERS_REPLY: u16 = 10;
pub(super) const CTA_ID: u16 = 12;
pub(super) const CTA_ZONE: u16 = 18;
pub(super) const CTA_TIMESTAMP: u16 = 20;
pub(super) const CTA_MARK_MASK: u16 = 21;
pub(super) const CTA_LABELS: u16 = 22;
pub(super) const CTA_FILTER: u16 = 25;
pub(super) const CTA_STATUS_MASK: u16 = 26;

/// The same header: `enum ctattr_tuple`.
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_TUPLE_ZONE: u16 = 3;

/// The same header: `enum ctattr_ip`.
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_IP_V6_SRC: u16 = 3;
pub(super) const CTA_IP_V6_DST: u16 = 4;

/// The same header: `enum ctattr_l4proto`.
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
pub(super) const CTA_PROTO_ICMP_ID: u16 = 4;
pub(super) const CTA_PROTO_ICMP_TYPE: u16 = 5;
pub(super) const CTA_PROTO_ICMP_CODE: u16 = 6;
pub(super) const CTA_PROTO_ICMPV6_ID: u16 = 7;
pub(super) const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
pub(super) const CTA_PROTO_ICMPV6_CODE: u16 = 9;

/// The same header: `enum ctattr_protoinfo`, `ctattr_protoinfo_tcp`.
pub(super) const CTA_PROTOINFO_TCP: u16 = 1;
pub(super) const CTA_PROTOINFO_TCP_STATE: u16 = 1;

/// The same header: `enum ctattr_counters`.
pub(super) const CTA_COUNTERS_PACKETS: u16 = 1;
pub(super) const CTA_COUNTERS_BYTES: u16 = 2;
pub(super) const CTA_COUNTERS32_PACKETS: u16 = 3;
pub(super) const CTA_COUNTERS32_BYTES: u16 = 4;

/// The same header: `enum ctattr_tstamp`.
pub(super) const CTA_TIMESTAMP_START: u16 = 1;
pub(super) const CTA_TIMESTAMP_STOP: u16 = 2;

/// The same header: `enum ctattr_help`.
pub(super) const CTA_HELP_NAME: u16 = 1;

/// The same header: `enum ctattr_stats_cpu`.
pub(super) const CTA_STATS_FOUND: u16 = 2;
pub(super) const CTA_STATS_INVALID: u16 = 4;
pub(super) const CTA_STATS_INSERT: u16 = 8;
pub(super) const CTA_STATS_INSERT_FAILED: u16 = 9;
pub(super) const CTA_STATS_DROP: u16 = 10;
pub(super) const CTA_STATS_EARLY_DROP: u16 = 11;
pub(super) const CTA_STATS_ERROR: u16 = 12;
pub(super) const CTA_STATS_SEARCH_RESTART: u16 = 13;
pub(super) const CTA_STATS_CLASH_RESOLVE: u16 = 14;
pub(super) const CTA_STATS_CHAIN_TOOLONG: u16 = 15;

/// The same header: `enum ctattr_stats_global`.
pub(super) const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
pub(super) const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

/// The same header: `enum ctattr_filter`.
pub(super) const CTA_FILTER_ORIG_FLAGS: u16 = 1;
pub(super) const CTA_FILTER_REPLY_FLAGS: u16 = 2;

/// net/netfilter/nf_internals.h: the bits of a filter's flags, which no header for programs has.
pub(super) const CTA_FILTER_IP_SRC: u32 = 1;
pub(super) const CTA_FILTER_IP_DST: u32 = 1 << 1;
pub(super) const CTA_FILTER_PROTO_NUM: u32 = 1 << 3;
pub(super) const CTA_FILTER_PROTO_SRC_PORT: u32 = 1 << 4;
pub(super) const CTA_FILTER_PROTO_DST_PORT: u32 = 1 << 5;
