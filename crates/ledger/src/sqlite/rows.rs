//! Between rows and types.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use podtrail_event::{Subject, Timestamp};
use rusqlite::Row;
use rusqlite::types::Type;

use super::observation::ClaimRow;
use crate::interval::Interval;

pub(super) const fn ns(t: Timestamp) -> i64 {
    t.as_nanosecond()
}

/// Longer ones than fit count as the longest that does.
pub(super) fn nanoseconds(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn length(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    Ok(Duration::from_nanos(row.get::<_, i64>(column)?.unsigned_abs()))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_nanosecond)
}

/// The address as 16 bytes, IPv4 mapped: one order for both families.
pub(super) fn address_key(ip: IpAddr) -> [u8; 16] {
    let v6: Ipv6Addr = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.octets()
}

pub(super) const fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Pod => "pod",
        Subject::Node => "node",
    }
}

pub(super) fn invalid(column: usize, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into())
}

/// Columns of `claims` as [`claim`] reads them.
pub(super) const CLAIM: &str = "c.id, c.network, c.address, c.subject, c.holder, c.ordinal, c.shared, c.start_earliest, \
     c.start_latest, c.end_earliest, c.end_latest, c.may_end";

pub(super) fn claim(row: &Row<'_>) -> rusqlite::Result<ClaimRow> {
    let address: String = row.get(2)?;
    let subject: String = row.get(3)?;
    Ok(ClaimRow {
        id: row.get(0)?,
        network: row.get(1)?,
        ip: address.parse().map_err(|e| invalid(2, e))?,
        subject: match subject.as_str() {
            "pod" => Subject::Pod,
            "node" => Subject::Node,
            other => return Err(invalid(3, format!("{other:?} is no subject"))),
        },
        holder: row.get(4)?,
        ordinal: row.get(5)?,
        shared: row.get(6)?,
        interval: Interval {
            start_earliest: time(row, 7)?,
            start_latest: time(row, 8)?,
            end_earliest: time(row, 9)?,
            end_latest: row.get::<_, Option<i64>>(10)?.map(Timestamp::from_nanosecond),
            may_end: row.get(11)?,
        },
    })
}
