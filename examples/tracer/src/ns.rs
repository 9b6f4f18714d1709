//! `ns`: what is in a pod's network namespace.

mod json;
mod tables;

use std::io::{self, Write as _};

use anyhow::Context as _;
use podtrail_daemon::{Exit, Failure, print_error};
use podtrail_netns::Netns;
use podtrail_netns::inspect::{Address, Interface, Neighbour, Route, Socket};

use crate::args::{Format, NsArgs, Part};
use crate::pods::{Entrance, Found, Node};
use crate::request::Wanted;

/// What was asked for of one namespace. Interfaces are always there: they have the names of all else.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) addresses: Option<Vec<Address>>,
    pub(crate) routes: Option<Vec<Route>>,
    pub(crate) neighbours: Option<Vec<Neighbour>>,
    pub(crate) sockets: Option<Vec<Socket>>,
}

impl View {
    fn of(netns: &Netns, what: &[Part]) -> podtrail_netns::Result<Self> {
        let wanted = |part| what.is_empty() || what.contains(&part);
        Ok(Self {
            interfaces: netns.interfaces()?,
            addresses: wanted(Part::Addresses).then(|| netns.addresses()).transpose()?,
            routes: wanted(Part::Routes).then(|| netns.routes()).transpose()?,
            neighbours: wanted(Part::Neighbours).then(|| netns.neighbours()).transpose()?,
            sockets: wanted(Part::Sockets).then(|| netns.sockets()).transpose()?,
        })
    }

    /// The name of an interface, or its number where it has gone meanwhile.
    pub(crate) fn name(&self, index: u32) -> String {
        let known = self.interfaces.iter().find(|interface| interface.index == index);
        known.map_or_else(|| format!("if{index}"), |interface| interface.name.clone())
    }
}

pub(crate) fn ns(args: &NsArgs) -> Result<u8, Failure> {
    let wanted = Wanted::of(&args.pods)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let node = Node::new(&args.pods)?;
        let mut failures = Vec::new();
        let pods = node.find(&args.pods, &wanted).await?;
        for pod in &pods {
            let shown = match node.open(pod).await {
                Ok(entrance) => show(args, pod, &entrance, pods.len() > 1),
                Err(failure) => Err(failure),
            };
            match shown {
                Err(failure) if pods.len() > 1 => {
                    print_error(failure.error.as_ref());
                    failures.push(failure.exit);
                }
                shown => shown?,
            }
        }
        Ok(failures.first().copied().unwrap_or(Exit::Ok as u8))
    })
}

fn show(args: &NsArgs, pod: &Found, entrance: &Entrance, is_one_of_many: bool) -> Result<(), Failure> {
    let view = View::of(&entrance.netns, &args.what)
        .with_context(|| format!("pod {}", pod.title()))
        .map_err(Failure::unavailable)?;
    let mut out = io::stdout().lock();
    let written = match args.output {
        Format::Json => writeln!(out, "{}", json::of(&view, &args.what, entrance)),
        Format::Table => tables::write(&mut out, &view, &args.what, is_one_of_many.then(|| pod.title()), entrance),
    };
    Ok(written.context("cannot print")?)
}
