//! Measurement by a manual gate.

use rainbow_api::ManualGate;

use super::answer::{Answer, Question};
use crate::messages;

pub(crate) async fn measure(_question: &Question<'_>, _gate: &ManualGate) -> Answer {
    Answer::Error { why: messages::NO_PROVIDER.to_owned(), query: None }
}
