//! Statuspage, Instatus, and whatever takes a request, on loopback: their answers have the recorded shapes of the real
//! ones, and what they keep is looked at. A test says what goes wrong.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The keys that they know.
pub const KEY: &str = "key-nobody-logs";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and perhaps when to come back.
    Answers(u16, Option<&'static str>),
    /// It is taken, and the connection is cut before the answer.
    TakenAndCut,
    /// The connection is cut.
    Cut,
    /// No answer comes.
    Hangs,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Arrival {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// `POST /hook`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Default)]
struct Book {
    arrivals: Vec<Arrival>,
    /// What becomes of the next requests whose line begins like this.
    faults: VecDeque<(String, Fault)>,
    /// What becomes of all others.
    always: Option<Fault>,
    incidents: Vec<Value>,
    maintenances: Vec<Value>,
}

/// All of them at one address.
pub struct Elsewhere {
    pub url: String,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<()>,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Elsewhere {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let book = Arc::<Mutex<Book>>::default();
        let theirs = Arc::clone(&book);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let book = Arc::clone(&theirs);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&book), request));
                    let builder = hyper::server::conn::http1::Builder::new();
                    // An error of the service cuts the connection, which is what some faults are.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, book, server }
    }

    /// The next request whose line begins like this goes wrong.
    pub fn once(&self, line: &str, fault: Fault) {
        self.book.lock().unwrap().faults.push_back((line.to_owned(), fault));
    }

    /// From now on all requests go wrong, or none does.
    pub fn always(&self, fault: Option<Fault>) {
        self.book.lock().unwrap().always = fault;
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.book.lock().unwrap().arrivals.clone()
    }

    /// Those whose line begins like this.
    pub fn at(&self, line: &str) -> Vec<Arrival> {
        self.arrivals().into_iter().filter(|one| one.line().starts_with(line)).collect()
    }

    /// What Statuspage shows.
    pub fn incidents(&self) -> Vec<Value> {
        self.book.lock().unwrap().incidents.clone()
    }

    /// What Instatus shows.
    pub fn maintenances(&self) -> Vec<Value> {
        self.book.lock().unwrap().maintenances.clone()
    }
}

/// The states that an incident or a maintenance went through, the oldest first.
pub fn statuses(shown: &Value) -> Vec<String> {
    let updates = shown.get("incident_updates").or(shown.get("updates")).unwrap().as_array().unwrap();
    updates.iter().map(|update| update["status"].as_str().unwrap().to_owned()).collect()
}

type Answer = Response<Full<Bytes>>;

async fn answer(book: Arc<Mutex<Book>>, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let (parts, body) = request.into_parts();
    let arrival = Arrival {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        at: Instant::now(),
    };
    let fault = {
        let mut book = book.lock().unwrap();
        book.arrivals.push(arrival.clone());
        let line = arrival.line();
        match book.faults.iter().position(|(begins, _)| line.starts_with(begins)) {
            Some(index) => book.faults.remove(index).map(|(_, fault)| fault),
            None => book.always,
        }
    };
    let cut = || Err(std::io::Error::other("cut"));
    match fault {
        Some(Fault::Answers(status, retry_after)) => {
            let mut answer = json(status, &json!({ "error": "as the test wants it" })).unwrap();
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", seconds.parse().unwrap());
            }
            Ok(answer)
        }
        Some(Fault::Cut) => cut(),
        Some(Fault::Hangs) => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            cut()
        }
        Some(Fault::TakenAndCut) => {
            let _ = route(&mut book.lock().unwrap(), &arrival);
            cut()
        }
        None => Ok(route(&mut book.lock().unwrap(), &arrival).unwrap()),
    }
}

fn json(status: u16, body: &Value) -> Result<Answer, Infallible> {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    Ok(answer)
}

fn route(book: &mut Book, arrival: &Arrival) -> Result<Answer, Infallible> {
    let path = arrival.path.split('?').next().unwrap();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["v1", "pages", "page1", "incidents", rest @ ..] => {
            if arrival.header("authorization") != format!("OAuth {KEY}") {
                return json(401, &json!({ "error": "Could not authenticate" }));
            }
            incidents(book, arrival, rest)
        }
        ["v1", "site1", "maintenances", rest @ ..] => {
            if arrival.header("authorization") != format!("Bearer {KEY}") {
                let error = json!({ "code": "forbidden", "message": "Not authorized" });
                return json(403, &json!({ "error": error }));
            }
            maintenances(book, arrival, rest)
        }
        ["services", ..] => Ok(Response::new(Full::from("ok"))),
        ["service", _, "purge"] => {
            let keys = arrival.json()["surrogate_keys"].clone();
            let purged = keys
                .as_array()
                .unwrap()
                .iter()
                .map(|key| (key.as_str().unwrap().to_owned(), json!("11239-1700000000-1")));
            json(200, &Value::Object(purged.collect()))
        }
        ["client", "v4", "zones", zone, "purge_cache"] => {
            let body = json!({ "success": true, "errors": [], "messages": [], "result": { "id": zone } });
            json(200, &body)
        }
        ["refuses", "client", "v4", "zones", ..] => {
            let errors = json!([{ "code": 1007, "message": "Invalid tag" }]);
            json(200, &json!({ "success": false, "errors": errors, "messages": [], "result": null }))
        }
        _ => json(200, &json!({})),
    }
}

/// What Statuspage does with incidents that are scheduled maintenances.
fn incidents(book: &mut Book, arrival: &Arrival, rest: &[&str]) -> Result<Answer, Infallible> {
    let asked = arrival.json()["incident"].clone();
    match (arrival.method.as_str(), rest) {
        ("GET", []) => json(200, &book.incidents.iter().rev().cloned().collect()),
        ("POST", []) => {
            let (Some(from), Some(until)) =
                (asked["scheduled_for"].as_str(), asked["scheduled_until"].as_str())
            else {
                return json(422, &json!({ "error": ["Scheduled for can't be blank"] }));
            };
            if from >= until || asked["name"].as_str().is_none_or(|name| name.is_empty() || name.len() > 255)
            {
                return json(422, &json!({ "error": ["Scheduled until must be after scheduled for"] }));
            }
            let id = format!("p31zjtct2jer{}", book.incidents.len());
            let mut incident = asked.clone();
            let fields = incident.as_object_mut().unwrap();
            fields.insert("id".to_owned(), json!(id));
            fields.insert("page_id".to_owned(), json!("page1"));
            fields.insert("impact".to_owned(), json!("maintenance"));
            fields.insert("incident_updates".to_owned(), json!([update(&asked)]));
            book.incidents.push(incident.clone());
            json(201, &incident)
        }
        (method, [id]) => {
            let Some(incident) = book.incidents.iter_mut().find(|one| one["id"] == **id) else {
                return json(404, &json!({ "error": "Not found" }));
            };
            if method == "PATCH" {
                let fields = incident.as_object_mut().unwrap();
                fields["incident_updates"].as_array_mut().unwrap().push(update(&asked));
                for (name, value) in asked.as_object().unwrap() {
                    fields.insert(name.clone(), value.clone());
                }
            }
            json(200, &incident.clone())
        }
        _ => json(404, &json!({ "error": "Not found" })),
    }
}

fn update(asked: &Value) -> Value {
    json!({ "status": asked["status"], "body": asked["body"], "deliver_notifications": true })
}

/// What Instatus does with maintenances.
fn maintenances(book: &mut Book, arrival: &Arrival, rest: &[&str]) -> Result<Answer, Infallible> {
    let asked = arrival.json();
    let said = |asked: &Value| json!({ "status": asked["status"], "message": asked["message"] });
    let not_found = json!({ "error": { "code": "not_found", "message": "Not found" } });
    match (arrival.method.as_str(), rest) {
        ("GET", []) => json(200, &book.maintenances.iter().rev().cloned().collect()),
        ("POST", []) => {
            let maintenance = json!({
                "id": format!("ckf1fzzbt4nib0a352wwra6f{}", book.maintenances.len()),
                "name": asked["name"], "status": asked["status"], "start": asked["start"],
                "duration": asked["duration"], "autoStart": asked["autoStart"], "autoEnd": asked["autoEnd"],
                "updates": [said(&asked)], "components": asked["components"],
            });
            book.maintenances.push(maintenance.clone());
            json(200, &maintenance)
        }
        (method, [id, rest @ ..]) => {
            let Some(maintenance) = book.maintenances.iter_mut().find(|one| one["id"] == **id) else {
                return json(404, &not_found);
            };
            match (method, rest) {
                ("GET", []) => {}
                ("PUT", []) => maintenance["duration"] = asked["duration"].clone(),
                ("POST", ["maintenance-updates"]) => {
                    maintenance["status"] = asked["status"].clone();
                    maintenance["updates"].as_array_mut().unwrap().push(said(&asked));
                    return json(
                        200,
                        &json!({ "id": "ckf1hlezn4vzv0a358mh8jg0z", "maintenance": *maintenance }),
                    );
                }
                _ => return json(404, &not_found),
            }
            json(200, &maintenance.clone())
        }
        _ => json(404, &not_found),
    }
}
