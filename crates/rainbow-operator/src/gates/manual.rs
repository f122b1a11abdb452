//! Gate `manual`: a person approves a color, unless a freeze window is open.

use kube::{Api, ResourceExt, api::ListParams};
use rainbow_api::{Approval, ApprovalSpec, ManualGate};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Question},
    freeze,
};
use crate::{clock, messages};

/// Looks for an approval.
///
/// Approvals are few and asked for while a release waits, so they are listed, not watched.
pub(crate) async fn measure(question: &Question<'_>, gate: &ManualGate) -> Answer {
    let approvals: Api<Approval> = Api::namespaced(question.client.clone(), &question.place.namespace);
    match approvals.list(&ListParams::default()).await {
        Ok(approvals) => judge(question, gate, &approvals.items),
        Err(error) => Answer::Error { why: messages::approvals_not_listed(&error.to_string()), query: None },
    }
}

/// Judges the approvals of a namespace.
fn judge(question: &Question<'_>, gate: &ManualGate, all: &[Approval]) -> Answer {
    let Question { check, place, .. } = question;
    let now = clock::timestamp(question.clock.now());
    let counts = |approval: &&Approval| {
        let ApprovalSpec { rainbow, color, stage, gate, by: _, reason: _, until } = &approval.spec;
        let is_in_time = until.as_deref().is_none_or(|until| until.parse().is_ok_and(|until| now < until));
        (rainbow, color) == (&place.rainbow, &check.color)
            && stage.as_ref().is_none_or(|stage| *stage == place.stage)
            && gate.as_ref().is_none_or(|gate| *gate == check.gate)
            && approval.metadata.deletion_timestamp.is_none()
            && is_in_time
    };
    let mut approvals: Vec<&Approval> = all.iter().filter(counts).collect();
    // The first approval is the one that has let the color pass.
    approvals.sort_by_key(|approval| (approval.creation_timestamp(), approval.name_any()));
    let reasons: Vec<&str> = approvals.iter().filter_map(|approval| approval.spec.reason.as_deref()).collect();
    match freeze::closed_until(&gate.freeze, &reasons, now) {
        Err(why) => return Answer::Error { why, query: None },
        Ok(Some((until, window))) => {
            return Answer::Pending { why: messages::frozen(clock::from_timestamp(until), window) };
        }
        Ok(None) => {}
    }
    match approvals.first() {
        Some(approval) => approved(&approval.spec),
        None if gate.approval == Some(false) => good(messages::NO_APPROVAL_NEEDED.to_owned(), Vec::new()),
        None => {
            let message = gate.message.as_deref();
            Answer::Pending { why: messages::needs_approval(message, &place.rainbow, &place.stage, &check.gate) }
        }
    }
}

fn approved(approval: &ApprovalSpec) -> Answer {
    let reason = approval.reason.as_deref().unwrap_or_default();
    let names = vec![("by", json!(approval.by)), ("reason", json!(reason))];
    good(messages::approved(&approval.by, reason), names)
}

fn good(message: String, mut names: Vec<(&'static str, Value)>) -> Answer {
    names.push(("message", json!(message)));
    Answer::Value { result: json!(true), names, is_good: true, query: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, gates::answer::Place};
    use rainbow_api::GateCheck;
    use rainbow_plan::{Check, Moment, Time};
    use tokio::time::Instant;

    fn approval(spec: Value) -> Approval {
        let mut all = json!({ "rainbow": "shop", "color": "v2", "by": "ann" });
        for (field, value) in spec.as_object().unwrap() {
            all[field] = value.clone();
        }
        serde_json::from_value(json!({ "metadata": { "name": "a" }, "spec": all })).unwrap()
    }

    /// Returns the answer at a time of Friday, 2026-01-02.
    async fn answer(gate: Value, approvals: &[Approval], time: &str) -> Answer {
        let base = clock::read(&format!("2026-01-02T{time}Z")).unwrap();
        let check =
            Check { stage: "active".into(), gate: "release".into(), color: "v2".into(), moment: Moment::Before };
        let place = Place { rainbow: "shop".into(), stage: "active".into(), ..Place::default() };
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("not to be asked"))
        });
        let question = Question {
            client: &kube::Client::new(service, "default"),
            clock: Clock::Tokio { base, start: Instant::now() },
            via: crate::count::CountVia::Api,
            check: &check,
            gate: &GateCheck::default(),
            place: &place,
            since: Time(0),
            number: 0,
        };
        judge(&question, &serde_json::from_value(gate).unwrap(), approvals)
    }

    fn why(answer: Answer) -> String {
        let Answer::Pending { why } = answer else { panic!("{answer:?}") };
        why
    }

    #[tokio::test(start_paused = true)]
    async fn an_approval_of_the_color_passes() {
        let ask = "waits for an approval: `rainbow approve shop --stage active --gate release`";
        for (spec, passes) in [
            (json!({}), true),
            (json!({ "stage": "active", "gate": "release" }), true),
            (json!({ "until": "2026-01-02T12:00:01Z" }), true),
            (json!({ "until": "2026-01-02T12:00:00Z" }), false),
            (json!({ "until": "tomorrow" }), false),
            (json!({ "stage": "smoke" }), false),
            (json!({ "gate": "other" }), false),
            (json!({ "color": "v1" }), false),
            (json!({ "rainbow": "other" }), false),
        ] {
            let answer = answer(json!({}), &[approval(spec.clone())], "12:00:00").await;
            match passes {
                true => assert!(matches!(&answer, Answer::Value { is_good: true, .. }), "{spec}: {answer:?}"),
                false => assert_eq!(why(answer), ask, "{spec}"),
            }
        }
        let Answer::Value { names, .. } =
            answer(json!({}), &[approval(json!({ "reason": "tested" }))], "12:00:00").await
        else {
            panic!()
        };
        assert!(names.contains(&("message", json!("approved by ann: tested"))), "{names:?}");
        let asked = why(answer(json!({ "message": "Is the shop closed?" }), &[], "12:00:00").await);
        assert_eq!(asked, format!("Is the shop closed? {ask}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_window_holds_all_but_exceptions() {
        let gate = json!({ "freeze": [{ "schedule": "0 16 * * FRI", "for": "64h", "exceptFor": ["incident"] }] });
        let plain = [approval(json!({ "reason": "tested" }))];
        let incident = [approval(json!({ "reason": "incident 4711" }))];
        let frozen = "frozen until 2026-01-05T08:00:00Z by `0 16 * * FRI`; an approval passes if its reason begins with `incident`";
        assert!(matches!(answer(gate.clone(), &plain, "15:59:59").await, Answer::Value { .. }));
        assert_eq!(why(answer(gate.clone(), &plain, "16:00:00").await), frozen);
        assert_eq!(why(answer(gate.clone(), &[], "16:00:00").await), frozen);
        assert!(matches!(answer(gate, &incident, "16:00:00").await, Answer::Value { is_good: true, .. }));

        let no_approval = json!({ "approval": false, "freeze": [{ "schedule": "0 16 * * *", "for": "1h" }] });
        assert!(matches!(answer(no_approval.clone(), &[], "15:00:00").await, Answer::Value { is_good: true, .. }));
        assert_eq!(
            why(answer(no_approval, &plain, "16:30:00").await),
            "frozen until 2026-01-02T17:00:00Z by `0 16 * * *`"
        );

        let wrong = json!({ "freeze": [{ "schedule": "0 16 * *", "for": "1h" }] });
        let Answer::Error { why, .. } = answer(wrong, &plain, "12:00:00").await else { panic!() };
        assert!(why.starts_with("freeze[0].schedule: `0 16 * *` is no schedule"), "{why}");
    }
}
