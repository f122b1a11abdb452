//! Measurement by a traffic gate.

use rainbow_api::TrafficGate;

use super::answer::{Answer, Question};
use crate::messages;

pub(crate) async fn measure(_question: &Question<'_>, _gate: &TrafficGate) -> Answer {
    Answer::Error { why: messages::NO_PROVIDER.to_owned(), query: None }
}
