//! The kernel's connection table, read by `podtrail-conntrack` and by `conntrack` (conntrack-tools), in turns.
//!
//! `cargo bench -p podtrail-benches --bench conntrack [dump|parse|protocol|mark|memory|events|loss]…`. It needs root:
//! it makes a network namespace of its own, and starts itself again as the readers that it measures. All but `loss` is pinned
//! to one core. `PODTRAIL_BENCH_CONNECTIONS` (default 200,000; `dump` also takes 10,000 and 100,000) says how many there are.

#![expect(clippy::print_stdout, reason = "a benchmark reports there")]

mod events;
mod fill;
mod measure;
mod reader;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;
use podtrail_conntrack::wire::Messages;
use podtrail_conntrack::{Filter, Table};

use measure::{REPEATS, Runs, Samples, WARM_UPS, in_turns};
use reader::Reader;

fn main() -> Result<()> {
    if let Some(reader) = Reader::of_process() {
        return reader.run();
    }
    // Before there is another thread: all that this process starts is in it.
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        println!("skipped: a network namespace of one's own needs root ({errno})");
        return Ok(());
    }
    for what in ["acct", "events"] {
        std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{what}"), "1")
            .context("no connection tracking")?;
    }
    machine()?;
    let mut words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if words.is_empty() {
        words = ["loss", "dump", "parse", "protocol", "mark", "memory", "events"].map(str::to_owned).into();
    }
    let chosen = std::env::var("PODTRAIL_BENCH_CONNECTIONS").ok().map(|n| n.parse()).transpose()?;
    let many = chosen.unwrap_or(200_000);
    let mut table = Table::open()?;
    for word in words {
        println!("\n== {word}");
        if word == "loss" {
            events::loss(&mut table)?;
            continue;
        }
        pin()?;
        match word.as_str() {
            "dump" if chosen.is_none() => [10_000, 100_000, many].into_iter().try_for_each(|n| dump(&mut table, n))?,
            "dump" => dump(&mut table, many)?,
            "parse" => parse(&mut table, many)?,
            "protocol" => filter(&mut table, many, Reader::Protocol, "^ipv4 *2 tcp ")?,
            "mark" => filter(&mut table, many, Reader::Mark, &format!(" mark={} ", fill::MARK))?,
            "memory" => memory(&mut table, many)?,
            "events" => events::cost(&mut table, many / 4)?,
            other => bail!("no such benchmark: {other}"),
        }
    }
    Ok(())
}

fn machine() -> Result<()> {
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = line("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    println!("Linux {}, {cores} cores{model}", line("/proc/sys/kernel/osrelease"));
    let version = Command::new("conntrack").arg("--version").output().context("conntrack is not installed")?;
    print!("{}", String::from_utf8_lossy(&version.stdout));
    // All namespaces share one hash table, which every dump walks through.
    let slabs = line("/proc/slabinfo");
    let foreign = slabs.lines().find_map(|line| line.strip_prefix("nf_conntrack ")?.split_whitespace().next());
    println!("connections of other namespaces, about: {}", foreign.unwrap_or("unknown"));
    Ok(())
}

/// This process, and all that it starts, to the last core.
fn pin() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(std::thread::available_parallelism()?.get().saturating_sub(1))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// It lists both families.
const TOOL: &str = "exec conntrack -L -o extended";

/// How many lines a script prints.
fn lines(script: &str) -> Result<u64> {
    let counted = shell(&format!("({script}) 2>/dev/null | wc -l")).output()?;
    Ok(String::from_utf8(counted.stdout)?.trim().parse()?)
}

fn dump(table: &mut Table, n: u32) -> Result<()> {
    fill::fill(table, n)?;
    let seen = Reader::Dump.figures()?.0;
    ensure!(seen == u64::from(n) && lines(TOOL)? == seen, "they do not see the same connections: {seen}");

    let [floor, ours, tool] = in_turns([Reader::Floor.command(), Reader::Dump.command(), shell(TOOL)])?;
    println!("{n} connections, as processes, each of these for one connection:");
    for (name, runs) in [("discard", &floor), ("podtrail", &ours), ("conntrack -L", &tool)] {
        println!("  {name:14} {:>24}, user CPU {:.0} ns", runs.wall.per(n), runs.user.mean() * 1e9 / f64::from(n));
    }
    println!("  podtrail / discard      {}", ours.wall.ratio(&floor.wall));
    println!("  conntrack -L / podtrail {}", tool.wall.ratio(&ours.wall));
    println!("  the same of user CPU    {:.1}", user_ratio(&tool, &ours));
    Ok(())
}

fn user_ratio(tool: &Runs, ours: &Runs) -> f64 {
    tool.user.mean() / ours.user.mean()
}

/// The parser without the kernel: each datagram is read again where it was received.
fn parse(table: &mut Table, n: u32) -> Result<()> {
    fill::fill(table, n)?;
    let mut samples = Samples::default();
    for repeat in 0..WARM_UPS + REPEATS {
        let mut time = Duration::ZERO;
        reader::datagrams(|datagram| {
            let start = Instant::now();
            for message in Messages::new(datagram).flatten() {
                std::hint::black_box(&message.connection());
            }
            time += start.elapsed();
        })?;
        if repeat >= WARM_UPS {
            samples.push(time);
        }
    }
    println!("{n} connections, for one: {}", samples.per(n));
    Ok(())
}

/// A quarter of the table, filtered in the kernel, against the whole of it through grep.
fn filter(table: &mut Table, n: u32, reader: Reader, pattern: &str) -> Result<()> {
    fill::fill(table, n)?;
    let script = format!("({TOOL}) | grep '{pattern}'");
    let seen = reader.figures()?.0;
    ensure!(seen == u64::from(n / 4) && lines(&script)? == seen, "they do not see the same connections: {seen}");
    let [ours, tool] = in_turns([reader.command(), shell(&script)])?;
    println!("{seen} of {n} connections, as processes, for one connection of the table:");
    println!("  podtrail {}, conntrack -L | grep {}", ours.wall.per(n), tool.wall.per(n));
    println!("  conntrack -L | grep / podtrail {}", tool.wall.ratio(&ours.wall));
    Ok(())
}

/// At most resident, in processes of their own.
fn memory(table: &mut Table, n: u32) -> Result<()> {
    fill::fill(table, n)?;
    let (_, without) = Reader::Dump.figures()?;
    let (_, with) = Reader::Meter.figures()?;
    table.flush()?;
    let (_, empty) = Reader::Dump.figures()?;
    println!("{n} connections: {without} kB to dump them ({empty} kB to dump none), {with} kB with a meter");
    println!("  {:.1} B a connection in the meter", (with - without) as f64 * 1024.0 / f64::from(n));
    ensure!(table.dump(&Filter::default())?.next().is_none(), "a flush left connections");
    Ok(())
}
