//! A real Varnish, `varnishd` below the directory that `$QUIESCE_VARNISH` names, in front of what has to be forgotten.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::kit::config;
use crate::companion::{Companion, eventually, http};

/// Kept for as long as any test lasts, unless it is purged.
const CACHEABLE: [(&str, &str); 2] = [("cache-control", "public, max-age=600"), ("surrogate-key", "quiesce")];
/// What is served after a change is not what was before it, this much later at the latest.
const STALE_LIMIT: Duration = Duration::from_secs(2);

/// Forgets one URL, or all that has a surrogate key.
const VCL: &str = r#"
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "PORT"; }
sub vcl_recv {
    if (req.method == "PURGE") { return (purge); }
    if (req.method == "BAN") {
        ban("obj.http.surrogate-key == " + req.http.surrogate-key);
        return (synth(200, "Banned"));
    }
}
"#;

/// A Varnish in front of `origin_port`, killed when dropped.
struct Varnish {
    url: String,
    child: Child,
    _dir: TempDir,
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // Its parent watches its child: without a word to the parent the child would go on.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Varnish {
    /// Starts one; or nothing, said where nobody captures it, where there is no Varnish. CI skips nothing.
    async fn start(origin_port: u16) -> Option<Self> {
        let Some(root) = std::env::var_os("QUIESCE_VARNISH").map(PathBuf::from) else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let reason = "Varnish is not there; `cargo xtask test` gets it";
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes()).unwrap();
            return None;
        };
        let dir = TempDir::with_prefix("quiesce-varnish-").unwrap();
        std::fs::write(dir.path().join("vcl"), VCL.replace("PORT", &origin_port.to_string())).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut child = Command::new(root.join("usr/sbin/varnishd"))
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries(&root)).unwrap())
            .args(["-F", "-j", "none", "-a", "127.0.0.1:0", "-T", "127.0.0.1:0", "-s", "malloc,16m"])
            .arg("-f")
            .arg(dir.path().join("vcl"))
            .arg("-n")
            .arg(dir.path().join("work"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = eventually("varnish listens", async || {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "varnish ended: {log}");
            address(&root, &dir.path().join("work"))
        })
        .await;
        Some(Self { url, child, _dir: dir })
    }
}

/// Where a Varnish listens, by its own word.
fn address(root: &Path, work: &Path) -> Option<String> {
    let said = Command::new(root.join("usr/bin/varnishadm"))
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries(root)).unwrap())
        .arg("-n")
        .arg(work)
        .arg("debug.listen_address")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    // The name of the socket, its address and its port.
    let words: Vec<_> = text.split_whitespace().collect();
    match words.as_slice() {
        [_, address, port, ..] if said.status.success() && *port != "0" => {
            Some(format!("http://{address}:{port}"))
        }
        _ => None,
    }
}

/// Where unpacked packages have their libraries.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join("usr/lib")).unwrap();
    let found = entries.map(|entry| entry.unwrap().path());
    found
        .filter(|path| path.to_string_lossy().ends_with("-linux-gnu"))
        .flat_map(|path| [path.join("varnish"), path])
        .collect()
}

/// What a cache may keep: how many windows are in force, by what the companion at `url` says. Counts how often it is asked.
async fn origin(url: String) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&asked);
    let client = http();
    let banner = get(move || {
        let (client, url) = (client.clone(), url.clone());
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let status: serde_json::Value =
                client.get(format!("{url}/v1/status")).send().await.unwrap().json().await.unwrap();
            let windows = status["windows"].as_array().unwrap();
            let frozen = windows.iter().filter(|window| window["phase"] == "freezing").count();
            (CACHEABLE, format!("{frozen} windows"))
        }
    });
    let router = Router::new().route("/.well-known/maintenance", banner);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (port, asked)
}

#[tokio::test]
async fn nothing_stale_is_served_for_long_after_a_change() {
    for method in ["PURGE", "BAN"] {
        let dir = tempfile::tempdir().unwrap();
        // The origin asks the companion, which is to know of the cache: so it is started again with its address.
        let companion = Companion::start_in(dir.path(), "{}").await;
        let (port, asked) = origin(companion.url.clone()).await;
        let Some(varnish) = Varnish::start(port).await else { return companion.stop().await };
        let banner = format!("{}/.well-known/maintenance", varnish.url);
        let address = companion.url.strip_prefix("http://").unwrap().to_owned();
        companion.stop().await;
        let notifier = format!(
            "  - {{ name: edge, kind: varnish, method: {method}, urls: [\"{banner}\"], headers: {{ surrogate-key: quiesce }} }}\n"
        );
        let companion = Companion::start_at(dir.path(), &config(&[notifier]), &address).await;
        let client = http();
        let shown = async || client.get(&banner).send().await.unwrap().text().await.unwrap();
        assert_eq!(shown().await, "0 windows");
        let before = asked.load(Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(shown().await, "0 windows");
        }
        assert_eq!(asked.load(Ordering::SeqCst), before, "it is the cache that answers");
        let window = companion.freeze().await;
        let began = Instant::now();
        eventually("the freeze is seen", async || (shown().await == "1 windows").then_some(())).await;
        let start = began.elapsed();
        companion.thaw(&window).await;
        let began = Instant::now();
        eventually("the end is seen", async || (shown().await == "0 windows").then_some(())).await;
        let end = began.elapsed();
        eprintln!("FIGURE {method}: {start:?} after the start, {end:?} after the end");
        assert!(
            start < STALE_LIMIT && end < STALE_LIMIT,
            "{method}: {start:?} after the start, {end:?} after the end"
        );
        companion.stop().await;
    }
}
