//! Headers: a request with one that makes it another request, or with one that cannot be read, is stopped.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use quiesce_policy::{Basis, HeaderBlock};

use crate::{
    json_rpc::mcp_call_writes,
    lenient::forms,
    policies::POLICY,
    sent::{Sent, outcome},
};

/// Headers by which frameworks take another method than that of the request, or another protocol.
const CHANGE_THE_REQUEST: [&str; 4] =
    ["x-http-method-override", "x-http-method", "x-method-override", "upgrade"];

/// The input is a block of headers as the host writes it, or a request.
pub fn holds(input: &[u8]) {
    let block = HeaderBlock::from_host(input.to_vec());
    match read_block(input) {
        None => assert!(!outcome(&POLICY, &block, b"").passes, "headers that make no sense pass"),
        Some(pairs) => {
            let written: Vec<_> = block.headers().pairs().collect();
            assert_eq!(written, pairs, "the same block is read differently");
            let (mut sent, mut kept) = (Sent::default(), Vec::new());
            for (name, value) in pairs {
                match name {
                    b":method" => sent.method = value.to_vec(),
                    b":path" => sent.target = value.to_vec(),
                    name => kept.push((name.to_vec(), value.to_vec())),
                }
            }
            sent.headers = kept;
            check(&sent, &block);
        }
    }
    let sent = Sent::read(input);
    check(&sent, &sent.block());
}

fn check(sent: &Sent, block: &HeaderBlock) {
    let outcome = outcome(&POLICY, block, &sent.body);
    if !outcome.passes {
        return;
    }
    let changed = changed_by(sent);
    assert_eq!(changed, None, "it may be another request than it shows, and passes: {sent:?}");
    if matches!(outcome.basis, Basis::Headers(_)) && sent.target.starts_with(b"/m") {
        let calls = mcp_calls(sent);
        assert!(!calls.is_empty(), "nothing says what it calls: {sent:?}");
        let write = calls.iter().find(|(method, name)| mcp_call_writes(method, name.as_deref()));
        assert_eq!(write, None, "its headers may be read as a call that writes: {sent:?}");
    }
}

/// The header or parameter by which some origin takes the request for another, if there is one.
pub fn changed_by(sent: &Sent) -> Option<&'static str> {
    let header = CHANGE_THE_REQUEST.into_iter().find(|name| sent.values(name).next().is_some());
    let parameters = forms::parameters(sent.path_and_query().1);
    header.or_else(|| parameters.iter().any(|one| one.is_like("_method")).then_some("_method"))
}

/// The pairs of a block, by its documentation (`policy/src/headers.rs`); nothing if there is one byte too
/// many or too few.
fn read_block(block: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let number = |at: usize| -> Option<usize> {
        let bytes = block.get(at..at.checked_add(4)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let count = number(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    let mut pairs = Vec::new();
    for pair in 0..count {
        let (name_bytes, value_bytes) = (number(4 + pair * 8)?, number(8 + pair * 8)?);
        let name = block.get(at..at.checked_add(name_bytes)?)?;
        at += name_bytes + 1;
        let value = block.get(at..at.checked_add(value_bytes)?)?;
        at += value_bytes + 1;
        pairs.push((name, value));
    }
    (at == block.len()).then_some(pairs)
}

/// All that servers could take for a call in the headers of MCP, wherever they look among several.
fn mcp_calls(sent: &Sent) -> Vec<(String, Option<String>)> {
    let said = |header| sent.values(header).flat_map(said_by).collect::<Vec<_>>();
    let (methods, names) = (said("mcp-method"), said("mcp-name"));
    let named = |method: &String| match names.is_empty() {
        true => vec![(method.clone(), None)],
        false => names.iter().map(|name| (method.clone(), Some(name.clone()))).collect(),
    };
    methods.iter().flat_map(named).collect()
}

/// What servers could make of a value: Base64 if it looks like it in any way, else what it is.
fn said_by(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value.trim_ascii()).into_owned();
    let decoded = text.strip_prefix("=?").and_then(|rest| {
        let (_, encoded) = rest.strip_suffix("?=").unwrap_or(rest).rsplit_once('?')?;
        let forgiving = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let encoded: String = encoded.chars().filter(|c| !c.is_whitespace()).collect();
        [STANDARD, URL_SAFE].into_iter().find_map(|alphabet| {
            let bytes = GeneralPurpose::new(&alphabet, forgiving).decode(&encoded).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
    });
    vec![decoded.unwrap_or(text)]
}
