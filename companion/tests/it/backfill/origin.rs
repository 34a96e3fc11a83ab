//! An origin that honours idempotency keys, and fails, delays and refuses as a test wants it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it reached the origin.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Arrival {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The path without its query.
    pub fn line(&self) -> &str {
        self.path.split('?').next().unwrap()
    }
}

/// What the origin does with a request.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// It takes this long before it answers.
    pub delay: Duration,
    /// Instead of taking it, it answers this.
    pub instead: Option<(u16, &'static str, &'static str)>,
    /// It takes it, and its answer is lost on the way: what comes back is of a gateway.
    pub lost: bool,
}

impl Behaviour {
    pub fn takes() -> Self {
        Self::default()
    }

    pub fn slow(ms: u64) -> Self {
        Self { delay: Duration::from_millis(ms), ..Self::default() }
    }

    pub fn answers(status: u16) -> Self {
        Self { instead: Some((status, "etag", "none")), ..Self::default() }
    }

    pub fn asks_to_wait(status: u16, retry_after: &'static str) -> Self {
        Self { instead: Some((status, "retry-after", retry_after)), ..Self::default() }
    }

    pub fn takes_it_and_says_502() -> Self {
        Self { lost: true, ..Self::default() }
    }
}

type Script = Box<dyn FnMut(&Arrival, usize) -> Behaviour + Send>;

#[derive(Default)]
struct Book {
    script: Option<Script>,
    arrivals: Vec<Arrival>,
    /// What took effect, in order; of each key once.
    effects: Vec<(String, Arrival)>,
    running: BTreeMap<String, u64>,
    most_running: u64,
    /// Two of one line were running at once.
    crowded: Vec<String>,
}

/// A running origin.
pub struct Origin {
    pub url: String,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<()>,
}

impl Origin {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::with(|_, _| Behaviour::takes()).await
    }

    /// One that asks `script` about each request; it is told how often the key has come before.
    pub async fn with(script: impl FnMut(&Arrival, usize) -> Behaviour + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    /// The same, on an address that is bound already.
    pub fn on(
        listener: TcpListener,
        script: impl FnMut(&Arrival, usize) -> Behaviour + Send + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let book = Arc::new(Mutex::new(Book { script: Some(Box::new(script)), ..Book::default() }));
        let router = Router::new().fallback(take).with_state(Arc::clone(&book));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, book, server }
    }

    /// From now on it does this.
    pub fn now_does(&self, script: impl FnMut(&Arrival, usize) -> Behaviour + Send + 'static) {
        self.book.lock().unwrap().script = Some(Box::new(script));
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.book.lock().unwrap().arrivals.clone()
    }

    /// Requests that have come and are not answered.
    pub fn running(&self) -> u64 {
        self.book.lock().unwrap().running.values().sum()
    }

    /// The most that were running at once.
    pub fn most_running(&self) -> u64 {
        self.book.lock().unwrap().most_running
    }

    /// The bodies that took effect in one line, in order.
    pub fn line(&self, line: &str) -> Vec<String> {
        let book = self.book.lock().unwrap();
        let of_line = book.effects.iter().filter(|(_, arrival)| arrival.line() == line);
        of_line.map(|(_, arrival)| String::from_utf8(arrival.body.to_vec()).unwrap()).collect()
    }

    /// How many keys took effect.
    pub fn effects(&self) -> usize {
        self.book.lock().unwrap().effects.len()
    }

    /// No two of one line were ever running at once.
    pub fn assert_lines_were_kept(&self) {
        let crowded = self.book.lock().unwrap().crowded.clone();
        assert!(crowded.is_empty(), "two at once: {crowded:?}");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request more is running, until this is dropped.
struct Running(Arc<Mutex<Book>>, String);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.lock().unwrap().running.get_mut(&self.1).unwrap() -= 1;
    }
}

async fn take(State(book): State<Arc<Mutex<Book>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let arrival = Arrival {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body,
        at: Instant::now(),
    };
    let key = arrival.header("idempotency-key").to_owned();
    let (behaviour, _running) = {
        let mut guard = book.lock().unwrap();
        let seen = guard.arrivals.iter().filter(|one| one.header("idempotency-key") == key).count();
        let line = arrival.line().to_owned();
        let running = guard.running.entry(line.clone()).or_default();
        *running += 1;
        if *running > 1 {
            let crowd = format!("{line}: {key}");
            guard.crowded.push(crowd);
        }
        guard.most_running = guard.most_running.max(guard.running.values().sum());
        guard.arrivals.push(arrival.clone());
        let mut script = guard.script.take().unwrap();
        let behaviour = script(&arrival, seen);
        guard.script = Some(script);
        (behaviour, Running(Arc::clone(&book), line))
    };
    tokio::time::sleep(behaviour.delay).await;
    if let Some((status, name, value)) = behaviour.instead {
        return (StatusCode::from_u16(status).unwrap(), [(name, value)], "").into_response();
    }
    {
        let mut guard = book.lock().unwrap();
        if !guard.effects.iter().any(|(known, _)| *known == key) {
            guard.effects.push((key, arrival));
        }
    }
    if behaviour.lost {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (StatusCode::CREATED, [("etag", "\"1\""), ("set-cookie", "secret=1")], "made").into_response()
}
