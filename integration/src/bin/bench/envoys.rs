//! The Envoys that are measured beside each other, each a process of its own with one worker.

use std::{
    collections::BTreeMap,
    ops::Index,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use quiesce_integration::{
    artifacts,
    companion::Companion,
    envoy::{Envoy, Filter, Options, PluginConfig},
    http::Request,
    origin::Origin,
    snapshots::Snapshots,
    wait,
};
use quiesce_policy::time::Timestamp;
use serde_json::Value;

use crate::{cpus::Cpus, policies};

/// Which of them, by the filter before the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// None.
    Bare,
    /// The one of the Rust SDK that does nothing.
    Noop,
    /// The policy in Lua, frozen.
    Lua,
    /// The policy as RBAC, frozen.
    Rbac,
    /// As RBAC, what keeps requests from the lean profile's filter.
    RbacAsLean,
    /// The policy as Quiesce's, open.
    Open,
    /// The same, frozen.
    Frozen,
    /// As the command line prints it, with every catalog on a surface of its own, and all on one, frozen.
    Catalogs,
    /// The same of the lean profile, where Envoy rejects headers with underscores.
    Lean,
}

/// All of them, and what they talk to.
pub struct Envoys {
    envoys: BTreeMap<Subject, Envoy>,
    _origin: Origin,
    _snapshots: [Snapshots; 2],
    _companion: Companion,
}

impl Envoys {
    /// Starts them and waits until what is frozen is frozen.
    pub async fn start() -> Result<Self> {
        let cpus = Cpus::divide()?;
        // What is started before the Envoys stays where they are not.
        cpus.leave_envoys_alone()?;
        let origin = Origin::start_unrecorded()?;
        let (open, frozen) = (Snapshots::start().await?, Snapshots::start().await?);
        open.publish(&policies::snapshot(1, None))?;
        let since = now()?;
        frozen.publish(&policies::snapshot(1, Some(since)))?;
        let companion = Companion::start(&policies::surfaces()?).await?;

        let plain = |filter| Options::new(filter, origin.addr());
        let noop = Filter::Wasm { module: artifacts::noop_wasm()?, configuration: String::new() };
        let quiesce = |companion: &Snapshots| {
            Options::quiesce(&PluginConfig::default(), origin.addr(), companion.addr())
        };
        let full = companion.envoy_filter(&[]).await?;
        let lean = ["--profile", "lean", "--underscore-headers", "reject"];
        let lean = companion.envoy_filter(&lean).await?;
        let rbac_as_lean = policies::rbac_as_lean(&lean[0]);
        let printed = |filters: &Value, node_id: &str| {
            let (companions, node_id) = (vec![companion.addr()], node_id.to_owned());
            Options { companions, node_id, ..plain(Filter::Given(filters[0].clone())) }
        };
        let rejecting = |options| Options { reject_underscores: true, ..options };
        let all = [
            (Subject::Bare, plain(Filter::None)),
            (Subject::Noop, plain(noop)),
            (Subject::Lua, plain(Filter::Lua(policies::lua(since)))),
            (Subject::Rbac, plain(Filter::Rbac(policies::rbac()))),
            (Subject::RbacAsLean, rejecting(plain(Filter::Given(rbac_as_lean)))),
            (Subject::Open, quiesce(&open)?),
            (Subject::Frozen, quiesce(&frozen)?),
            (Subject::Catalogs, printed(&full, "envoy-full")),
            (Subject::Lean, rejecting(printed(&lean, "envoy-lean"))),
        ];
        let mut envoys = BTreeMap::new();
        cpus.start_envoys()?;
        for (subject, options) in all {
            envoys.insert(subject, Envoy::start(Options { concurrency: 1, ..options }).await?);
        }
        cpus.leave_envoys_alone()?;
        until_in_force(&envoys[&Subject::Open]).await?;
        until_in_force(&envoys[&Subject::Frozen]).await?;
        let freeze = ["freeze", "--for", "12h", "--reason", "a benchmark", "--expect", "2", "--wait"];
        companion.run(&freeze).await?;
        agree(&envoys[&Subject::Lua], &envoys[&Subject::Frozen]).await?;
        Ok(Self { envoys, _origin: origin, _snapshots: [open, frozen], _companion: companion })
    }
}

impl Index<Subject> for Envoys {
    type Output = Envoy;

    fn index(&self, subject: Subject) -> &Envoy {
        &self.envoys[&subject]
    }
}

/// Both filters have the same policy: they refuse the same requests.
async fn agree(lua: &Envoy, quiesce: &Envoy) -> Result<()> {
    for (method, target, header, writes) in policies::AGREED {
        for (name, envoy) in [("Lua", lua), ("Quiesce", quiesce)] {
            let mut request = Request::new(method, target);
            let host = header.filter(|(name, _)| *name == "host").map_or(policies::HOST, |(_, host)| host);
            request = request.header("host", host);
            if let Some((name, value)) = header.filter(|(name, _)| *name != "host") {
                request = request.header(name, value);
            }
            let status = request.send(envoy.addr()).await?.status;
            ensure!((status == 423) == writes, "{name}: {method} {target} {header:?}: {status}");
        }
    }
    Ok(())
}

async fn until_in_force(envoy: &Envoy) -> Result<()> {
    wait::until("the snapshot is in force", Duration::from_secs(10), async || {
        envoy.metric("quiesce.epoch").await.ok().filter(|epoch| *epoch > 0)
    })
    .await
    .map(drop)
}

#[allow(clippy::disallowed_methods, reason = "the Envoys under test go by the real clock")]
fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Timestamp::from_unix_ms(u64::try_from(since.as_millis())?))
}
