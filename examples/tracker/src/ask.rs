//! Questions to a ledger: `who-had`, `history`, `export`, `verify`.

use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use podtrail_daemon::{Failure, escape};
use podtrail_event::{Claim, Timestamp};
use podtrail_ledger::{Answer, Error, Filter, Held, OwnerReply, Span, Store, Uncovered};
use podtrail_track::Sink;
use serde_json::json;

use crate::args::{
    AnswerFormat, ExportArgs, ExportFormat, Exported, HistoryArgs, LedgerArgs, TableFormat, What, WhoHadArgs,
};
use crate::output::{Printer, Times, holder, span};

/// A running tracker says about twice a second how far it has seen: so long "now" may be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(crate) fn who_had(args: &WhoHadArgs) -> Result<(), Failure> {
    let asked = now();
    let at = args.at.unwrap_or(asked);
    if at > asked {
        return Err(Failure::usage(anyhow!("--at is in the future; it is {asked} now")));
    }
    let store = Store::open_read_only(&args.ledger.ledger)?;
    let reply = reply(&store, args, at)?;
    let mut out = io::stdout().lock();
    match args.output {
        AnswerFormat::Json => writeln!(out, "{}", to_json(args, at, &reply)).context("cannot print the answer")?,
        AnswerFormat::Text => print(&mut out, args.ip, at, &reply).context("cannot print the answer")?,
    }
    Ok(())
}

/// The answer; when the ledger is being written and has nearly got to `at`, the one that it will have in a moment.
fn reply(store: &Store, args: &WhoHadArgs, at: Timestamp) -> Result<OwnerReply, Error> {
    let started = Instant::now();
    loop {
        let reply = store.owner(&args.network, args.ip, at)?;
        let Answer::Unknown(Uncovered::NotYet, _) = reply.answer else { return Ok(reply) };
        let coverage = store.coverage()?;
        let behind = coverage.spans().last().map(|(_, until)| at.saturating_duration_since(*until));
        if behind.is_none_or(|behind| behind > PATIENCE) || started.elapsed() > PATIENCE {
            return Ok(reply);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn to_json(args: &WhoHadArgs, at: Timestamp, reply: &OwnerReply) -> serde_json::Value {
    json!({
        "v": 1,
        "query": {"ip": args.ip, "network": args.network, "at": at},
        "answer": reply.answer.as_str(),
        "claims": reply.answer.named(),
        "users": reply.users,
        "reason": reply.reason,
        "gaps": reply.gaps,
    })
}

/// An answer for people, and why.
pub(crate) fn print(out: &mut impl io::Write, ip: IpAddr, at: Timestamp, reply: &OwnerReply) -> io::Result<()> {
    let named = reply.answer.named();
    let line = |claim: &Claim| {
        let node = if claim.node.is_empty() { String::new() } else { format!(" on {}", claim.node) };
        escape(&format!("{}{node}, {}, uid {}", holder(claim), span(claim), claim.uid)).into_owned()
    };
    let verdict = match (&reply.answer, named) {
        (Answer::Certain(claim), _) => format!("{} had {ip} at {at}", holder(claim)),
        (Answer::Presumed(claim), _) => format!("{} presumably had {ip} at {at}", holder(claim)),
        (Answer::Ambiguous(_), [one]) => format!("{} or nobody had {ip} at {at}", holder(one)),
        (Answer::Ambiguous(_), some) => format!("one of {} may have had {ip} at {at}", some.len()),
        (Answer::Nobody, _) => format!("nobody had {ip} at {at}"),
        (Answer::Unknown(..), _) => format!("it is not known who had {ip} at {at}"),
    };
    writeln!(out, "{}: {}", reply.answer.as_str(), escape(&verdict))?;
    for claim in named {
        writeln!(out, "  {}", line(claim))?;
    }
    if !reply.users.is_empty() {
        writeln!(out, "used by hostNetwork pods:")?;
        for claim in &reply.users {
            writeln!(out, "  {}", line(claim))?;
        }
    }
    writeln!(out, "why: {}", escape(&reply.reason))
}

pub(crate) fn history(args: &HistoryArgs) -> Result<(), Failure> {
    let filter = filter(args.what.clone()).map_err(Failure::usage)?;
    let span: Span = args.from.unwrap_or(Timestamp::MIN)..=args.to.unwrap_or(Timestamp::MAX);
    if span.is_empty() {
        return Err(Failure::usage(anyhow!("--to is before --from")));
    }
    let store = Store::open_read_only(&args.ledger.ledger)?;
    let out = stdout();
    let printer = match args.output {
        TableFormat::Text => Printer::text(if args.relative { Times::Before(now()) } else { Times::Absolute }, out),
        TableFormat::Json => Printer::json(out),
        TableFormat::Csv => Printer::csv(out).context("cannot print")?,
    };
    print_all(&store, &filter, &span, printer)
}

fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

fn print_all<W: io::Write>(
    store: &Store,
    filter: &Filter,
    span: &Span,
    mut printer: Printer<W>,
) -> Result<(), Failure> {
    let print = |held: Held| printer.print(&held).map_err(anyhow::Error::new);
    store.history(filter, span, print)?;
    printer.finish().context("cannot print")?;
    Ok(())
}

fn filter(what: What) -> anyhow::Result<Filter> {
    Ok(match what {
        What { ip: Some(ip), .. } => Filter::Addresses(ip..=ip),
        What { cidr: Some(range), .. } => Filter::Addresses(range),
        What { pod: Some((namespace, name)), .. } => Filter::Pod { namespace, name },
        What { uid: Some(uid), .. } => Filter::Uid(uid),
        What { node: Some(node), .. } => Filter::Node(node),
        What { .. } => bail!("say what the history is to be of"),
    })
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let store = Store::open_read_only(&args.ledger.ledger)?;
    match (args.what, args.format) {
        (Exported::Claims, format) => {
            let out = stdout();
            let printer = match format {
                ExportFormat::Ndjson => Printer::json(out),
                ExportFormat::Csv => Printer::csv(out).context("cannot print")?,
            };
            print_all(&store, &Filter::All, &(Timestamp::MIN..=Timestamp::MAX), printer)
        }
        (Exported::Events, ExportFormat::Ndjson) => export_events(&store, &args.look.sink(String::new())),
        (Exported::Events, ExportFormat::Csv) => Err(Failure::usage(anyhow!("events are exported as NDJSON only"))),
    }
}

fn export_events(store: &Store, sink: &Sink) -> Result<(), Failure> {
    let mut out = stdout();
    let mut after = store.anchor()?;
    loop {
        let batch = store.observations(after, 1000)?;
        let Some(last) = batch.last() else { break };
        after = last.seq;
        let records = batch.iter().flat_map(|stored| stored.records(store.cluster()));
        for line in records.filter_map(|record| sink.render(&record)) {
            writeln!(out, "{line}").context("cannot print")?;
        }
    }
    out.flush().context("cannot print")?;
    Ok(())
}

pub(crate) fn verify(args: &LedgerArgs) -> Result<(), Failure> {
    let store = Store::open_read_only(&args.ledger)?;
    let verified = store.verify()?;
    let mut out = io::stdout().lock();
    let since = match verified.anchor {
        0 => "from the beginning".to_owned(),
        anchor => format!("after {anchor}, where retention has cut it"),
    };
    let (evidence, claims) = (verified.evidence, verified.claims);
    writeln!(out, "ok: {evidence} pieces of evidence {since} are as they were written, and so are {claims} claims")
        .context("cannot print")?;
    Ok(())
}
