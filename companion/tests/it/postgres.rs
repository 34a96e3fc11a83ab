//! A real PostgreSQL: the programs that `$QUIESCE_POSTGRES` names, with files of its own, stopped when the tests end.

use std::{
    ffi::OsStr,
    fs::Permissions,
    io::Write as _,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// PostgreSQL does not run as root; this is `nobody`.
const NOBODY: u32 = 65_534;
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Whoever connects needs it, and no log may have it.
pub const PASSWORD: &str = "a-password-nobody-logs";

/// Runs a server, and stops it when told to or when whoever started it is gone, however that happened.
const KEEPER: &str = r#"
    dir=$1; shift
    "$@" & server=$!
    read -r word
    kill -${word:-INT} $server; wait $server
    test -n "$word" || rm -rf "$dir"
"#;

/// A server of its own. Dropped, it stops.
pub struct Postgres {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    settings: Vec<String>,
    keeper: Option<Child>,
}

impl Postgres {
    /// Starts one; or nothing, said where nobody captures it, where there is no PostgreSQL. CI skips nothing.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[], &[]).await
    }

    /// The same with `files` beside its data, which only it can read, and with `settings`.
    pub async fn start_with(files: &[(&str, &str)], settings: &[(&str, &str)]) -> Option<Self> {
        let Some(programs) = std::env::var_os("QUIESCE_POSTGRES").map(PathBuf::from) else {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let reason = "PostgreSQL is not there; `cargo xtask test` gets it";
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            std::io::stderr().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes()).unwrap();
            return None;
        };
        let dir = TempDir::with_prefix("quiesce-postgres-").unwrap().keep();
        for (name, contents) in [&("password", PASSWORD)].into_iter().chain(files) {
            let file = dir.join(name);
            std::fs::write(&file, contents).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        if is_root() {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Its socket is named after it.
        let port =
            settings.iter().find_map(|(name, value)| (*name == "port").then(|| value.parse().unwrap()));
        let settings = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut server = Self { programs, dir, port: port.unwrap_or(5432), settings, keeper: None };
        let made = server
            .command(server.programs.join("initdb"))
            .args(["--username", "quiesce", "--auth", "scram-sha-256", "--pwfile", "password"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync", "--pgdata", "data"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.run().await;
        Some(server)
    }

    /// Runs it on its files, and waits until it answers.
    pub async fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let keeper = self
            .command("sh")
            .args([OsStr::new("-c"), OsStr::new(KEEPER), OsStr::new("keeper"), self.dir.as_os_str()])
            .arg(self.programs.join("postgres"))
            .args(["-D", "data", "-c", "listen_addresses=", "-c", "fsync=on", "-k"])
            .arg(&self.dir)
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "timezone=GMT"])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let answers = async {
            while let Err(error) = self.connect("postgres").await {
                let ended = self.keeper.as_mut().unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "{error}; PostgreSQL ended while it started: {}", self.log());
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(START_LIMIT, answers).await.expect("PostgreSQL does not answer");
    }

    /// Ends it by a signal, and keeps its files: `INT` cuts off whoever is connected, `QUIT` all that it does itself.
    pub fn end(&mut self, signal: &str) {
        let mut keeper = self.keeper.take().expect("it runs");
        writeln!(keeper.stdin.take().unwrap(), "{signal}").unwrap();
        keeper.wait().unwrap();
    }

    /// An empty database.
    pub async fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.connect("postgres").await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let host = self.dir.to_str().unwrap().replace('/', "%2F");
        Database { url: format!("postgres://quiesce:{PASSWORD}@{host}:{}/{name}", self.port) }
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.dir)
            .port(self.port)
            .username("quiesce")
            .password(PASSWORD)
            .database(database)
            .connect()
            .await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// A command in its directory, as whom PostgreSQL runs.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.dir).env("LC_ALL", "C").env_remove("PGDATA");
        if let Some(libraries) = libraries(&self.programs) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // The end of its standard input is what it waits for.
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where the libraries are that were unpacked beside programs from Debian's packages.
fn libraries(programs: &Path) -> Option<PathBuf> {
    let root = programs.ancestors().nth(5).filter(|root| *root != Path::new("/"))?;
    let mut below =
        std::fs::read_dir(root.join("usr/lib")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    below.find(|dir| dir.to_str().is_some_and(|dir| dir.ends_with("-linux-gnu")))
}

/// A database that one test has for itself.
#[derive(Clone)]
pub struct Database {
    /// With the password.
    pub url: String,
}

impl Database {
    /// An empty one on a server that all tests of this process share; or nothing, where there is no PostgreSQL.
    pub async fn new() -> Option<Self> {
        static SHARED: OnceCell<Option<Postgres>> = OnceCell::const_new();
        match SHARED.get_or_init(Postgres::start).await {
            Some(server) => Some(server.database().await),
            None => None,
        }
    }
}
