//! Measurement by a job gate.

use rainbow_api::JobGate;

use super::answer::{Answer, Question};
use crate::messages;

pub(crate) async fn measure(_question: &Question<'_>, _gate: &JobGate) -> Answer {
    Answer::Error { why: messages::NO_PROVIDER.to_owned(), query: None }
}
