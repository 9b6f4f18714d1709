use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::commit::Input;
use crate::metrics::Metrics;

/// A pod to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) id: i64,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Asks for each target with a `GET`, some at a time, until there are no more to come.
pub(crate) async fn confirm(
    client: podtrail_watch::Client,
    targets: mpsc::Receiver<Target>,
    inputs: mpsc::Sender<Input>,
    metrics: Arc<Metrics>,
) {
    const AT_ONCE: usize = 8;
    let targets = futures::stream::unfold(targets, |mut targets| async {
        let target = targets.recv().await?;
        Some((target, targets))
    });
    targets
        .for_each_concurrent(AT_ONCE, |target| {
            let (client, inputs, metrics) = (client.clone(), inputs.clone(), metrics.clone());
            async move {
                match podtrail_watch::confirm::pod(&client, &target.namespace, &target.name).await {
                    // With the loop gone there is nobody to tell.
                    Ok(got) => drop(inputs.send(Input::Confirmed(target.id, got)).await),
                    Err(e) => {
                        metrics.not_confirmed();
                        let (namespace, name) = (&target.namespace, &target.name);
                        tracing::debug!(namespace, name, error = &e as &dyn std::error::Error, "pod was not confirmed");
                    }
                }
            }
        })
        .await;
}
