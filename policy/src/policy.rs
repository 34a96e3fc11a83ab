//! A snapshot, checked and compiled: from a request to what it would do, and to the verdict on it.

use std::{cell::Cell, collections::BTreeMap};

use rustc_hash::FxHashSet as HashSet;

use crate::{
    error::SnapshotError,
    host::{Host, check_pattern},
    inspect::{called, reads_by_body, reads_by_headers},
    pass::{PASS_HEADER, PassError, PassKeys},
    path::Path,
    refusal::Refusal,
    request::{Request, Suspicion},
    schedule::{Latches, Schedule},
    snapshot::{
        Action, BodyProtocol, Effect, Epoch, IntentPolicy, Mode, RefusedCalls, RetryPolicy, Snapshot,
        SurfaceName, Window,
    },
    stop::Stop,
    surfaces::{CompiledSurface, RuleRef, Saying, SurfaceIndex, Surfaces},
    time::Timestamp,
};

/// More windows than this at once are refused.
const MAX_WINDOWS: usize = 64;

/// Longer ids are refused; bytes.
const MAX_ID_BYTES: usize = 64;

/// Longer reasons and contacts are refused; bytes.
const MAX_TEXT_BYTES: usize = 1000;

/// More pass keys than this are refused; verifying tries at most one of them.
const MAX_PASS_KEYS: usize = 16;

/// A snapshot, ready to judge requests.
pub struct Policy {
    epoch: Epoch,
    mode: Mode,
    schedule: Schedule,
    surfaces: Surfaces,
    identities: HashSet<String>,
    pass_keys: PassKeys,
    retry: RetryPolicy,
    refused_calls: RefusedCalls,
    intents: IntentPolicy,
    status_page: Option<String>,
}

/// What a request would do, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What it would do.
    pub effect: Effect,
    /// What becomes of it while frozen, if it writes.
    pub action: Action,
    /// The protocol of its body, if its rule says so.
    pub protocol: Option<BodyProtocol>,
    /// Whether the body is to be seen before this holds; until then it is a write.
    pub awaits_body: bool,
    /// The surface it belongs to.
    pub surface: Option<SurfaceIndex>,
    /// How this is known.
    pub basis: Basis,
}

impl Classified {
    fn plain(effect: Effect, basis: Basis) -> Self {
        Self { effect, action: Action::Block, protocol: None, awaits_body: false, surface: None, basis }
    }
}

/// How it is known what a request would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A rule of its surface, or of one of its catalogs, says so.
    Rule(RuleRef),
    /// A rule leaves it to what is called, which the headers say.
    Headers(RuleRef),
    /// A rule leaves it to what is called, which the body says.
    Body(RuleRef),
    /// A rule leaves it to what is called, and the server has said that this reads.
    Learned(RuleRef),
    /// The method says so.
    Method,
    /// Origins may read its path or host differently.
    Ambiguous,
    /// It asks for something else than it shows.
    Suspicion(Suspicion),
}

/// What policy says of one write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict<'p> {
    /// No window refuses it.
    Open,
    /// A window would refuse it, but its sender is exempt.
    Exempt,
    /// A window would stop it, but verdicts are only observed.
    Observed(Stop),
    /// A window stops it.
    Stopped(Stop, &'p Window),
}

/// What policy needs to know beside the request.
pub struct Circumstances<'a> {
    /// The time.
    pub now: Timestamp,
    /// The windows whose start this process has seen.
    pub latches: &'a Latches,
    /// Asks for the URI SAN of the client's certificate; called only when it can matter.
    pub peer_identity: &'a mut dyn FnMut() -> Option<Vec<u8>>,
}

impl Policy {
    /// Checks a snapshot and compiles it; the error names the place.
    pub fn compile(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        check_windows(&snapshot.windows)?;
        let surfaces = Surfaces::compile(snapshot)?;
        let exemptions = &snapshot.exemptions;
        if exemptions.pass_keys.len() > MAX_PASS_KEYS {
            return Err(SnapshotError::new("exemptions.pass_keys", format!("at most {MAX_PASS_KEYS} keys")));
        }
        let pass_keys = PassKeys::read(&exemptions.pass_keys).map_err(|at| {
            let problem = "not an Ed25519 public key; write its 32 bytes in unpadded base64url";
            SnapshotError::new(format!("exemptions.pass_keys[{at}].public_key"), problem)
        })?;
        Ok(Self {
            epoch: snapshot.version,
            mode: snapshot.mode,
            schedule: Schedule::new(&snapshot.windows, &snapshot.ended),
            surfaces,
            identities: exemptions.identities.iter().cloned().collect(),
            pass_keys,
            retry: snapshot.retry,
            refused_calls: snapshot.refused_calls,
            intents: snapshot.intents.clone(),
            status_page: snapshot.status_page.clone(),
        })
    }

    /// The same policy for one enforcer: without the windows whose scope does not cover its labels.
    pub fn scoped_to(mut self, labels: &BTreeMap<String, String>) -> Self {
        self.schedule.retain_for(labels);
        self
    }

    /// The version of the snapshot.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether verdicts are carried out where a surface does not say otherwise.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The windows that can concern this enforcer.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How long refused clients are told to wait.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// In what form refused calls are answered.
    pub fn refused_calls(&self) -> RefusedCalls {
        self.refused_calls
    }

    /// What is kept of writes that are queued.
    pub fn intents(&self) -> &IntentPolicy {
        &self.intents
    }

    /// The page that tells people what is going on.
    pub fn status_page(&self) -> Option<&str> {
        self.status_page.as_deref()
    }

    /// What a request would do. It does not depend on whether a window is in force.
    pub fn classify(&self, request: &Request<'_>) -> Classified {
        self.classify_with(request, |_, _| false)
    }

    /// The same where something has been learned: `learned` says whether the server has said of a surface's tool
    /// that it reads. It is asked only of surfaces that trust it, and of tools that they do not list.
    pub fn classify_with(
        &self,
        request: &Request<'_>,
        learned: impl Fn(&SurfaceName, &str) -> bool,
    ) -> Classified {
        let (Path::Plain(path), Host::Named(host)) = (&request.path, &request.host) else {
            return self.classify_ambiguous(request);
        };
        let folded = path.folded();
        let surface = self.surfaces.find(host, &folded);
        let classified = |effect, basis| Classified { surface, ..Classified::plain(effect, basis) };
        if let Some(suspicion) = request.suspicion {
            return classified(Effect::Write, Basis::Suspicion(suspicion));
        }
        if let Some(surface) = surface.and_then(|at| self.surfaces.get(at))
            && let Some((rule, Saying { effect, action, body })) =
                surface.look_up(request, path.as_bytes(), &folded)
        {
            return match body {
                None => Classified { action, ..classified(effect, Basis::Rule(rule)) },
                Some(protocol) => {
                    let tools = Tools::of(surface, learned);
                    if reads_by_headers(protocol, request, &surface.read_only, |tool| tools.has(tool)) {
                        let basis = tools.basis(rule, Basis::Headers(rule));
                        return Classified { protocol: body, ..classified(Effect::Read, basis) };
                    }
                    Classified { protocol: body, awaits_body: true, ..classified(effect, Basis::Body(rule)) }
                }
            };
        }
        let effect = if is_safe(request.method) { Effect::Read } else { Effect::Write };
        classified(effect, Basis::Method)
    }

    /// Of a path or host that origins may read differently, one may be what a rule stops; no rule lets it pass.
    fn classify_ambiguous(&self, request: &Request<'_>) -> Classified {
        let safe = is_safe(request.method)
            && request.suspicion.is_none()
            && !std::str::from_utf8(request.method).is_ok_and(|method| self.surfaces.may_stop(method));
        let effect = if safe { Effect::Read } else { Effect::Write };
        let basis = request.suspicion.map_or(Basis::Ambiguous, Basis::Suspicion);
        Classified::plain(effect, basis)
    }

    /// What a request would do whose body is whole, and of which [`Policy::classify`] has said that it
    /// awaits its body.
    pub fn inspect(&self, request: &Request<'_>, classified: Classified, body: &[u8]) -> Classified {
        self.inspect_with(request, classified, body, |_, _| false)
    }

    /// The same where something has been learned, as for [`Policy::classify_with`].
    pub fn inspect_with(
        &self,
        request: &Request<'_>,
        classified: Classified,
        body: &[u8],
        learned: impl Fn(&SurfaceName, &str) -> bool,
    ) -> Classified {
        let surface = classified.surface.and_then(|at| self.surfaces.get(at));
        let (Some(protocol), Some(surface)) = (classified.protocol, surface) else { return classified };
        let tools = Tools::of(surface, learned);
        let reads = reads_by_body(protocol, request, &surface.read_only, |tool| tools.has(tool), body);
        let (effect, basis) = match classified.basis {
            Basis::Body(rule) if reads => (Effect::Read, tools.basis(rule, classified.basis)),
            basis if reads => (Effect::Read, basis),
            basis => (Effect::Write, basis),
        };
        Classified { effect, basis, awaits_body: false, ..classified }
    }

    /// The surface of a request whose tools are learned from its servers, if it is such a one.
    pub fn learns(&self, classified: &Classified) -> Option<&SurfaceName> {
        let surface = self.surfaces.get(classified.surface?)?;
        let learns = surface.read_only.learn_tools && classified.protocol == Some(BodyProtocol::Mcp);
        learns.then_some(&surface.name)
    }

    /// Whether verdicts on the requests of a surface are observed rather than carried out.
    pub fn observes(&self, surface: Option<SurfaceIndex>) -> bool {
        let surface = surface.and_then(|at| self.surfaces.get(at));
        surface.and_then(|surface| surface.mode).unwrap_or(self.mode) == Mode::Observe
    }

    /// What a request calls, for people: methods of JSON-RPC and tools, if its rule says that it has such.
    pub fn calls(&self, request: &Request<'_>, classified: &Classified, body: &[u8]) -> Vec<String> {
        classified.protocol.map(|protocol| called(protocol, request, body)).unwrap_or_default()
    }

    /// The verdict on a request that [`Policy::classify`] calls a write.
    pub fn judge(
        &self,
        request: &Request<'_>,
        classified: &Classified,
        circumstances: Circumstances<'_>,
    ) -> Verdict<'_> {
        let Circumstances { now, latches, peer_identity } = circumstances;
        let Some(window) = self.schedule.refusing(&request.host, now, latches) else { return Verdict::Open };
        let stop = match self.exemption(request, window, now, peer_identity) {
            Exemption::Granted => return Verdict::Exempt,
            Exemption::None => Stop::of(request, classified),
            Exemption::Rejected(PassError::Expired) => Stop::Refused(Refusal::PassExpired),
            Exemption::Rejected(_) => Stop::Refused(Refusal::PassInvalid),
        };
        if self.observes(classified.surface) {
            return Verdict::Observed(stop);
        }
        Verdict::Stopped(stop, window)
    }

    fn exemption(
        &self,
        request: &Request<'_>,
        window: &Window,
        now: Timestamp,
        peer_identity: &mut dyn FnMut() -> Option<Vec<u8>>,
    ) -> Exemption {
        let known =
            |identity: Vec<u8>| String::from_utf8(identity).is_ok_and(|one| self.identities.contains(&one));
        if !self.identities.is_empty() && peer_identity().is_some_and(known) {
            return Exemption::Granted;
        }
        if !request.has_pass {
            return Exemption::None;
        }
        match request.headers.single(PASS_HEADER) {
            None => Exemption::None,
            Some(pass) => match self.pass_keys.verify(pass, &window.id, now) {
                Ok(_) => Exemption::Granted,
                Err(err) => Exemption::Rejected(err),
            },
        }
    }

    /// The name that a request's surface has in metrics and logs.
    pub fn surface_name(&self, surface: Option<SurfaceIndex>) -> &str {
        surface
            .and_then(|at| self.surfaces.get(at))
            .map_or(crate::OTHER_SURFACE, |surface| surface.name.as_str())
    }
}

/// The tools of a surface that read.
struct Tools<'p, F> {
    surface: &'p CompiledSurface,
    learned: F,
    /// Whether one of them was found that is not listed.
    has_learned: Cell<bool>,
}

impl<'p, F: Fn(&SurfaceName, &str) -> bool> Tools<'p, F> {
    fn of(surface: &'p CompiledSurface, learned: F) -> Self {
        Self { surface, learned, has_learned: Cell::new(false) }
    }

    fn has(&self, tool: &str) -> bool {
        let CompiledSurface { name, read_only, .. } = self.surface;
        if read_only.has_tool(tool) {
            return true;
        }
        let has_learned = read_only.learn_tools && (self.learned)(name, tool);
        self.has_learned.set(self.has_learned.get() || has_learned);
        has_learned
    }

    /// How it is known of a request by `rule` that it reads.
    fn basis(&self, rule: RuleRef, unlearned: Basis) -> Basis {
        if self.has_learned.get() { Basis::Learned(rule) } else { unlearned }
    }
}

/// Whether a method changes nothing by its definition (RFC 9110 section 9.2.1; QUERY: RFC 10008).
fn is_safe(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"QUERY" | b"TRACE")
}

enum Exemption {
    Granted,
    None,
    Rejected(PassError),
}

fn check_windows(windows: &[Window]) -> Result<(), SnapshotError> {
    if windows.len() > MAX_WINDOWS {
        return Err(SnapshotError::new(
            "windows",
            format!("{} windows; at most {MAX_WINDOWS}", windows.len()),
        ));
    }
    let mut ids = HashSet::default();
    for (at, window) in windows.iter().enumerate() {
        let fail =
            |field: &str, problem: String| Err(SnapshotError::new(format!("windows[{at}].{field}"), problem));
        let id = window.id.as_str();
        if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail(
                "id",
                format!("`{id}` is not an id; use at most {MAX_ID_BYTES} visible ASCII characters"),
            );
        }
        if !ids.insert(id) {
            return fail("id", format!("`{id}` is the id of an earlier window too"));
        }
        if window.expires_at <= window.starts_at {
            return fail(
                "expires_at",
                format!("{} is not after starts_at, {}", window.expires_at, window.starts_at),
            );
        }
        if let Some(ends_at) = window.ends_at
            && !(window.starts_at..=window.expires_at).contains(&ends_at)
        {
            return fail("ends_at", format!("{ends_at} is not between starts_at and expires_at"));
        }
        if window.reason.len() > MAX_TEXT_BYTES {
            return fail("reason", format!("longer than {MAX_TEXT_BYTES} bytes"));
        }
        if window.contact.as_ref().is_some_and(|contact| contact.len() > MAX_TEXT_BYTES) {
            return fail("contact", format!("longer than {MAX_TEXT_BYTES} bytes"));
        }
        for (host_at, host) in window.scope.hosts.iter().enumerate() {
            check_pattern(host).map_err(|problem| {
                SnapshotError::new(format!("windows[{at}].scope.hosts[{host_at}]"), problem)
            })?;
        }
    }
    Ok(())
}
