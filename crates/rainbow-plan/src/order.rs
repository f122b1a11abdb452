//! Order in which the addresses of one stage move, where callers may be served by newer callees.
//!
//! An address moves to a color under two conditions. First, every tier that the color's part calls through another address is at
//! that color or a newer one, as every node knows. Second, no pod that calls the address asks for a newer color. Therefore a
//! release moves inner tiers first, and the way back moves entry tiers first. A caller never reaches a callee that is older than
//! itself, whatever happens in between.
//!
//! The first condition is about what serves after the move. The second one is about pods, not about what stages serve: a pod that
//! has left its stage continues to answer the connections that it has, until it has drained.

use std::collections::BTreeSet;

use crate::{
    Address, Between, Deployment, InstanceName, Moment, PassedTier, Selection, Stage, StageKey, StageService, Tier,
    Time, Waiting,
    gates::Checks,
    parts::{self, inner_name},
    situation::{Goal, ServiceTarget, Situation, has_ready},
    view::{ColorId, View},
};

/// Reason why an address does not move to a color yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Color that the address does not move to.
    pub(crate) color: ColorId,
    pub(crate) waiting: Waiting,
    /// Time when the block may end without any change in the cluster.
    pub(crate) until: Option<Time>,
}

/// Keeps each address from going further than the order allows.
pub(crate) fn keep(view: &View<'_>, situations: &mut [Situation<'_>]) {
    if situations.iter().all(|situation| situation.stage.address == Address::Entry) {
        return;
    }
    go_back_together(view, situations);
    let blocks: Vec<(Option<Block>, Checks)> = situations
        .iter()
        .map(|situation| {
            let mut checks = Checks::default();
            (block(view, situations, situation, &mut checks), checks)
        })
        .collect();
    for (situation, (block, checks)) in situations.iter_mut().zip(blocks) {
        situation.between = checks;
        let Some(block) = block else { continue };
        situation.serving = before(view, situation, block.color);
        if situation.serving == Some(block.color) {
            situation.serving = serves_instead(view, situation, block.color);
        }
        situation.goal = stays_at(view, situation, block.color).map_or(Goal::Stay, Goal::Color);
        situation.block = Some(block);
    }
    keep_ways_back(view, situations);
}

/// Returns the name of the stage whose order concerns an address.
fn stage_of<'a>(situation: &Situation<'a>) -> &'a str {
    situation.stage.user_name()
}

/// Takes back all addresses of a stage that has been taken back from a color at one of them.
fn go_back_together(view: &View<'_>, situations: &mut [Situation<'_>]) {
    let name = |color: ColorId| view.colors[color].name.as_str();
    let mut backs: Vec<(String, &str, &str)> = Vec::new();
    for situation in situations.iter() {
        if let (Some(rejected), Goal::Color(back)) = (situation.rejected, situation.goal) {
            backs.push((stage_of(situation).to_owned(), name(rejected), name(back)));
        }
    }
    for (stage, rejected, back) in backs {
        for situation in situations.iter_mut().filter(|situation| stage_of(situation) == stage) {
            let Goal::Color(goal) = situation.goal else { continue };
            if let Some(back) = view.color_in(&situation.stage.name, back).filter(|_| name(goal) == rejected) {
                situation.goal = Goal::Color(back);
            }
        }
    }
}

/// Returns the reason why the address stays where it is, or continues to where it was going.
fn block(
    view: &View<'_>,
    situations: &[Situation<'_>],
    situation: &Situation<'_>,
    checks: &mut Checks,
) -> Option<Block> {
    let Goal::Color(goal) = situation.goal else { return None };
    let has_members = situation.members.iter().any(|pod| situation.is_of(view, pod, goal));
    if situation.points == ServiceTarget::Members && has_members {
        return None;
    }
    let block = |waiting, until| Some(Block { color: goal, waiting, until });
    let newer = || {
        let (caller, color) = newer_caller(view, situation, goal)?;
        block(Waiting::ForNewerCallers { tier: caller, color }, None)
    };
    if situation.serving == Some(goal) && before(view, situation, goal) == Some(goal) {
        // Where the status is lost, or its color was taken away by force, the color that the address serves is a guess. Callers
        // may refute it.
        let selects =
            situation.instance(view, goal).is_some_and(|own| situation.points == ServiceTarget::Instance(own));
        return if selects { None } else { newer() };
    }
    if situation.stage.address != Address::Entry && situation.instance(view, goal).is_none() {
        // The color does not have the tier: no caller of that color will ask for it.
        return block(Waiting::ForMissingTier { color: name(view, goal), tier: situation.stage.tier.clone() }, None);
    }
    let callees = callees(view, situations, situation, goal);
    for (tier, callee) in &callees {
        if let Err(until) = arrived(view, *callee, goal) {
            let is_rejected = callee.is_some_and(|callee| {
                callee.rejected.is_some_and(|rejected| view.colors[rejected].name == view.colors[goal].name)
            });
            return block(Waiting::ForTier { tier: tier.clone(), color: name(view, goal), is_rejected }, until);
        }
    }
    if let Some(block) = newer() {
        return Some(block);
    }
    let moved = moved(view, situation, goal, &callees);
    for (tier, callee) in &moved {
        let since = callee.memory.since.map_or(view.now, |since| view.sent_to_at(&callee.key, since));
        let gates = &situation.stage.gates.between;
        if !checks.ask(view, situation, gates, goal, &Moment::Between { tier: tier.clone() }, since) {
            return block(checks.holds.clone()?.waiting(), None);
        }
    }
    let (tier, until) = pause(view, situation, goal, &moved)?;
    block(Waiting::BetweenTiers { tier, color: name(view, goal), until }, until)
}

fn name(view: &View<'_>, color: ColorId) -> String {
    view.colors[color].name.clone()
}

/// Returns the addresses used by those pods of the color that the situation's address leads to, inner tiers first; `None` for an
/// address that does not exist yet.
fn callees<'s, 'a>(
    view: &View<'a>,
    situations: &'s [Situation<'a>],
    situation: &Situation<'a>,
    color: ColorId,
) -> Vec<(String, Option<&'s Situation<'a>>)> {
    let part = view.colors[color];
    // An inner address sends no clients to other tiers of the part. These tiers may themselves call the tier that the address
    // leads to.
    let leads_to = view.entry(situation.stage, color).filter(|_| situation.stage.address != Address::Entry);
    let leads_to = leads_to.map(|tier| parts::with_needs(&part.tiers, &BTreeSet::from([tier])));
    let is_reached = |tier: &&Tier| leads_to.as_ref().is_none_or(|tiers| tiers.contains(tier.name.as_str()));
    let called: BTreeSet<&String> = part.tiers.iter().filter(is_reached).flat_map(|tier| &tier.calls).collect();
    let find = |tier: &String| {
        let name = inner_name(stage_of(situation), tier);
        situations.iter().find(|other| other.stage.name == name)
    };
    called.into_iter().map(|tier| (tier.clone(), find(tier))).collect()
}

/// Returns `Ok` when every node sends callers to the color or a newer one, and to no older one. The error has the time when that
/// may become so without any change.
fn arrived(view: &View<'_>, callee: Option<&Situation<'_>>, color: ColorId) -> Result<(), Option<Time>> {
    let callee = callee.ok_or(None)?;
    // A callee that may not go to its goal yet serves the color that it has served, if both colors have the same pods.
    let serving = match callee.goal {
        Goal::Color(goal) => before(view, callee, goal),
        Goal::Unknown(_) | Goal::Deleting(_) | Goal::Stay => callee.serving,
    };
    let (ServiceTarget::Instance(selected), Some(serving)) = (&callee.points, serving) else { return Err(None) };
    let is_remembered = callee.memory.color.as_deref() == Some(view.colors[serving].name.as_str());
    let is_new_enough = view.colors[serving].revision >= view.colors[color].revision;
    if callee.instance(view, serving) != Some(*selected) || !is_remembered || !is_new_enough {
        return Err(None);
    }
    // A tier that is turned off has no pods to wait for.
    let tier = callee.stage.tier.as_deref().ok_or(None)?;
    let is_off = callee.size(view, view.colors[serving], tier) == 0;
    if callee.memory.since.is_none() && !is_off {
        return Err(None);
    }
    let since = callee.memory.since.unwrap_or(callee.memory.shift.as_ref().map_or(Time(0), |shift| shift.started));
    let others = || view.world.pods.iter().filter(|pod| pod.instance != **selected);
    if others().any(|pod| pod.endpoint.contains_key(&callee.key)) {
        return Err(None);
    }
    let left = others().filter_map(|pod| pod.left.get(&callee.key)).copied();
    let known = left.chain([since]).max().map_or(view.now, |since| view.forgotten_in_cluster(since));
    if known > view.now { Err(Some(known)) } else { Ok(()) }
}

/// Returns a tier that calls the situation's tier and has pods of a newer color, and that color.
fn newer_caller(view: &View<'_>, situation: &Situation<'_>, color: ColorId) -> Option<(String, String)> {
    let Address::Inner { stage } = &situation.stage.address else { return None };
    let tier = situation.stage.tier.as_deref()?;
    let calls = |instance: &InstanceName| {
        let owners = view.owners(instance).iter();
        let mut tiers = owners.flat_map(|owner| &view.colors[*owner].tiers).filter(|tier| tier.name == *instance.tier);
        // Nothing tells which tiers a pod calls whose color was taken away by force.
        view.owners(instance).is_empty() || tiers.any(|known| known.calls.iter().any(|called| called == tier))
    };
    let is_there = |instance: &InstanceName| {
        let asks = matches!(view.deployment(instance), Deployment::Ours { replicas, .. } if *replicas > 0);
        asks || !view.pods(instance).is_empty()
    };
    let own = view.instances_of(stage).filter(|instance| calls(instance) && is_there(instance));
    for instance in own {
        // An instance that several colors share calls the version that the oldest of them calls.
        let needed = view.owners(instance).last().map(|oldest| view.colors[*oldest].revision);
        let is_newer = match needed {
            Some(needed) => needed > view.colors[color].revision,
            None => !was_there_before(view, stage, instance, color),
        };
        if is_newer {
            return Some((instance.tier.to_string(), instance.color.to_string()));
        }
    }
    None
}

/// Returns whether pods whose color was taken away by force have existed for longer than `color`, so that `color` is newer.
/// Evidence is either an address of the stage that led to these pods before `color` was made (the status remembers that across
/// restarts of the operator), or an observer that saw them ready before. Without this evidence, such callers would block the
/// stage's move to every version, even to one that is made later.
fn was_there_before(view: &View<'_>, stage: &str, instance: &InstanceName, color: ColorId) -> bool {
    let created = view.colors[color].created;
    let leads_to = |address: &Stage| {
        let service = view.world.stages.get(&StageKey::of(&address.name));
        let is_selected = matches!(
            service,
            Some(StageService::Ours { selects: Selection::Instance(selected), .. }) if selected == instance
        );
        is_selected && view.memory(&address.name).since.is_some_and(|since| since <= created)
    };
    let mut addresses = view.spec.stages.iter().filter(|address| address.user_name() == stage);
    let pods = view.pods(instance);
    let was_ready = || !pods.is_empty() && pods.iter().all(|pod| pod.ready && pod.ready_since <= created);
    addresses.any(leads_to) || was_ready()
}

/// Returns the tiers that have moved in the release that the address is about to follow, with their addresses.
fn moved<'s, 'a>(
    view: &View<'a>,
    situation: &Situation<'a>,
    goal: ColorId,
    callees: &[(String, Option<&'s Situation<'a>>)],
) -> Vec<(String, &'s Situation<'a>)> {
    let Some(serving) = before(view, situation, goal) else { return Vec::new() };
    let is_forward = view.colors[goal].revision > view.colors[serving].revision;
    if !is_forward || situation.instance(view, serving) == situation.instance(view, goal) {
        return Vec::new();
    }
    let moved = callees.iter().filter_map(|(tier, callee)| {
        let callee = (*callee)?;
        let before = callee.memory.previous.as_deref().and_then(|name| view.color_in(&callee.stage.name, name))?;
        let now = callee.serving.and_then(|color| callee.instance(view, color));
        (callee.instance(view, before) != now).then(|| (tier.clone(), callee))
    });
    moved.collect()
}

/// Returns the tier after which the stage waits before it moves on, and when the wait ends.
fn pause(
    view: &View<'_>,
    situation: &Situation<'_>,
    goal: ColorId,
    moved: &[(String, &Situation<'_>)],
) -> Option<(String, Option<Time>)> {
    let Between::Pause { after, passed } = &situation.stage.between else { return None };
    for (tier, callee) in moved {
        let step = PassedTier { tier: tier.clone(), color: name(view, goal) };
        if passed.contains(&step) {
            continue;
        }
        let until = after.and_then(|after| Some(callee.memory.since?.after(after)));
        if until.is_none_or(|until| until > view.now) {
            return Some((tier.clone(), until));
        }
    }
    None
}

/// Returns the color that the address serves as long as it does not move to `goal`. Where both colors have the same instance, the
/// Service does not tell which of them it serves.
fn before(view: &View<'_>, situation: &Situation<'_>, goal: ColorId) -> Option<ColorId> {
    let remembered = situation.memory.color.as_deref();
    let remembered = remembered.and_then(|name| view.color_in(&situation.stage.name, name));
    let is_same = |color: &ColorId| situation.instance(view, *color) == situation.instance(view, goal);
    let is_guess = situation.serving == Some(goal) && matches!(situation.points, ServiceTarget::Instance(_));
    remembered.filter(|color| is_guess && is_same(color)).or(situation.serving)
}

/// Returns the newest color that the address may be serving, where its callers are too new for the color that it seemed to serve:
/// the color of the instance that its Service selects, else one with pods that serve.
fn serves_instead(view: &View<'_>, situation: &Situation<'_>, blocked: ColorId) -> Option<ColorId> {
    let is_other = |color: &ColorId| *color != blocked && situation.instance(view, *color).is_some();
    let mut others = (0..view.colors.len()).filter(is_other);
    match situation.points {
        ServiceTarget::Instance(selected) => others.find(|color| situation.instance(view, *color) == Some(selected)),
        ServiceTarget::Members | ServiceTarget::Nowhere | ServiceTarget::Other | ServiceTarget::Foreign => {
            others.find(|color| has_ready(view, situation.stage, *color))
        }
    }
}

/// Returns the color that an address continues to, or stays at, when it may not go to `blocked`.
fn stays_at(view: &View<'_>, situation: &Situation<'_>, blocked: ColorId) -> Option<ColorId> {
    let has_members = |color: &ColorId| situation.members.iter().any(|pod| situation.is_of(view, pod, *color));
    let shift = situation.memory.shift.as_ref().filter(|_| situation.points == ServiceTarget::Members);
    let to = shift.and_then(|shift| view.color_in(&situation.stage.name, &shift.to));
    to.filter(has_members).or(situation.serving).filter(|color| *color != blocked)
}

/// Keeps, for a callee whose callers have not followed yet, the color that these callers serve whole: a release that is given up
/// half way starts no pod.
fn keep_ways_back(view: &View<'_>, situations: &mut [Situation<'_>]) {
    let callers: Vec<(String, ColorId, BTreeSet<&str>)> = situations
        .iter()
        .filter_map(|situation| {
            let serving = situation.serving?;
            let tier = view.entry(situation.stage, serving)?;
            Some((stage_of(situation).to_owned(), serving, reached(view, serving, tier)))
        })
        .collect();
    for situation in situations.iter_mut().filter(|situation| situation.stage.address != Address::Entry) {
        let Some(tier) = situation.stage.tier.as_deref() else { continue };
        // A callee of the tier that stays behind because its own callers have yet to end does not hold the tier.
        let of_stage = callers.iter().filter(|(stage, _, tiers)| stage == stage_of(situation) && tiers.contains(tier));
        let own = of_stage.filter_map(|(_, color, _)| view.color_in(&situation.stage.name, &view.colors[*color].name));
        let own: Vec<ColorId> = own.filter(|own| situation.instance(view, *own).is_some()).collect();
        situation.touches.extend(own);
    }
}

/// Returns the tier and all tiers that it calls in the color, directly or through other tiers, in its own color or in a newer
/// one.
fn reached<'a>(view: &View<'a>, color: ColorId, tier: &'a str) -> BTreeSet<&'a str> {
    let whole = view.colors[view.whole(color)];
    let tiers: Vec<&Tier> = whole.tiers.iter().chain(whole.bound.iter().map(|(tier, _)| tier)).collect();
    let (mut all, mut next) = (BTreeSet::from([tier]), vec![tier]);
    while let Some(name) = next.pop() {
        let callees =
            tiers.iter().filter(|tier| tier.name == name).flat_map(|tier| tier.needs.iter().chain(&tier.calls));
        next.extend(callees.map(String::as_str).filter(|callee| all.insert(callee)));
    }
    all
}
