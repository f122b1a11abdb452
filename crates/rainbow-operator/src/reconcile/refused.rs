//! Services that are as they should be except for what the API server refused.

use rainbow_api::Reason;
use rainbow_plan::ChainKey;
use std::collections::BTreeMap;
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::{
    cache::App,
    report::{Obstacle, Troubles},
};

/// Refused Services by name.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, Service>);

#[derive(Debug)]
struct Service {
    chain: ChainKey,
    /// Answer of the API server.
    says: String,
    backoff: Backoff,
    /// Whether the Service was applied again since.
    asked: bool,
}

impl Refused {
    /// Takes in the result of an apply.
    pub(super) fn applied(&mut self, chain: &ChainKey, name: String, refused: Option<String>, generation: Option<i64>) {
        let Some(says) = refused else {
            self.0.remove(&name);
            return;
        };
        let backoff = self.0.remove(&name).map(|known| known.backoff).unwrap_or_default();
        let mut service = Service { chain: chain.clone(), says, backoff, asked: false };
        service.backoff.failed(generation);
        self.0.insert(name, service);
    }

    /// Has Services that are due compared again, so that the plan applies them again. Returns when the next one is due.
    pub(super) fn retry(&mut self, app: &mut App, generation: Option<i64>) -> Option<Instant> {
        self.0.retain(|name, _| app.services.contains(name.as_str()));
        let mut next: Option<Instant> = None;
        for (name, service) in &mut self.0 {
            match service.backoff.until(generation) {
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None if service.asked => {}
                None => {
                    service.asked = true;
                    if let Some(live) = app.services.get_mut(name.as_str()) {
                        live.content.doubt();
                    }
                }
            }
        }
        next
    }

    /// Returns what the API server says about the Services.
    pub(super) fn troubles(&self) -> Troubles {
        let trouble = |service: &Service| {
            let obstacle = Obstacle { reason: Reason::Rejected, message: service.says.clone() };
            (service.chain.clone(), obstacle)
        };
        self.0.values().map(trouble).collect()
    }
}
