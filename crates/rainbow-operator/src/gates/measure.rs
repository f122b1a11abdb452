//! One measurement: asked of the gate's provider, and judged.

use rainbow_api::GateCheck;
use std::sync::Arc;

use super::{
    answer::{Answer, Question},
    conditions::isolated,
    job,
    judge::{Judged, Judgement, judge},
    manual, prometheus, traffic,
    values::Secrets,
    web,
};
use crate::messages;

/// Measures a gate once. What is returned contains no value from a Secret.
pub(super) async fn measure(question: &Question<'_>, gate: &Arc<GateCheck>) -> Judgement {
    let mut secrets = Secrets::default();
    let answer = ask(question, &mut secrets).await;
    let gate = Arc::clone(gate);
    let judged = isolated(move || judge(&gate, answer)).await;
    match judged.unwrap_or_else(|why| Judgement::Measured(Judged::error(why, None))) {
        Judgement::Pending { why } => Judgement::Pending { why: secrets.hide(&why) },
        Judgement::Measured(judged) => Judgement::Measured(judged.shown(|text| secrets.hide(text))),
    }
}

async fn ask(question: &Question<'_>, secrets: &mut Secrets) -> Answer {
    match question.gate {
        GateCheck { prometheus: Some(gate), .. } => prometheus::measure(question, gate, secrets).await,
        GateCheck { web: Some(gate), .. } => web::measure(question, gate, secrets).await,
        GateCheck { job: Some(gate), .. } => job::measure(question, gate).await,
        GateCheck { traffic: Some(gate), .. } => traffic::measure(question, gate).await,
        GateCheck { manual: Some(gate), .. } => manual::measure(question, gate).await,
        _ => Answer::Error { why: messages::NO_PROVIDER.to_owned(), query: None },
    }
}
