//! The proof that a window is in force everywhere and that no admitted write still runs: a pure function.
//!
//! What it must never do is say that writes are at rest when one may still be running. So whatever
//! cannot be known is a reason why the barrier does not hold, and is named.

use std::collections::{BTreeMap, BTreeSet};

use quiesce_policy::snapshot::{EnforcerId, InstanceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{backfill::gate::Replays, windows::RosterEntry};

/// What is known of one enforcer process in a window's scope.
#[derive(Clone, Debug)]
pub struct Member {
    /// The enforcer.
    pub id: EnforcerId,
    /// Its process.
    pub instance: InstanceId,
    /// It is connected or was heard of within its live period.
    pub live: bool,
    /// It has a poll open.
    pub connected: bool,
    /// Its poll is closed and another process with its id has come after it.
    pub succeeded: bool,
    /// It was heard of after the window began.
    pub heard_since_start: bool,
    /// It had no snapshot when it appeared, and the first it was given had the window in force: until
    /// then it held writes back, so that it can have admitted none outside the window.
    pub booted_into_window: bool,
    /// Its last report lists the window as in force.
    pub in_force: bool,
    /// At some time after the window was in force it reported zero in flight, none unaccounted for.
    pub settled: bool,
    /// Writes in flight by its last report.
    pub in_flight: u64,
    /// Writes by its last report whose end will never be known.
    pub unaccounted: u64,
    /// Writes cut at drain timeouts since its process started, by its last report.
    pub cut: u64,
    /// What was wrong with the snapshot now published, if it could not use it.
    pub rejected: Option<String>,
}

/// All that decides whether the barrier of one window holds.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// The window has begun.
    pub started: bool,
    /// Nothing is refused: the whole snapshot is in observe mode.
    pub observe: bool,
    /// Surfaces whose writes pass because they are in observe mode.
    pub observed_surfaces: &'a [String],
    /// Fewer live enforcers than this are not enough.
    pub expect: Option<u32>,
    /// Who was live when the window began.
    pub roster: &'a [RosterEntry],
    /// Every enforcer process in scope that is known.
    pub members: &'a [Member],
    /// The companion's own writes.
    pub replays: Replays,
}

/// Whether a window's barrier holds, and on what that rests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Barrier {
    /// Whether it holds.
    pub verdict: Verdict,
    /// Enforcers that have the window in force.
    pub acknowledged: u64,
    /// Enforcers that must have it in force.
    pub total: u64,
    /// Admitted writes still running.
    pub in_flight: u64,
    /// Admitted writes whose end will never be known.
    pub unaccounted: u64,
    /// Writes cut at the drain timeout since the window began.
    pub cut: u64,
    /// Replays of held writes that may still be running.
    #[serde(default)]
    pub replays: u64,
    /// The enforcers in the window's scope.
    pub enforcers: Vec<EnforcerProgress>,
    /// Why it does not hold, and what else should be known.
    pub problems: Vec<Problem>,
}

/// Whether a barrier holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not yet.
    #[default]
    Pending,
    /// It holds: no admitted write is running, and none will be admitted.
    Proven,
    /// It cannot be proven, whatever is waited for.
    Unproven,
}

/// One enforcer on its way to a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct EnforcerProgress {
    /// The enforcer.
    #[schema(value_type = String)]
    pub id: EnforcerId,
    /// Its process.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// How far it is.
    pub state: EnforcerState,
    /// It has a poll open.
    pub connected: bool,
    /// Writes in flight by its last report, until that was zero once: what it admits after that is
    /// outside the window's scope.
    pub in_flight: u64,
    /// Writes by its last report whose end will never be known.
    pub unaccounted: u64,
}

/// How far an enforcer is on its way to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnforcerState {
    /// It has not acknowledged.
    Pending,
    /// The window is in force; writes are still running.
    Draining,
    /// The window is in force and no write is running.
    Quiesced,
    /// It is no longer heard of.
    Lost,
    /// Its process was replaced.
    Replaced,
}

/// Something that keeps a barrier from holding, or should be known beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What it means for the proof.
    pub weight: Weight,
    /// The enforcer concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub enforcer: Option<EnforcerId>,
    /// What is the matter.
    pub message: String,
}

/// What a problem means for the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The proof has become impossible.
    Final,
    /// The proof is impossible unless the enforcer comes back.
    Lost,
    /// The proof is waiting for it.
    Waiting,
    /// The proof does not depend on it.
    Warning,
}

impl Barrier {
    /// Whether every enforcer that must have the window in force has it.
    pub fn is_in_force(&self) -> bool {
        self.total > 0 && self.acknowledged == self.total
    }
}

/// Answers whether the barrier of one window holds.
pub fn evaluate(question: &Question<'_>) -> Barrier {
    let mut barrier = Barrier::default();
    if question.observe {
        barrier.note(Weight::Final, None, "observe mode: writes are counted, not refused");
    }
    for surface in question.observed_surfaces {
        let message = format!("writes to surface `{surface}` pass: it is in observe mode");
        barrier.note(Weight::Warning, None, message);
    }
    let cut_before: BTreeMap<(&str, &str), u64> = question
        .roster
        .iter()
        .map(|entry| ((entry.id.as_str(), entry.instance.as_str()), entry.cut))
        .collect();
    for member in question.members {
        let before = cut_before.get(&(member.id.as_str(), member.instance.as_str())).copied();
        barrier.add(member, before);
    }
    let known: BTreeSet<_> = question.members.iter().map(|member| (&member.id, &member.instance)).collect();
    for entry in question.roster {
        if !known.contains(&(&entry.id, &entry.instance)) {
            let message = "was forgotten after the window began: the proof says nothing of its writes";
            barrier.note(Weight::Warning, Some(&entry.id), message);
        }
    }
    barrier.name_doubles(question.members);
    let live = question.members.iter().filter(|member| member.live && !member.succeeded).count();
    match question.expect {
        Some(expect) if live < expect as usize => {
            let message = format!("{expect} enforcers are expected, {live} connected");
            barrier.note(Weight::Waiting, None, message);
        }
        None if barrier.total == 0 => {
            barrier.note(Weight::Waiting, None, "no enforcer is connected: nothing refuses writes");
        }
        _ => {}
    }
    if question.started {
        barrier.add_replays(question.replays);
    } else {
        barrier.note(Weight::Waiting, None, "the window has not begun");
    }
    barrier.problems.sort_by_key(|problem| problem.weight);
    barrier.verdict = barrier.judge();
    barrier
}

impl Barrier {
    /// It is seen to hold by one of several companions, and none has written it down yet: whoever does looks at what all
    /// of them know.
    pub fn await_record(&mut self) {
        if self.verdict == Verdict::Proven {
            self.note(Weight::Waiting, None, "the proof is being written down");
            self.verdict = Verdict::Pending;
        }
    }

    fn add(&mut self, member: &Member, cut_before: Option<u64>) {
        let on_roster = cut_before.is_some();
        // Whether writes may have passed it that the window should have stopped.
        let exposed = on_roster || (member.heard_since_start && !member.booted_into_window);
        let id = Some(&member.id);
        let state = if member.succeeded {
            if exposed && !member.settled {
                let message = "restarted before it reported; writes it had admitted cannot be accounted for";
                self.note(Weight::Final, id, message);
            }
            EnforcerState::Replaced
        } else if !member.live {
            if member.settled {
                self.note(Weight::Warning, id, "is no longer heard of since it reported no writes in flight");
            } else if exposed {
                self.note(Weight::Lost, id, "was lost before it reported no writes in flight");
            } else {
                self.note(
                    Weight::Warning,
                    id,
                    "was already lost when the window began, and may admit writes",
                );
            }
            EnforcerState::Lost
        } else if !member.in_force {
            if let Some(error) = &member.rejected {
                self.note(Weight::Waiting, id, format!("could not use the snapshot: {error}"));
            }
            EnforcerState::Pending
        } else if member.in_flight > 0 && !member.settled {
            EnforcerState::Draining
        } else {
            EnforcerState::Quiesced
        };
        let counts = match state {
            EnforcerState::Pending | EnforcerState::Draining | EnforcerState::Quiesced => true,
            EnforcerState::Lost => exposed || member.settled,
            EnforcerState::Replaced => exposed && !member.settled,
        };
        if counts {
            let gone = matches!(state, EnforcerState::Lost | EnforcerState::Replaced);
            self.total += 1;
            self.acknowledged += u64::from(if gone { member.settled } else { member.in_force });
            self.in_flight += if member.settled { 0 } else { member.in_flight };
            if member.unaccounted > 0 && !member.settled {
                self.unaccounted += member.unaccounted;
                let message = format!(
                    "lost count of {}: who counted it failed, or lost sight of it",
                    writes(member.unaccounted)
                );
                self.note(Weight::Final, id, message);
            }
        }
        self.cut += member.cut.saturating_sub(cut_before.unwrap_or_default());
        self.enforcers.push(EnforcerProgress {
            id: member.id.clone(),
            instance: member.instance.clone(),
            state,
            connected: member.connected,
            in_flight: if member.settled { 0 } else { member.in_flight },
            unaccounted: member.unaccounted,
        });
    }

    /// Replays are writes that no enforcer counts: they have a pass, or go past all enforcers.
    fn add_replays(&mut self, replays: Replays) {
        let Replays { running, earlier } = replays;
        self.replays = running.saturating_add(earlier);
        if running > 0 {
            let message = format!("{} of the backfill {} still running", writes(running), are(running));
            self.note(Weight::Waiting, None, message);
        }
        if earlier > 0 {
            let message = format!(
                "{} of the backfill {} on the way when a companion stopped, and may still be running",
                writes(earlier),
                if earlier == 1 { "was" } else { "were" },
            );
            self.note(Weight::Waiting, None, message);
        }
    }

    fn name_doubles(&mut self, members: &[Member]) {
        let mut live: BTreeMap<&EnforcerId, u32> = BTreeMap::new();
        for member in members.iter().filter(|member| member.live && !member.succeeded) {
            *live.entry(&member.id).or_default() += 1;
        }
        for (id, count) in live.into_iter().filter(|(_, count)| *count > 1) {
            let message = format!("{count} live processes share this id; each must acknowledge");
            self.note(Weight::Warning, Some(id), message);
        }
    }

    fn note(&mut self, weight: Weight, enforcer: Option<&EnforcerId>, message: impl Into<String>) {
        self.problems.push(Problem { weight, enforcer: enforcer.cloned(), message: message.into() });
    }

    fn judge(&self) -> Verdict {
        let has = |weight| self.problems.iter().any(|problem| problem.weight == weight);
        let under_way =
            |one: &EnforcerProgress| matches!(one.state, EnforcerState::Pending | EnforcerState::Draining);
        if has(Weight::Final) {
            Verdict::Unproven
        } else if has(Weight::Waiting) || self.enforcers.iter().any(under_way) {
            Verdict::Pending
        } else if has(Weight::Lost) || self.acknowledged < self.total || self.in_flight > 0 {
            Verdict::Unproven
        } else {
            Verdict::Proven
        }
    }
}

/// `1 write`, `2 writes`.
pub fn writes(count: u64) -> String {
    format!("{count} write{}", if count == 1 { "" } else { "s" })
}

fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests;
