//! `tracker demo`: a simulated cluster, tracked as `run` tracks a real one, and questions about it.

mod questions;
mod screen;
mod story;
mod truth;

use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use podtrail_daemon::{Failure, shutdown_signal};
use podtrail_event::{Cluster, DEFAULT_NETWORK, Timestamp};
use podtrail_ledger::Store;
use podtrail_track::{Config, Metrics, Sink, Tracking};
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::args::DemoArgs;
use crate::ask;
use crate::running::{Destination, Running};
use questions::Question;
use screen::{Narrator, Screen, Shown, Tone};
use story::{Act, Story};
use truth::{Truth, is_right};

/// In less than this nothing can be seen.
const SHORTEST: Duration = Duration::from_secs(2);
/// How often the story goes on.
const STEP: Duration = Duration::from_millis(10);
/// How long the tracker may take to see the end of the story.
const PATIENCE: Duration = Duration::from_secs(30);
/// There is one clock here; it may be set a little meanwhile.
const CLOCK_ERROR: Duration = Duration::from_millis(20);

pub(crate) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    if args.duration < SHORTEST {
        return Err(Failure::usage(anyhow!(
            "--duration {:?} is too short to show anything: 2s at least",
            args.duration
        )));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(show(args))
}

async fn show(args: &DemoArgs) -> Result<(), Failure> {
    let home = tempfile::tempdir().context("cannot make a folder for the ledger")?;
    let ledger = home.path().join("podtrail.db");
    let screen = Screen::new();
    let mut story = Story::new(args.seed, args.duration)?;
    let (seed, seconds) = (args.seed, args.duration.as_secs_f64());
    screen.line(Tone::Title, &format!("A simulated cluster of two nodes, seed {seed}, tracked for {seconds} s"))?;
    screen.line(Tone::Plain, "Its events, as they happen (UTC):\n")?;
    if !tell(&mut story, &ledger, screen).await? {
        return Ok(());
    }
    let nodes = [0, 1].into_iter().flat_map(|node| story::node_addresses(node).map(|ip| (ip, format!("node-{node}"))));
    let truth = Truth::new(story.cluster.truth(), nodes);
    let store = Store::open_read_only(&ledger)?;
    screen.line(Tone::Title, "\nSome questions, answered as `tracker who-had` answers them")?;
    let mut wrong = 0;
    for question in questions::instructive(&story, &truth) {
        wrong += usize::from(!answer(&store, &truth, &question, screen)?);
    }
    wrong += check(&store, &truth, &story, seed, screen)?;
    match wrong {
        0 => Ok(()),
        wrong => Err(anyhow!("{wrong} answers contradict what the simulator knows").into()),
    }
}

/// Lets the story happen and tracks it. Whether it came to its end; else a signal ended it.
async fn tell(story: &mut Story, ledger: &Path, screen: Screen) -> anyhow::Result<bool> {
    let interrupted = shutdown_signal()?;
    let mut api = Api::new(story.cluster.clone())?;
    api.open()?;
    let (narrator, shown) = Narrator::new(screen);
    let running = track(&api, story.cluster.uid(), ledger, narrator)?;
    let (stop, stopped) = oneshot::channel::<()>();
    // An error says that the sender is dropped, which is how it is told to stop.
    let mut running = std::pin::pin!(running.until(async { drop(stopped.await) }));
    let told = tokio::select! {
        ended = &mut running => {
            ended?;
            bail!("the tracker ended before the story");
        }
        acted = act(story, &mut api, ledger, shown, screen) => acted.map(|()| true),
        () = interrupted => Ok(false),
    };
    drop(stop);
    let stopped = running.await;
    let told = told?;
    stopped?;
    Ok(told)
}

/// The story from its beginning until the tracker has seen all of it.
async fn act(
    story: &mut Story,
    api: &mut Api,
    ledger: &Path,
    shown: watch::Receiver<Shown>,
    screen: Screen,
) -> anyhow::Result<()> {
    // What happens before the first list has come is before the ledger's history.
    covered(ledger, story.began()).await?;
    story.begin();
    while let Some(acts) = story.step()? {
        for act in acts {
            match act {
                Act::Cut => api.close().await,
                Act::Restore => api.open()?,
                _ => {}
            }
            if let Some(text) = story::told(act) {
                screen.line(Tone::Aside, &format!("             -- {text}"))?;
            }
        }
        tokio::time::sleep(STEP).await;
    }
    caught_up(story, ledger, shown).await
}

/// A tracker of the simulated cluster.
fn track(api: &Api, uid: &str, ledger: &Path, narrator: Narrator) -> anyhow::Result<Running> {
    let metrics = Metrics::new(&mut Registry::default());
    let store = Store::open(ledger, &Cluster::new(uid), CLOCK_ERROR)?;
    let mut config = Config::default();
    // A real cluster is asked every five minutes; here everything is over by then.
    config.confirm_every = Duration::from_millis(500);
    config.confirm_rate = 200.0;
    config.watch.backoff_max = Duration::from_millis(250);
    config.watch.quiet = Duration::from_millis(250);
    config.watch.heartbeat = Duration::from_millis(100);
    let tracking = Tracking::new(store, config, metrics)?;
    let sink = Sink { name: "screen".to_owned(), ..Sink::default() };
    let destination = Destination { sink, writer: Box::new(narrator) };
    Running::start(tracking, api.client()?, vec![destination], || ())
}

/// Waits until the tracker has seen all that there is to see.
async fn caught_up(story: &Story, ledger: &Path, mut shown: watch::Receiver<Shown>) -> anyhow::Result<()> {
    covered(ledger, story.cluster.now()).await?;
    let dropped = story.uid(story::DROPPED).context("a pod of the cast is missing")?;
    let seen = shown.wait_for(|shown| shown.gaps > 0 && shown.deleted.contains(dropped));
    let seen = tokio::time::timeout(PATIENCE, seen).await.context("the tracker has not seen all in time")?;
    drop(seen.context("the events ended before the story")?);
    Ok(())
}

/// Waits until the ledger covers `at`.
async fn covered(ledger: &Path, at: Timestamp) -> anyhow::Result<()> {
    let store = Store::open_read_only(ledger)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while store.coverage()?.spans().last().is_none_or(|(_, until)| until.saturating_sub(CLOCK_ERROR) <= at) {
        if tokio::time::Instant::now() > deadline {
            bail!("the simulated cluster is not watched");
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

/// The simulated API server, which can go away and come back at the same address.
struct Api {
    cluster: podtrail_sim::Cluster,
    listener: TcpListener,
    serving: Option<JoinHandle<io::Result<()>>>,
}

impl Api {
    fn new(cluster: podtrail_sim::Cluster) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
        listener.set_nonblocking(true).context("cannot listen on 127.0.0.1")?;
        Ok(Self { cluster, listener, serving: None })
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = listener.context("cannot listen on 127.0.0.1")?;
        self.serving = Some(tokio::spawn(podtrail_sim::serve(self.cluster.clone(), listener, pending())));
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // It ends by being aborted: there is nothing else to hear.
            drop(serving.await);
        }
    }

    /// A client that heeds no proxy: the API is on this machine.
    fn client(&self) -> anyhow::Result<kube::Client> {
        let address = self.listener.local_addr().context("cannot listen on 127.0.0.1")?;
        let mut config = kube::Config::new(format!("http://{address}").parse()?);
        config.default_retry = false;
        config.read_timeout = None;
        Ok(kube::Client::try_from(config)?)
    }
}

/// Asks a question, and shows the answer and the truth. Whether it is right.
fn answer(store: &Store, truth: &Truth, question: &Question, screen: Screen) -> anyhow::Result<bool> {
    let Question { about, ip, at } = question;
    let reply = store.owner(DEFAULT_NETWORK, *ip, *at)?;
    screen.line(Tone::Aside, &format!("\n# {about}"))?;
    screen.line(Tone::Title, &format!("$ tracker who-had {ip} --at {at}"))?;
    ask::print(&mut io::stdout().lock(), *ip, *at, &reply).context("cannot print the answer")?;
    let owner = truth.owner(*ip, *at);
    let right = is_right(&reply.answer, owner);
    let (tone, verdict) = if right { (Tone::Good, "right") } else { (Tone::Alarm, "WRONG") };
    let owner = owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string());
    screen.line(tone, &format!("{verdict}: in truth {owner}"))?;
    Ok(right)
}

/// Asks many questions, and says how many answers are right. How many are wrong.
fn check(store: &Store, truth: &Truth, story: &Story, seed: u64, screen: Screen) -> anyhow::Result<usize> {
    let from = story.began().saturating_sub(Duration::from_millis(500));
    let tally = questions::many(store, truth, seed, from, story.ended())?;
    let (many, addresses) = (questions::MANY, truth.addresses().count());
    screen.line(
        Tone::Title,
        &format!("\n{many} more about {addresses} addresses, checked against what the simulator knows"),
    )?;
    for (answer, count) in &tally.answers {
        screen.line(Tone::Plain, &format!("  {answer:<10} {count:>5}"))?;
    }
    for wrong in &tally.wrong {
        screen.line(Tone::Alarm, wrong)?;
    }
    let tone = if tally.wrongs == 0 { Tone::Good } else { Tone::Alarm };
    screen.line(tone, &format!("{} right, {} wrong", many - tally.wrongs, tally.wrongs))?;
    let verified = store.verify()?;
    let (evidence, claims) = (verified.evidence, verified.claims);
    screen.line(
        Tone::Plain,
        &format!("{evidence} pieces of evidence verify, and so do the {claims} claims that follow from them"),
    )?;
    Ok(tally.wrongs)
}
