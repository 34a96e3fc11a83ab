//! Which windows are in force, when, and for whom.

use std::collections::BTreeMap;

use crate::{
    host::Host,
    snapshot::{Window, WindowId},
    time::Timestamp,
};

/// Windows whose start this process has seen; a clock that jumps back does not unsee it.
pub type Latches = Vec<WindowId>;

/// The windows that concern one enforcer.
#[derive(Debug, Default)]
pub struct Schedule {
    windows: Vec<Window>,
    ended: Vec<Window>,
}

impl Schedule {
    /// Takes in all windows that could concern anyone.
    pub fn new(windows: &[Window], ended: &[Window]) -> Self {
        Self { windows: windows.to_vec(), ended: ended.to_vec() }
    }

    /// Drops the windows whose scope does not cover an enforcer with these labels.
    pub fn retain_for(&mut self, labels: &BTreeMap<String, String>) {
        for windows in [&mut self.windows, &mut self.ended] {
            windows.retain(|window| window.scope.covers_labels(labels));
        }
    }

    /// All windows, in force or to come.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Windows that are over, of which people are told still.
    pub fn ended(&self) -> &[Window] {
        &self.ended
    }

    /// The windows in force at `now`.
    pub fn in_force<'s>(&'s self, now: Timestamp, latches: &'s Latches) -> impl Iterator<Item = &'s Window> {
        self.windows.iter().filter(move |window| is_in_force(window, now, latches))
    }

    /// The windows whose start the clock has reached and nobody has latched yet.
    pub fn to_latch<'s>(&'s self, now: Timestamp, latches: &'s Latches) -> impl Iterator<Item = &'s Window> {
        self.windows.iter().filter(move |window| {
            !window.started
                && !latches.contains(&window.id)
                && (window.starts_at..window.expires_at).contains(&now)
        })
    }

    /// Whether a window may start, or has started, by the clock alone.
    pub fn waits_for_clock(&self) -> bool {
        self.windows.iter().any(|window| !window.started)
    }

    /// When the next window starts that has not; the clock of a process need not be looked at before.
    pub fn next_start(&self, now: Timestamp) -> Option<Timestamp> {
        self.windows
            .iter()
            .filter(|window| !window.started)
            .map(|window| window.starts_at)
            .filter(|at| *at > now)
            .min()
    }

    /// The window that refuses a write to `host` at `now`: of several, the one that ends last.
    pub fn refusing(&self, host: &Host<'_>, now: Timestamp, latches: &Latches) -> Option<&Window> {
        self.windows
            .iter()
            .filter(|window| is_in_force(window, now, latches) && covers_host(window, host))
            .max_by_key(|window| (window.ends_at.is_none(), window.ends_at, window.expires_at))
    }
}

/// Whether a window may concern requests to `host`; a host that cannot be read may be any.
pub fn covers_host(window: &Window, host: &Host<'_>) -> bool {
    let hosts = &window.scope.hosts;
    let Host::Named(host) = host else { return true };
    hosts.is_empty()
        || hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain.as_bytes()).is_some_and(|rest| rest.ends_with(b".")),
            None => *pattern.as_bytes() == **host,
        })
}

fn is_in_force(window: &Window, now: Timestamp, latches: &Latches) -> bool {
    let begun = window.started || now >= window.starts_at || latches.contains(&window.id);
    begun && now < window.expires_at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{RefusalStatus, Scope};

    const START: Timestamp = Timestamp::from_unix_ms(1_000_000);

    fn window(id: &str, scope: Scope) -> Window {
        Window {
            id: WindowId::from(id),
            scope,
            starts_at: START,
            announce_at: None,
            started: false,
            ends_at: Some(START.plus_ms(1000)),
            expires_at: START.plus_ms(2000),
            reason: "reindex".to_owned(),
            contact: None,
            status: RefusalStatus::Locked,
            drain_timeout_ms: 30_000,
        }
    }

    fn ids<'w>(windows: impl Iterator<Item = &'w Window>) -> Vec<&'w str> {
        windows.map(|window| window.id.as_str()).collect()
    }

    #[test]
    fn a_window_is_in_force_from_its_start_until_its_lease_ends() {
        let schedule = Schedule::new(&[window("w", Scope::default())], &[]);
        let in_force =
            |at: u64| !ids(schedule.in_force(Timestamp::from_unix_ms(at), &Latches::new())).is_empty();
        let seen = [999_999, 1_000_000, 1_001_500, 1_001_999, 1_002_000].map(in_force);
        assert_eq!(seen, [false, true, true, true, false], "past `ends_at` it holds until thaw or lease");
    }

    #[test]
    fn a_latched_window_survives_a_clock_that_jumps_back() {
        let schedule = Schedule::new(&[window("w", Scope::default())], &[]);
        let mut latches = Latches::new();
        let before = Timestamp::from_unix_ms(1);
        assert_eq!(ids(schedule.to_latch(START, &latches)), ["w"]);
        latches.push(WindowId::from("w"));
        assert_eq!(ids(schedule.to_latch(START, &latches)), [""; 0]);
        assert_eq!(ids(schedule.in_force(before, &latches)), ["w"]);
        assert_eq!(ids(schedule.in_force(before, &Latches::new())), [""; 0]);
    }

    #[test]
    fn a_started_window_needs_no_clock() {
        let started = Window { started: true, ..window("w", Scope::default()) };
        let schedule = Schedule::new(&[started], &[]);
        let before = Timestamp::from_unix_ms(1);
        assert_eq!(ids(schedule.in_force(before, &Latches::new())), ["w"]);
        assert_eq!(ids(schedule.to_latch(START, &Latches::new())), [""; 0]);
        assert_eq!(schedule.next_start(before), None);
    }

    #[test]
    fn scopes_match_hosts_generously_and_labels_exactly() {
        let hosts = Scope { hosts: vec!["*.example.com".to_owned(), "a.org".to_owned()], ..Scope::default() };
        let w = window("w", hosts);
        let covered = |host: &str| covers_host(&w, &Host::read(host.as_bytes()));
        assert!(covered("x.example.com") && covered("A.ORG:80") && covered("") && covered("a b"));
        assert!(!covered("example.com") && !covered("notexample.com") && !covered("b.org"));

        let labels = BTreeMap::from([("zone".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        let mut schedule = Schedule::new(&[window("w", Scope { labels, ..Scope::default() })], &[]);
        schedule.retain_for(&BTreeMap::from([("zone".to_owned(), "b".to_owned())]));
        assert_eq!(schedule.windows().len(), 1);
        schedule.retain_for(&BTreeMap::new());
        assert!(schedule.windows().is_empty());
    }

    #[test]
    fn of_several_windows_the_one_that_ends_last_speaks() {
        let longer = Window { ends_at: Some(START.plus_ms(1500)), ..window("longer", Scope::default()) };
        let open = Window { ends_at: None, ..window("open", Scope::default()) };
        let speaks = |windows: &[Window]| {
            let schedule = Schedule::new(windows, &[]);
            let window = schedule.refusing(&Host::Odd, START, &Latches::new());
            window.map(|window| window.id.to_string())
        };
        let short = window("short", Scope::default());
        assert_eq!(speaks(&[longer.clone(), short.clone()]).as_deref(), Some("longer"));
        assert_eq!(speaks(&[open, longer, short]).as_deref(), Some("open"));
    }
}
