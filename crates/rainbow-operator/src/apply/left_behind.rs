//! Objects that a Rainbow that is gone has left behind. Usually a Rainbow is deleted last. Where its finalizer was removed manually, colors
//! remain that are being deleted and that Rainbow's own finalizer keeps.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, api::ListParams};
use rainbow_api::labels;

use super::{Failure, Outcome, api, classify, set_finalizers};
use crate::{key::Key, kind::Kind, live::version, messages};

/// Returns whether Rainbow's finalizer keeps an object that is being deleted.
pub(crate) fn is_held(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|known| known == labels::FINALIZER)
}

/// Removes the finalizer from the colors of a Rainbow that is gone. The API server is asked for both, because the watch of Rainbows may lag
/// behind the watch of colors, and because a color that cannot be read is kept, too.
pub(crate) async fn let_go(client: &Client, key: &Key) -> Outcome {
    let held = match held(client, key).await {
        Ok(held) => held,
        Err(failure) => return Outcome { failure: Some(failure), ..Outcome::default() },
    };
    let mut outcome = Outcome::default();
    for one in join_all(held.iter().map(|meta| let_go_of(client, key, meta))).await {
        outcome.merge(one);
    }
    outcome
}

async fn held(client: &Client, key: &Key) -> Result<Vec<ObjectMeta>, Failure> {
    let failed = |kind| move |error| classify(kind, &key.name, error);
    let rainbow = api(client, key, Kind::Rainbow).get_metadata_opt(&key.name).await.map_err(failed(Kind::Rainbow))?;
    if rainbow.is_some() {
        return Err(Failure::Stale(messages::there_already(Kind::Rainbow, &key.name)));
    }
    let own = ListParams::default().labels(&format!("{}={}", labels::RAINBOW, key.name));
    let colors = api(client, key, Kind::Color).list_metadata(&own).await.map_err(failed(Kind::Color))?;
    Ok(colors.items.into_iter().map(|color| color.metadata).filter(is_held).collect())
}

async fn let_go_of(client: &Client, key: &Key, meta: &ObjectMeta) -> Outcome {
    let name = meta.name.as_deref().unwrap_or_default();
    let others = meta.finalizers.iter().flatten().filter(|known| *known != labels::FINALIZER);
    let others: Vec<String> = others.cloned().collect();
    let mut outcome = Outcome::default();
    let api = api(client, key, Kind::Color);
    let result = set_finalizers(&api, Kind::Color, name, version(meta), &others, &mut outcome).await;
    outcome.end(key, Kind::Color, name, result);
    outcome
}
