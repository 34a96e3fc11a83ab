//! The filter's own barrier, lanes and all, under a model checker: writes that the window does not
//! concern go on for ever, and still no write that it does concern escapes a proof.
//!
//! As in `order`, a step is one access to a process-wide gauge; the decisions are those of
//! `quiesce_filter::barrier`, the very code that ships.
#![allow(clippy::indexing_slicing, reason = "an index that the model gets wrong must fail its test")]

use quiesce_filter::barrier::{Barrier, LANES, Lane};
use quiesce_policy::snapshot::WindowId;
use stateright::{Checker, Model, Property};

/// One worker, and the write it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// It has read which lane new writes are counted in.
    Laned(Lane),
    /// It has counted the write.
    Counted(Lane),
    /// It has looked, and the write will pass.
    Admitted(Lane),
    /// It has looked, and the write will be refused.
    Refused(Lane),
    /// The write is at the origin.
    Running(Lane),
    /// Its tick has found no window that concerns the write, and is about to move it to another lane.
    Leaving {
        from: Lane,
        to: Lane,
    },
    /// It has counted the write there too.
    InBoth {
        from: Lane,
        to: Lane,
    },
    /// It has looked again, and keeps the write in `to`.
    Moved {
        from: Lane,
        to: Lane,
    },
    /// It has looked again, and leaves the write in `from`.
    Stays {
        from: Lane,
        to: Lane,
    },
}

/// What the leader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leader {
    Idle,
    /// The window is in force.
    Frozen,
    /// It has read the first lane's count.
    HalfRead(u64),
    /// The barrier says so.
    Proven,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    workers: Vec<Worker>,
    counts: [u64; LANES],
    current: Lane,
    frozen: bool,
    leader: Leader,
    barrier: Barrier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Work(usize),
    Move(usize),
    Lead,
    Thaw,
}

/// Workers below `concerned` write to a host that the window is about, the others do not.
struct Lanes {
    workers: usize,
    concerned: usize,
    /// A write that is moved is counted before the window is looked at, like a new one.
    looks_again: bool,
}

impl State {
    fn count(&mut self, lane: Lane) -> &mut u64 {
        &mut self.counts[lane.index()]
    }

    fn look(&mut self, in_force: bool, counts: [u64; LANES]) -> u64 {
        let in_force: Vec<_> = in_force.then(|| WindowId::from("w")).into_iter().collect();
        let standing = self.barrier.look(&in_force, counts, self.current);
        self.current = standing.steer_to;
        standing.in_flight
    }
}

impl Lanes {
    fn is_refused(&self, state: &State, index: usize) -> bool {
        state.frozen && index < self.concerned
    }

    fn work(&self, state: &mut State, index: usize) -> Worker {
        match state.workers[index] {
            Worker::Idle => Worker::Laned(state.current),
            Worker::Laned(lane) => {
                *state.count(lane) += 1;
                Worker::Counted(lane)
            }
            Worker::Counted(lane) if self.is_refused(state, index) => Worker::Refused(lane),
            Worker::Counted(lane) => Worker::Admitted(lane),
            Worker::Admitted(lane) => Worker::Running(lane),
            Worker::Refused(lane) | Worker::Running(lane) => {
                *state.count(lane) -= 1;
                Worker::Idle
            }
            Worker::Leaving { from, to } => {
                *state.count(to) += 1;
                Worker::InBoth { from, to }
            }
            Worker::InBoth { from, to } if self.looks_again && self.is_refused(state, index) => {
                Worker::Stays { from, to }
            }
            Worker::InBoth { from, to } => Worker::Moved { from, to },
            Worker::Moved { from, to } => {
                *state.count(from) -= 1;
                Worker::Running(to)
            }
            Worker::Stays { from, to } => {
                *state.count(to) -= 1;
                Worker::Running(from)
            }
        }
    }
}

impl Model for Lanes {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            workers: vec![Worker::Idle; self.workers],
            counts: [0; LANES],
            current: Lane::default(),
            frozen: false,
            leader: Leader::Idle,
            barrier: Barrier::default(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (index, worker) in state.workers.iter().enumerate() {
            steps.push(Step::Work(index));
            let may_move = !self.is_refused(state, index);
            if matches!(worker, Worker::Running(lane) if may_move && *lane != state.current) {
                steps.push(Step::Move(index));
            }
        }
        steps.push(if state.leader == Leader::Proven { Step::Thaw } else { Step::Lead });
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Work(index) => next.workers[index] = self.work(&mut next, index),
            Step::Move(index) => {
                let Worker::Running(from) = next.workers[index] else { return None };
                next.workers[index] = Worker::Leaving { from, to: next.current };
            }
            Step::Lead => {
                next.leader = match next.leader {
                    Leader::Idle => {
                        next.frozen = true;
                        Leader::Frozen
                    }
                    Leader::Frozen => Leader::HalfRead(next.counts[0]),
                    Leader::HalfRead(first) => {
                        let counts = [first, next.counts[1]];
                        if next.look(true, counts) == 0 { Leader::Proven } else { Leader::Frozen }
                    }
                    Leader::Proven => return None,
                }
            }
            Step::Thaw => {
                (next.frozen, next.leader) = (false, Leader::Idle);
                let counts = next.counts;
                next.look(false, counts);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("once proven, no write concerned runs or will run", |model, state: &State| {
                let runs = |worker: &Worker| {
                    !matches!(
                        worker,
                        Worker::Idle | Worker::Laned(_) | Worker::Counted(_) | Worker::Refused(_)
                    )
                };
                let mut concerned = state.workers.iter().take(model.concerned);
                state.leader != Leader::Proven || !concerned.any(runs)
            }),
            Property::always("every write in flight is counted", |_, state: &State| {
                let counted =
                    state.workers.iter().filter(|worker| !matches!(worker, Worker::Idle | Worker::Laned(_)));
                state.counts.iter().sum::<u64>() >= counted.count() as u64
            }),
            Property::sometimes(
                "it is proven while writes go on that it does not concern",
                |model, state: &State| {
                    let mut others = state.workers.iter().skip(model.concerned);
                    state.leader == Leader::Proven
                        && others.all(|worker| matches!(worker, Worker::Running(_)))
                },
            ),
        ]
    }
}

const ESCAPE: &str = "once proven, no write concerned runs or will run";

fn check(concerned: usize, looks_again: bool) -> impl Checker<Lanes> {
    Lanes { workers: 3, concerned, looks_again }.checker().spawn_bfs().join()
}

#[test]
fn no_write_that_the_window_concerns_escapes_the_proof() {
    let checker = check(1, true);
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1000, "{} states", checker.unique_state_count());
    check(2, true).assert_properties();
}

#[test]
fn a_write_moved_without_looking_again_may_escape() {
    let path = check(2, false).assert_any_discovery(ESCAPE);
    println!("the shortest escape:\n{path:?}");
}
