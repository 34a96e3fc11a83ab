//! The barrier under load: after `quiesce freeze --wait` no write reaches the origin until the thaw,
//! and no read ever fails.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::time::{Duration, Instant};

use quiesce_integration::{
    assert_eventually,
    http::{Request, Response},
    load::{Load, Profile},
    stack::{Stack, StackOptions},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const FREEZE: [&str; 6] = ["freeze", "--for", "10m", "--reason", "barrier test", "--wait"];
const CLIENTS: usize = 8;
/// How many more reads and refused writes there must be before a freeze has been tried enough.
const ENOUGH: u64 = 100;

/// Readers and writers at full rate through the first Envoy.
struct Traffic {
    reads: Load,
    writes: Load,
}

impl Traffic {
    async fn start(stack: &Stack) -> Self {
        let addr = stack.envoy().addr();
        let traffic = Self {
            reads: Load::start(Profile::reads(addr, CLIENTS)).await.unwrap(),
            writes: Load::start(Profile::writes(addr, CLIENTS)).await.unwrap(),
        };
        traffic.until_writes_pass().await;
        traffic
    }

    async fn until_writes_pass(&self) {
        let before = self.writes.tally().with_status(200);
        assert_eventually!(self.writes.tally().with_status(200) >= before + ENOUGH, "writes pass");
    }

    async fn until_writes_are_refused_and_reads_pass(&self) {
        let (refused, read) = (self.writes.tally().with_status(423), self.reads.tally().with_status(200));
        assert_eventually!(self.writes.tally().with_status(423) >= refused + ENOUGH, "writes are refused");
        assert_eventually!(self.reads.tally().with_status(200) >= read + ENOUGH, "reads pass");
    }

    /// Ends it; no read may have failed or been refused, and every write must have been answered.
    async fn stop(self) {
        let reads = self.reads.stop().await;
        assert!(reads.other_than(&[200]).is_empty(), "reads: {:?}", reads.other_than(&[200]));
        let writes = self.writes.stop().await;
        assert!(writes.other_than(&[200, 423]).is_empty(), "writes: {:?}", writes.other_than(&[200, 423]));
    }
}

/// Looks at what the origin saw from `proven` until now, which must be no write at all.
fn assert_no_write_since(stack: &Stack, proven: Instant) {
    let escaped = stack.origin.writes_between(proven, Instant::now());
    assert!(
        escaped.is_empty(),
        "{} writes at the origin during the freeze: {:?}",
        escaped.len(),
        escaped.first()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_freezes_in_a_row_let_no_write_through_and_fail_no_read() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let traffic = Traffic::start(&stack).await;
    for _ in 0..20 {
        stack.companion.run(&FREEZE).await.unwrap();
        let proven = Instant::now();
        traffic.until_writes_are_refused_and_reads_pass().await;
        assert_no_write_since(&stack, proven);
        stack.companion.run(&["thaw"]).await.unwrap();
        traffic.until_writes_pass().await;
    }
    traffic.stop().await;
    assert_eventually!(stack.envoy().in_flight().await.unwrap() == 0, "the count ends at zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_write_that_takes_three_seconds() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let traffic = Traffic::start(&stack).await;
    let envoy = stack.envoy().addr();
    let slow = tokio::spawn(async move { Request::post("/slow?ms=3000", "x").send(envoy).await });
    assert_eventually!(
        stack.origin.count(|one| one.target.starts_with("/slow")) == 1,
        "the slow write arrives"
    );
    let began = Instant::now();
    stack.companion.run(&FREEZE).await.unwrap();
    let proven = Instant::now();
    assert!(began.elapsed() >= Duration::from_secs(2), "it did not wait: {:?}", began.elapsed());
    traffic.until_writes_are_refused_and_reads_pass().await;
    assert_no_write_since(&stack, proven);
    let answer: Response = slow.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "a write in flight is not hurt");
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_cut_at_the_drain_timeout() {
    let companion = "windows: { drain_timeout: 1s }".to_owned();
    let stack = Stack::start(StackOptions { companion, ..StackOptions::default() }).await.unwrap();
    let traffic = Traffic::start(&stack).await;
    let mut stuck = begin_body(&stack).await;
    let began = Instant::now();
    stack.companion.run(&FREEZE).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(900), "it did not wait: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for too long: {:?}", began.elapsed());
    let mut rest = Vec::new();
    // Whatever is said to the client, its connection ends.
    let _ = stuck.read_to_end(&mut rest).await;
    // Envoy has let go of it; the origin hears so a moment later, over its own connection.
    assert_eventually!(
        stack.origin.count(|one| one.target == "/stuck" && one.ended.is_none()) == 0,
        "the origin is rid of it"
    );
    let proven = Instant::now();
    traffic.until_writes_are_refused_and_reads_pass().await;
    assert_no_write_since(&stack, proven);
    assert_eq!(stack.envoy().metric("quiesce.cut").await.unwrap(), 1);
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_midway_is_counted_down() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let traffic = Traffic::start(&stack).await;
    let stuck = begin_body(&stack).await;
    let companion = &stack.companion;
    let freeze = async { companion.run(&FREEZE).await.map(|_| Instant::now()) };
    let reset = async {
        // Not before the freeze is in force: it is the freeze that has to see it go.
        let traffic = &traffic;
        let refused = traffic.writes.tally().with_status(423);
        assert_eventually!(traffic.writes.tally().with_status(423) > refused, "the freeze is in force");
        assert_eq!(stack.origin.count(|one| one.target == "/stuck" && one.ended.is_none()), 1);
        drop(stuck);
        Instant::now()
    };
    let (proven, reset) = tokio::join!(freeze, reset);
    assert!(proven.unwrap() > reset, "proven while a write was at the origin");
    assert_eventually!(
        stack.origin.count(|one| one.target == "/stuck" && one.ended.is_none()) == 0,
        "the origin is rid of it"
    );
    let proven = Instant::now();
    traffic.until_writes_are_refused_and_reads_pass().await;
    assert_no_write_since(&stack, proven);
    traffic.stop().await;
    assert_eventually!(stack.envoy().in_flight().await.unwrap() == 0, "the count ends at zero");
}

/// A write of which the origin has seen the head and the first bytes.
async fn begin_body(stack: &Stack) -> TcpStream {
    let mut stream = TcpStream::connect(stack.envoy().addr()).await.unwrap();
    let head = "POST /stuck HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 1000\r\n\r\nfirst bytes";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eventually!(
        stack.origin.count(|one| one.target == "/stuck" && one.body_bytes > 0) == 1,
        "the body's first bytes arrive"
    );
    stream
}
