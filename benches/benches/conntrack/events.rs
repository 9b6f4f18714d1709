//! What an event costs, and which are lost.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podtrail_conntrack::{AsyncEvents, Event, Events, Journal, Subscription, Table};
use rustix::net::{RecvFlags, recv};
use tokio::runtime::Runtime;

use crate::fill::fill;
use crate::measure::{REPEATS, Samples, WARM_UPS};

/// The system's default, which the kernel takes as it is.
const SMALL: usize = 212_992;

type Way = fn(Events, u32) -> Result<()>;

/// Each of several sockets gets all events of a flush into a queue that is large enough, and is then read to its end.
pub(crate) fn cost(table: &mut Table, n: u32) -> Result<()> {
    let ways: [(&str, Way); 4] =
        [("recv alone", discard), ("Events", blocking), ("AsyncEvents", on_tokio), ("Journal::fill", journal)];
    let mut samples: [Samples; 4] = Default::default();
    for repeat in 0..WARM_UPS + REPEATS {
        let subscription = Subscription::default().receive_buffer(256 << 20);
        let mut sockets = Vec::new();
        fill(table, n)?;
        for _ in ways {
            sockets.push(Some(Events::open(&subscription)?));
        }
        table.flush()?;
        for turn in 0..ways.len() {
            let which = (repeat + turn) % ways.len();
            let events = sockets[which].take().expect("each has one turn");
            let start = Instant::now();
            ways[which].1(events, n)?;
            if repeat >= WARM_UPS {
                samples[which].push(start.elapsed());
            }
        }
    }
    println!("{n} ends of connections that wait in a socket, for each:");
    for ((name, _), samples) in ways.iter().zip(&samples) {
        println!("  {name:14} {:>24}", samples.per(n));
    }
    Ok(())
}

fn discard(events: Events, n: u32) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    for _ in 0..n {
        recv(&events, &mut *buffer, RecvFlags::DONTWAIT)?;
    }
    Ok(())
}

fn blocking(mut events: Events, n: u32) -> Result<()> {
    let mut ended = 0;
    while let Some(event) = events.try_next()? {
        ended += u32::from(matches!(std::hint::black_box(event), Event::Destroyed(_)));
    }
    ensure!(ended == n, "{ended} of {n}");
    Ok(())
}

fn on_tokio(events: Events, n: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let read = |runtime: Runtime| {
        runtime.block_on(async move {
            let mut events = AsyncEvents::new(events)?;
            for _ in 0..n {
                let event = events.next().await?;
                ensure!(matches!(std::hint::black_box(event), Event::Destroyed(_)), "one was lost");
            }
            Ok(())
        })
    };
    read(runtime)
}

fn journal(mut events: Events, n: u32) -> Result<()> {
    let filled = Journal::create()?.fill(&mut events, u64::MAX)?;
    ensure!(filled.is_empty && u32::try_from(filled.events) == Ok(n), "{filled:?}");
    Ok(())
}

/// All connections end at once, while one of the two listens with a receive buffer of the default size.
pub(crate) fn loss(table: &mut Table) -> Result<()> {
    for n in [1000, 100_000] {
        for _ in 0..5 {
            fill(table, n)?;
            let ours = count(table, n)?;
            fill(table, n)?;
            let tool = count_of_tool(table)?;
            println!("of {n} ends: podtrail {ours}, conntrack -E {tool}");
        }
    }
    Ok(())
}

fn count(table: &mut Table, n: u32) -> Result<u32> {
    let mut events = Events::open(&Subscription::default().receive_buffer(SMALL))?;
    thread::scope(|scope| {
        let flush = scope.spawn(|| table.flush());
        let (mut ended, mut last) = (0, Instant::now());
        while ended < n && last.elapsed() < Duration::from_secs(5) {
            match events.try_next()? {
                Some(Event::Destroyed(_)) => (ended, last) = (ended + 1, Instant::now()),
                Some(_) => {}
                None => thread::sleep(Duration::from_micros(100)),
            }
        }
        flush.join().expect("a flush does not panic")?;
        Ok(ended)
    })
}

fn count_of_tool(table: &mut Table) -> Result<usize> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events");
    let mut command = Command::new("conntrack");
    command.args(["-E", "-e", "DESTROY"]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(File::create(&path)?);
    let mut tool = command.spawn().context("conntrack is not installed")?;
    wait_for_listener(&mut tool)?;
    table.flush()?;
    let mut length = None;
    loop {
        let now = path.metadata()?.len();
        if length.replace(now) == Some(now) {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    // It writes what it has kept, and ends.
    kill(Pid::from_raw(tool.id().try_into()?), Signal::SIGTERM)?;
    tool.wait()?;
    Ok(std::fs::read_to_string(path)?.lines().filter(|line| line.contains("[DESTROY]")).count())
}

/// Until a netlink socket is in a group.
fn wait_for_listener(tool: &mut Child) -> Result<()> {
    for _ in 0..1000 {
        let sockets = std::fs::read_to_string("/proc/self/net/netlink")?;
        let mut columns = sockets.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        // Protocol (12 is netfilter), port, groups.
        if columns.any(|columns| columns[1] == "12" && columns[3] != "00000000") {
            return Ok(());
        }
        ensure!(tool.try_wait()?.is_none(), "conntrack -E has ended");
        thread::sleep(Duration::from_millis(10));
    }
    bail!("conntrack -E does not listen")
}
