//! What `quiesce intents` and `quiesce backfill` print, and with what codes they exit.

use serde_json::json;

use crate::{
    backfill::{
        held::{fill, quick},
        origin::{Behaviour, Origin},
    },
    command::{Serve, command, run},
};

async fn serve(yaml: &str, lines: &[&str], each: usize) -> (Serve, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), lines, each).await;
    (Serve::start(dir.path(), Some(yaml)).await, dir)
}

#[tokio::test]
async fn what_is_held_is_listed_shown_and_discarded() {
    let (serve, _dir) = serve("{}", &["/a", "/b"], 2).await;
    insta::assert_snapshot!(serve.run(&["intents", "list", "--limit", "3"]).await.redacted(), @r#"
INTENT                      STATE  RECEIVED              ATTEMPTS  SURFACE  REQUEST
WINDOW  held   TIME  0         shop     POST /a?n=0
WINDOW  held   TIME  0         shop     POST /b?n=0
WINDOW  held   TIME  0         shop     POST /a?n=1
there may be more: --after 3
--- exit code 0
"#);
    insta::assert_snapshot!(serve.run(&["intents", "list", "--state", "failed"]).await.redacted(), @r#"
no intents
--- exit code 0
"#);
    let list = serve.json(&["intents", "list"]).await;
    assert_eq!(list["intents"].as_array().unwrap().len(), 4);
    let id = list["intents"][0]["id"].as_str().unwrap();
    let shown = serve.run(&["intents", "show", id]).await;
    assert!(shown.stdout.starts_with(&format!("intent {id}: held\n  request   POST /a?n=0\n")), "{shown:?}");
    assert!(shown.stdout.contains("  key       /a-0\n  window    gone\n"), "{shown:?}");

    insta::assert_snapshot!(serve.run(&["backfill"]).await.redacted().split("  oldest").next().unwrap(), @r#"
unconfigured: 4 held, 0 on their way
  to        nowhere: `backfill.to` is not configured
  waits for `backfill.to` in the companion's configuration
"#);
    let status = serve.run(&["status"]).await.stdout;
    assert!(
        status
            .ends_with("backfill: unconfigured, waits for `backfill.to` in the companion's configuration\n"),
        "{status}"
    );
    insta::assert_snapshot!(serve.run(&["backfill", "--wait"]).await.redacted(), @r#"
unconfigured: 4 held, 0 on their way
--- stderr
error: 4 intents are held: it is not configured where they are sent
hint: set `backfill.to` and restart the companion
--- exit code 5
"#);
    insta::assert_snapshot!(serve.run(&["backfill", "--dry-run"]).await.redacted(), @r#"
4 intents would be sent to nowhere, because `backfill.to` is not configured:
  shop: 4 intents, 544 bytes
not before: `backfill.to` in the companion's configuration
in order:
INTENT                      STATE  RECEIVED              ATTEMPTS  SURFACE  REQUEST
WINDOW  held   TIME  0         shop     POST /a?n=0
WINDOW  held   TIME  0         shop     POST /b?n=0
WINDOW  held   TIME  0         shop     POST /a?n=1
WINDOW  held   TIME  0         shop     POST /b?n=1
--- exit code 0
"#);

    insta::assert_snapshot!(serve.run(&["intents", "discard"]).await.redacted(), @r#"
--- stderr
error: --all: nothing is selected
hint: name ids, a surface, a state or a time; or say `all`, for everything
--- exit code 3
"#);
    insta::assert_snapshot!(serve.run(&["intents", "discard", "nope"]).await.redacted(), @r#"
--- stderr
error: there is no intent `nope`
hint: `quiesce intents list` lists those there are; done ones are forgotten after a while
--- exit code 4
"#);
    let one = serve.run(&["intents", "discard", id]).await;
    assert_eq!((one.code, one.stdout.as_str()), (Some(0), "1 intent discarded\n"));
    assert_eq!(serve.json(&["intents", "discard", "--all"]).await, json!({ "changed": 3 }));
}

#[tokio::test]
async fn an_export_is_lines_of_json_in_either_format() {
    let (serve, dir) = serve("{}", &["/a"], 3).await;
    let printed = serve.run(&["intents", "export"]).await;
    let lines: Vec<serde_json::Value> =
        printed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[2]["body_base64"]), (3, &json!("Mg==")));
    assert_eq!(lines[0]["headers"][0], json!([":method", "POST"]));
    let path = dir.path().join("held.jsonl");
    let to = path.to_str().unwrap();
    let written = serve.run(&["intents", "export", "--to", to]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), printed.stdout);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = serve.run(&["intents", "export", "--to", to]).await;
    assert_eq!(again.code, Some(3), "what is there is not overwritten");
}

#[tokio::test]
async fn a_backfill_is_waited_for_paused_and_resumed() {
    let origin = Origin::with(|arrival, _| match arrival.body.as_ref() {
        b"2" => Behaviour::answers(422),
        _ => Behaviour::takes(),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let yaml = quick(&origin.url, "");
    let serve = Serve::start(dir.path(), Some(&yaml)).await;
    let idle = serve.run(&["backfill", "--wait"]).await;
    assert_eq!(idle.code, Some(0), "{idle:?}");
    let paused = serve.run(&["backfill", "pause", "--reason", "the disk is full"]).await;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    assert!(paused.stdout.contains("the disk is full"), "{paused:?}");
    serve.kill().await;

    fill(dir.path(), &["/a"], 3).await;
    let serve = Serve::start(dir.path(), Some(&yaml)).await;
    insta::assert_snapshot!(serve.run(&["backfill", "--wait"]).await.redacted(), @r#"
paused: 3 held, 0 on their way
--- stderr
error: 3 intents are held: paused by anonymous: the disk is full
hint: `quiesce backfill resume` lets them go on
--- exit code 5
"#);
    let resumed = serve.run(&["backfill", "resume"]).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let waited = serve.run(&["backfill", "--wait", "--timeout", "15s"]).await;
    assert_eq!(waited.code, Some(5), "{waited:?}");
    assert!(waited.stderr.starts_with("error: all is sent, but 1 intent has failed\n"), "{waited:?}");
    insta::assert_snapshot!(serve.run(&["intents", "list", "--state", "failed"]).await.redacted(), @r#"
INTENT                      STATE   RECEIVED              ATTEMPTS  SURFACE  REQUEST
WINDOW  failed  TIME  1         shop     POST /a?n=2
  answered 422
--- exit code 0
"#);
    assert_eq!(serve.json(&["intents", "discard", "--state", "failed"]).await, json!({ "changed": 1 }));
    let done = serve.json(&["backfill", "--wait"]).await;
    assert_eq!((&done["phase"], &done["held"]), (&json!("idle"), &json!(0)));
}

#[tokio::test]
async fn rules_that_queue_for_nowhere_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.yaml");
    let queue = "surfaces: [{ name: shop, rules: [{ path: /orders, effect: write, action: queue }] }]\n";
    let check = async |yaml: &str| {
        std::fs::write(&path, yaml).unwrap();
        run(command(&["config", "check"]).arg(&path)).await
    };
    let nowhere = check(queue).await;
    assert_eq!(nowhere.code, Some(0), "{nowhere:?}");
    assert!(nowhere.stdout.contains("warning: backfill.to: rules queue writes"), "{nowhere:?}");
    let somewhere = check(&format!("{queue}backfill: {{ to: \"http://10.0.0.5:10000\" }}\n")).await;
    assert!(somewhere.code == Some(0) && !somewhere.stdout.contains("warning"), "{somewhere:?}");
    let wrong = check("backfill: { to: \"10.0.0.5/x\", answer_headers: [Set-Cookie, set-cookie] }\n").await;
    assert_eq!(wrong.code, Some(3));
    for place in ["backfill.to: ", "backfill.answer_headers[0]: ", "backfill.answer_headers[1]: "] {
        assert!(wrong.stderr.contains(place), "{wrong:?}");
    }
}
