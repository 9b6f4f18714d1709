//! `flow-agent top`: what carries most bytes per second.

mod screen;
mod tally;

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use podtrail_conntrack::{ErrorKind, Event, Events, Filter, Preflight, Subscription, Table, receive_buffer};
use podtrail_daemon::{Failure, shutdown_signal};
use podtrail_event::Timestamp;
use podtrail_netns::Netns;

use crate::args::{By, TopArgs};
use crate::columns::{Column, Columns, quantity};
use crate::{failure, open_netns};
use screen::Screen;
use tally::{Carried, Tally};

/// How often what ended is taken out of the socket.
const TICK: Duration = Duration::from_millis(100);
/// Rows where there is no terminal to fill.
const ROWS: usize = 20;
/// Lines around the rows.
const FRAME: usize = 4;

pub(crate) fn top(args: &TopArgs) -> Result<(), Failure> {
    let netns = open_netns(args.netns.as_deref())?;
    let buffer = receive_buffer(5000, Duration::from_secs(1));
    // Whoever looks on must not make the kernel keep what has ended.
    let events =
        Events::open_in(&Subscription::default().reliable(false).receive_buffer(buffer), &netns).map_err(failure)?;
    let table = Table::open_in(&netns).map_err(failure)?;
    let tally = Tally::new(args.by);
    let top = Top { args, netns, events, table, tally, connections: 0, lost: 0, is_complete: true };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(top.run())
}

struct Top<'a> {
    args: &'a TopArgs,
    netns: Netns,
    events: Events,
    table: Table,
    tally: Tally,
    /// How many connections the last reading showed.
    connections: u64,
    /// Ends of connections that did not get into the socket since the last reading.
    lost: u64,
    /// Whether the last reading showed all.
    is_complete: bool,
}

impl Top<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        let mut signal = std::pin::pin!(shutdown_signal()?);
        let mut last = self.read()?;
        let mut readings = 0;
        let screen = Screen::open().context("cannot print")?;
        while self.args.count.is_none_or(|count| readings < count) {
            let rest = self.args.interval.saturating_sub(last.elapsed());
            tokio::select! {
                () = &mut signal => break,
                () = tokio::time::sleep(TICK.min(rest)) => self.take_events()?,
            }
            if last.elapsed() >= self.args.interval {
                let begun = self.read()?;
                let frame = self.frame(begun - last, screen.size()).context("cannot show what was carried")?;
                screen.show(&frame).context("cannot print")?;
                (last, readings) = (begun, readings + 1);
            }
        }
        Ok(())
    }

    /// Takes what ended out of the socket.
    fn take_events(&mut self) -> Result<(), Failure> {
        loop {
            match self.events.try_next() {
                Ok(Some(Event::Destroyed(connection))) => self.tally.close(&connection),
                Ok(Some(Event::Lost { drops })) => self.lost += u64::from(drops),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Malformed => self.lost += 1,
                Err(e) => return Err(failure(e)),
            }
        }
    }

    /// Reads the table. Says when that began.
    fn read(&mut self) -> Result<Instant, Failure> {
        self.take_events()?;
        let (begun, at) = (Instant::now(), Timestamp::from(SystemTime::now()));
        (self.connections, self.is_complete) = (0, true);
        self.tally.begin();
        let mut dump = self.table.dump(&Filter::default()).map_err(failure)?;
        while let Some(connection) = dump.next() {
            match connection {
                Ok(connection) => {
                    self.connections += 1;
                    self.tally.observe(&connection);
                }
                Err(e) if matches!(e.kind(), ErrorKind::Malformed | ErrorKind::Interrupted) => self.is_complete = false,
                Err(e) => return Err(failure(e)),
            }
        }
        self.tally.end(at, self.is_complete);
        Ok(begun)
    }

    /// What is shown of the time between the last two readings.
    fn frame(&mut self, time: Duration, size: Option<(usize, usize)>) -> anyhow::Result<String> {
        let asked = self.args.rows.map(usize::from);
        let rows = match size {
            Some((lines, _)) => asked.unwrap_or(lines).min(lines.saturating_sub(FRAME)),
            None => asked.unwrap_or(ROWS),
        };
        let (sum, rows) = self.tally.take(rows);
        let rate = |number, unit| format!("{}/s", quantity(per_second(number, time), unit));
        let remarks = self.remarks().join("; ");
        let mut title = format!(
            "{} network namespace {}: {}, {}, {} connections\n{remarks}\n",
            jiff::Timestamp::now().strftime("%H:%M:%SZ"),
            self.netns.inode(),
            rate(sum.sent.saturating_add(sum.received), "B"),
            rate(sum.packets, "packets"),
            self.connections,
        );
        let columns = [
            Column::Right("SENT"),
            Column::Right("RECEIVED"),
            Column::Right("PACKETS"),
            Column::Right("CONNECTIONS"),
            Column::Left(match self.args.by {
                By::Connection => "CONNECTION",
                By::Address => "ADDRESS",
                By::Port => "PORT",
            }),
        ];
        let mut table = Columns::new(columns, Vec::new());
        for (subject, Carried { sent, received, packets, connections }) in rows {
            let [sent, received] = [sent, received].map(|bytes| rate(bytes, "B"));
            table.row([sent, received, rate(packets, ""), connections.to_string(), subject.to_string()])?;
        }
        if table.is_empty() {
            title.push_str("nothing was carried\n");
        }
        Ok(title + std::str::from_utf8(&table.finish()?)?)
    }

    /// Why what is shown may not be all, which is not said again.
    fn remarks(&mut self) -> Vec<String> {
        let mut remarks = Vec::new();
        if Preflight::read(&self.netns).is_ok_and(|preflight| !preflight.accounting) {
            remarks.push("new connections are not counted: see flow-agent check".to_owned());
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            remarks.push(format!("the ends of {lost} connections were lost"));
        }
        if !self.is_complete {
            remarks.push("the table changed too much while it was read".to_owned());
        }
        remarks
    }
}

fn per_second(number: u64, time: Duration) -> u64 {
    let per_second = u128::from(number) * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}
