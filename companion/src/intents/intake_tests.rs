//! What becomes of an offer: key, tenant, line, and which headers are kept.

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

fn intake(yaml: &str) -> Intake {
    Intake::new(&Config::from_yaml(yaml, "test.yaml").unwrap(), Seals::default())
}

fn offer(
    intake: &Intake,
    surface: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Prepared, Declined> {
    let mut pairs: Vec<(&[u8], &[u8])> = vec![(b":method", b"POST"), (b":authority", b"shop.example.com")];
    if !headers.iter().any(|(name, _)| *name == ":path") {
        pairs.push((b":path", b"/orders?x=1"));
    }
    pairs.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let bytes = intent::write(HeaderBlock::new(&pairs).as_bytes(), body);
    intake.prepare(Offer { surface, window: "w1", enforcer: "edge-1", bytes: &bytes }, NOW)
}

fn kept(intake: &Intake, surface: &str, headers: &[(&str, &str)]) -> NewIntent {
    offer(intake, surface, headers, b"body").unwrap().intent
}

#[track_caller]
fn refusal(result: Result<Prepared, Declined>) -> Refusal {
    match result {
        Err(Declined::Refused(refusal, detail)) => {
            assert!(detail.ends_with("Nothing was written."), "{detail}");
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_come_from_the_client_or_are_made() {
    let optional = intake("{}");
    assert_eq!(kept(&optional, "other", &[("idempotency-key", "\"k 1\"")]).key, "k 1");
    let (one, two) = (kept(&optional, "other", &[]), kept(&optional, "other", &[]));
    assert_eq!(one.key, one.id.as_str());
    assert_ne!(one.key, two.key);

    let derived = intake("intents: { key: derived }");
    assert_eq!(kept(&derived, "other", &[("idempotency-key", "k")]).key, "k");
    let one = kept(&derived, "other", &[]);
    assert_eq!(one.key, kept(&derived, "other", &[("x-request-id", "another")]).key);
    assert_ne!(one.key, kept(&derived, "other", &[(":path", "/orders?x=2")]).key);
    assert_ne!(one.key, offer(&derived, "other", &[], b"another").unwrap().intent.key);

    let required = intake("intents: { key: required }");
    assert_eq!(refusal(offer(&required, "other", &[], b"")), Refusal::KeyMissing);
    for bad in [vec![("idempotency-key", "a, b")], vec![("idempotency-key", "a"), ("idempotency-key", "a")]] {
        assert_eq!(refusal(offer(&required, "other", &bad, b"")), Refusal::KeyInvalid);
    }
}

#[test]
fn a_key_is_in_use_while_the_first_is_being_stored() {
    let intake = intake("intents: { tenant_header: x-tenant }");
    let key = ("idempotency-key", "k");
    let first = offer(&intake, "other", &[key], b"").unwrap();
    assert_eq!(refusal(offer(&intake, "other", &[key], b"")), Refusal::KeyInUse);
    assert!(offer(&intake, "other", &[key, ("x-tenant", "acme")], b"").is_ok());
    drop(first);
    assert!(offer(&intake, "other", &[key], b"").is_ok());
}

#[test]
fn surfaces_differ_and_unknown_ones_are_others() {
    let yaml = "\
surfaces: [{ name: shop, path_prefix: /api }, { name: docs }]
intents:
  tenant_header: x-tenant
  order_by: { header: x-account }
  surfaces:
    shop: { order_by: { path: '/accounts/{line}/{*rest}' }, max_count: 5 }
    docs: { key: derived, tenant_header: x-team }
";
    let intake = intake(yaml);
    let account = [(":path", "/api/accounts/7/orders?x=1"), ("x-account", "9"), ("x-tenant", "acme")];
    let prepared = offer(&intake, "shop", &account, b"").unwrap();
    assert_eq!((prepared.limits.count, prepared.limits.bytes), (5, 10_737_418_240));
    assert_eq!((prepared.intent.line.as_str(), prepared.intent.tenant.as_str()), ("7", "acme"));
    let elsewhere = kept(&intake, "shop", &[(":path", "/api/carts/7")]);
    assert_eq!((elsewhere.line.as_str(), elsewhere.tenant.as_str()), ("/api/carts/7", ""));
    let docs = kept(&intake, "docs", &[("x-account", "9"), ("x-team", "red"), ("x-tenant", "acme")]);
    assert_eq!((docs.line.as_str(), docs.tenant.as_str()), ("9", "red"));
    assert_eq!(kept(&intake, "docs", &[]).line, "/orders");
    assert_eq!(kept(&intake, "gone", &[]).surface, OTHER_SURFACE);
}

#[test]
fn only_headers_that_are_listed_are_kept() {
    let intake = intake("intents: { headers: [content-type], tenant_header: x-tenant }");
    let sent = [
        ("authorization", "Bearer secret"),
        ("cookie", "a=b"),
        ("content-type", "text/plain"),
        ("x-tenant", "acme"),
        ("idempotency-key", "k"),
        (":scheme", "https"),
        ("quiesce-intent", "x"),
    ];
    let intent = kept(&intake, "other", &sent);
    let block = HeaderBlock::from_host(intent.payload.head);
    let names: Vec<_> = block.headers().pairs().map(|(name, _)| str::from_utf8(name).unwrap()).collect();
    let expected =
        [":method", ":authority", ":path", "content-type", "x-tenant", "idempotency-key", ":scheme"];
    assert_eq!(names, expected);
    assert_eq!((intent.method.as_str(), intent.path.as_str()), ("POST", "/orders?x=1"));
    assert_eq!((intent.payload.body.as_slice(), intent.received_at), (&b"body"[..], NOW));
}

#[test]
fn what_is_too_large_or_no_offer_is_declined() {
    let intake = intake("intents: { max_bytes: 4 }");
    assert!(offer(&intake, "other", &[], b"1234").is_ok());
    assert_eq!(refusal(offer(&intake, "other", &[], b"12345")), Refusal::IntentTooLarge);
    let whole = HeaderBlock::new(&[(b":method", b"POST"), (b":path", b"/")]);
    let no_authority = intent::write(whole.as_bytes(), b"");
    let cut = intent::write(whole.as_bytes().split_last().unwrap().1, b"");
    for bytes in [&b""[..], b"\xff\xff\xff\xff", &cut, &no_authority] {
        let offer = Offer { surface: "other", window: "w", enforcer: "e", bytes };
        assert!(matches!(intake.prepare(offer, NOW), Err(Declined::Malformed(_))));
    }
    let unnamed = Offer { surface: "other", window: "", enforcer: "e", bytes: &no_authority };
    assert!(matches!(intake.prepare(unnamed, NOW), Err(Declined::Malformed(_))));
}
