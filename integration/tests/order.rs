//! "Count, then look", checked by a model checker: every interleaving of writes, freezes and thaws.
//!
//! A step of the model is one access to a process-wide gauge. That is exact: Envoy's gauges are
//! `std::atomic<uint64_t>` with the default, sequentially consistent order (`GaugeImpl` in Envoy's
//! `source/common/stats/`), so that whatever two workers do to them happens in one order that all see.

use stateright::{Checker, Model, Property};

/// In which order a worker does what it does to admit a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Invariant 3: counted in flight before the freeze is looked at.
    CountThenLook,
    /// The mistake: looked at before it is counted.
    LookThenCount,
}

/// How a freeze begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The companion says so: a new epoch.
    Epoch,
    /// At its time on the proxy's clock: whoever sees it first sets the latch, and all look at the latch.
    Latch,
    /// The mistake: at its time on the proxy's clock, which everyone looks at, and no latch.
    ClockAlone,
}

/// One worker, and the write it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    /// None.
    Idle,
    /// It has done the first of the two.
    Half { frozen: Option<bool> },
    /// It has done both and has not acted on them.
    Judged { frozen: bool },
    /// The write is at the origin.
    Running,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    workers: Vec<Worker>,
    in_flight: u8,
    /// `quiesce.epoch` is that of a snapshot with the window in force.
    epoch: bool,
    /// The window's latch.
    latch: bool,
    /// The proxy's clock is past the start. It may jump back.
    past_start: bool,
    /// The leader has made the freeze hold and counts from now on.
    holds: bool,
    /// The leader has reported the freeze in force with nothing in flight: the barrier.
    proven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A worker goes on with its write.
    Work(usize),
    /// The clock reaches the start, or jumps back before it.
    Clock,
    /// The leader makes the freeze hold.
    Freeze,
    /// The leader counts, and reports if it is zero.
    Count,
    /// The leader ends the freeze.
    Thaw,
}

struct Barrier {
    workers: usize,
    order: Order,
    start: Start,
}

impl Barrier {
    fn look(&self, state: &mut State) -> bool {
        match self.start {
            Start::Epoch => state.epoch,
            Start::Latch => {
                state.latch |= state.past_start;
                state.latch
            }
            Start::ClockAlone => state.past_start,
        }
    }

    fn work(&self, state: &mut State, worker: Worker) -> Worker {
        match (worker, self.order) {
            (Worker::Idle, Order::CountThenLook) => {
                state.in_flight += 1;
                Worker::Half { frozen: None }
            }
            (Worker::Idle, Order::LookThenCount) => Worker::Half { frozen: Some(self.look(state)) },
            (Worker::Half { frozen: None }, _) => Worker::Judged { frozen: self.look(state) },
            (Worker::Half { frozen: Some(frozen) }, _) => {
                state.in_flight += 1;
                Worker::Judged { frozen }
            }
            (Worker::Judged { frozen: false }, _) => Worker::Running,
            (Worker::Judged { frozen: true } | Worker::Running, _) => {
                state.in_flight -= 1;
                Worker::Idle
            }
        }
    }
}

impl Model for Barrier {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            workers: vec![Worker::Idle; self.workers],
            in_flight: 0,
            epoch: false,
            latch: false,
            past_start: false,
            holds: false,
            proven: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend((0..self.workers).map(Step::Work));
        if self.start != Start::Epoch {
            steps.push(Step::Clock);
        }
        if state.holds {
            steps.push(if state.proven { Step::Thaw } else { Step::Count });
        } else if self.start == Start::Epoch || state.past_start {
            steps.push(Step::Freeze);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Work(index) => {
                let worker = *next.workers.get(index)?;
                let after = self.work(&mut next, worker);
                *next.workers.get_mut(index)? = after;
            }
            Step::Clock => next.past_start = !next.past_start,
            Step::Freeze => {
                match self.start {
                    Start::Epoch => next.epoch = true,
                    Start::Latch => next.latch = true,
                    Start::ClockAlone => {}
                }
                next.holds = true;
            }
            Step::Count => next.proven = next.in_flight == 0,
            Step::Thaw => {
                (next.epoch, next.latch, next.holds, next.proven) = (false, false, false, false);
                // A window that has ended does not begin again at its own start.
                next.past_start = false;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("once proven, no write runs or will run", |_, state: &State| {
                let escapes =
                    |worker: &Worker| matches!(worker, Worker::Running | Worker::Judged { frozen: false });
                !state.proven || !state.workers.iter().any(escapes)
            }),
            Property::sometimes("a freeze is proven", |_, state: &State| state.proven),
            Property::sometimes("writes run side by side", |_, state: &State| {
                state.workers.iter().all(|worker| *worker == Worker::Running)
            }),
            Property::sometimes("a write is refused while a freeze is proven", |_, state: &State| {
                state.proven && state.workers.contains(&Worker::Judged { frozen: true })
            }),
        ]
    }
}

const ESCAPE: &str = "once proven, no write runs or will run";

fn check(order: Order, start: Start) -> impl Checker<Barrier> {
    Barrier { workers: 4, order, start }.checker().spawn_bfs().join()
}

#[test]
fn count_then_look_lets_no_write_escape() {
    let checker = check(Order::CountThenLook, Start::Epoch);
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1000, "{} states", checker.unique_state_count());
}

#[test]
fn look_then_count_lets_a_write_escape() {
    let checker = check(Order::LookThenCount, Start::Epoch);
    let path = checker.assert_any_discovery(ESCAPE);
    println!("the shortest escape:\n{path:?}");
}

#[test]
fn a_latched_start_holds_though_the_clock_jumps_back() {
    check(Order::CountThenLook, Start::Latch).assert_properties();
}

#[test]
fn a_start_by_the_clock_alone_lets_a_write_escape() {
    check(Order::CountThenLook, Start::ClockAlone).assert_any_discovery(ESCAPE);
}

#[test]
fn a_latch_does_not_mend_the_wrong_order() {
    check(Order::LookThenCount, Start::Latch).assert_any_discovery(ESCAPE);
}
