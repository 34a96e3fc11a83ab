//! Snapshots: whatever bytes come, there is an error or a policy; and whatever the policy, what nobody can
//! read is stopped.

use quiesce_policy::{
    Circumstances, HeaderBlock, Latches, Policy, Request, Stop, Timestamp, Verdict, banner,
    reply::{RefusalReply, dropped},
    snapshot::Snapshot,
    wire::Dialect,
};

use crate::sent::{Sent, outcome};

/// The input is a snapshot.
pub fn holds(input: &[u8]) {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(input) else { return };
    check_strictness(input);
    let written = serde_json::to_vec(&snapshot).expect("a snapshot is JSON");
    let again: Snapshot = serde_json::from_slice(&written).expect("what is written can be read");
    assert_eq!(again, snapshot, "it is read differently when it comes back");
    match (Policy::compile(&snapshot), Policy::compile(&again)) {
        (Ok(policy), Ok(_)) => {
            check_doubt(&policy);
            check_answers(&snapshot, &policy);
        }
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("the same snapshot is sound once, and once it is not"),
    }
}

/// A member that is not known might be the one that says "write".
fn check_strictness(input: &[u8]) {
    let value: serde_json::Value = serde_json::from_slice(input).expect("it was read before");
    for place in ["", "/windows/0", "/windows/0/scope", "/surfaces/0", "/surfaces/0/rules/0", "/exemptions"] {
        let mut value = value.clone();
        if let Some(object) = value.pointer_mut(place).and_then(serde_json::Value::as_object_mut) {
            object.insert("effects".to_owned(), "write".into());
            serde_json::from_value::<Snapshot>(value).expect_err("a member that is not known is passed over");
        }
    }
}

/// Under any policy: a path that origins differ about, with a method that writes; a method that is asked to
/// be another; headers that are cut short.
fn check_doubt(policy: &Policy) {
    let hosts = [&b"shop.example.com"[..], b"", b"a b"];
    for host in hosts {
        let sent = |method: &str, target: &str, name: &str| Sent {
            method: method.into(),
            target: target.into(),
            headers: vec![(b"host".to_vec(), host.to_vec()), (name.into(), b"PUT".to_vec())],
            body: Vec::new(),
        };
        for odd in ["/a/../b", "//a", "/a%2fb", "/a;b", "*", ""] {
            assert!(!sent("POST", odd, "accept").outcome(policy).passes, "{odd} passes");
        }
        for method in ["GET", "POST"] {
            let override_ = sent(method, "/a", "x-http-method-override");
            assert!(!override_.outcome(policy).passes, "an override passes");
            let whole = sent(method, "/a", "accept").block();
            let mut cut = whole.as_bytes().to_vec();
            cut.pop();
            assert!(!outcome(policy, &HeaderBlock::from_host(cut), b"").passes, "half of the headers pass");
        }
    }
}

/// Whatever the windows say, people and machines get an answer that can be read.
fn check_answers(snapshot: &Snapshot, policy: &Policy) {
    let sent = Sent::read(b"POST /a\nhost: shop.example.com");
    let block = sent.block();
    let request = Request::read(block.headers());
    let classified = policy.classify(&request);
    let starts = snapshot.windows.iter().map(|window| window.starts_at);
    let latches = Latches::new();
    for now in starts.chain([Timestamp::default()]) {
        let is_json = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).is_ok();
        assert!(is_json(&banner::answer(policy, &request, now, &latches).body), "the banner is no JSON");
        let circumstances = Circumstances { now, latches: &latches, peer_identity: &mut || None };
        let Verdict::Stopped(stop, window) = policy.judge(&request, &classified, circumstances) else {
            continue;
        };
        assert!(is_json(&dropped(window).body), "the answer is no JSON");
        if let Stop::Refused(refusal) = stop {
            let refusal = RefusalReply::new(refusal, Some(window), policy.status_page());
            for dialect in [Dialect::Http, Dialect::JsonRpc { id: Some(b"1"), mcp: true }] {
                let reply = refusal.to(dialect, policy.refused_calls(), 1);
                assert!(is_json(&reply.body), "the answer is no JSON");
            }
        }
    }
}
