use std::time::Duration;

use super::message::{u8_at, u32_at, u64_at};

/// What TCP measures of a connection: `struct tcp_info` of linux/tcp.h. What an older kernel does not measure is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The time to the other end and back, smoothed.
    pub rtt: Duration,
    /// How much that varies.
    pub rtt_variance: Duration,
    /// The shortest of the last minutes.
    pub min_rtt: Duration,
    /// How long it waits for a confirmation before it sends again.
    pub retransmission_timeout: Duration,
    /// How often the segment that is next to be confirmed was sent again.
    pub retransmits: u8,
    /// Segments sent again since the beginning.
    pub total_retransmits: u32,
    /// Segments sent that are thought to be lost.
    pub lost: u32,
    /// Segments sent and not confirmed.
    pub unacknowledged: u32,
    /// How many segments may be so.
    pub congestion_window: u32,
    /// The longest segment that is sent, in bytes.
    pub segment_size: u32,
    /// The longest packet that the path takes, in bytes.
    pub path_mtu: u32,
    /// Bytes of data sent, those sent again included.
    pub bytes_sent: u64,
    /// Bytes of data sent again.
    pub bytes_retransmitted: u64,
    /// Bytes of data that the other end confirmed.
    pub bytes_acknowledged: u64,
    /// Bytes of data received.
    pub bytes_received: u64,
    /// Segments sent.
    pub segments_sent: u32,
    /// Segments received.
    pub segments_received: u32,
    /// How fast data got through lately, in bytes per second.
    pub delivery_rate: u64,
    /// Time since data was sent.
    pub since_sent: Duration,
    /// Time since data was received.
    pub since_received: Duration,
}

impl TcpInfo {
    /// It grew at its end with the kernel: each field is there or not.
    pub(super) fn read(info: &[u8]) -> Self {
        let word = |at| u32_at(info, at).unwrap_or(0);
        let long = |at| u64_at(info, at).unwrap_or(0);
        let micros = |at| Duration::from_micros(word(at).into());
        Self {
            rtt: micros(68),
            rtt_variance: micros(72),
            // It is all ones until one is measured.
            min_rtt: if word(148) == u32::MAX { Duration::ZERO } else { micros(148) },
            retransmission_timeout: micros(8),
            retransmits: u8_at(info, 2).unwrap_or(0),
            total_retransmits: word(100),
            lost: word(32),
            unacknowledged: word(24),
            congestion_window: word(80),
            segment_size: word(16),
            path_mtu: word(60),
            bytes_sent: long(200),
            bytes_retransmitted: long(208),
            bytes_acknowledged: long(120),
            bytes_received: long(128),
            segments_sent: word(136),
            segments_received: word(140),
            delivery_rate: long(160),
            since_sent: Duration::from_millis(word(44).into()),
            since_received: Duration::from_millis(word(52).into()),
        }
    }
}
