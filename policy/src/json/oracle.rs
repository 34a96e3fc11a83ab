//! `serde_json`, which reads the same, and more.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{from_slice, tests::Everything};
use crate::snapshot::Snapshot;

fn everything() -> impl Strategy<Value = Everything> {
    let text = prop_oneof!["[a-c\\\\\"/\n\u{0}\u{e9}\u{1f600}]{0,6}", any::<String>()];
    let leaf = (text, any::<u16>(), any::<Option<bool>>()).prop_map(|(text, number, is_true)| Everything {
        text,
        number,
        is_true,
        list: Vec::new(),
        map: BTreeMap::new(),
    });
    let keys = prop::collection::btree_map("[a-z\"\u{e9}]{0,4}", any::<u64>(), 0..4);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..4), keys.clone())
            .prop_map(|(outer, list, map)| Everything { list, map, ..outer })
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_as_it_was(value in everything(), is_pretty in any::<bool>()) {
        let json = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        prop_assert_eq!(from_slice::<Everything>(json.unwrap().as_bytes()), Ok(value));
    }

    #[test]
    fn what_is_read_here_is_read_the_same_by_serde_json(
        value in everything(),
        cut in any::<prop::sample::Index>(),
        put in "[\\[\\]{},:\"\\\\ue0-9. \na-f]{0,3}",
    ) {
        let mut json = serde_json::to_string(&value).unwrap();
        let at = (0..=json.len()).rev().filter(|at| json.is_char_boundary(*at)).nth(cut.index(json.chars().count() + 1));
        let at = at.unwrap();
        let end = json.ceil_char_boundary((at + put.len()).min(json.len()));
        json.replace_range(at..end, &put);
        if let Ok(read) = from_slice::<Everything>(json.as_bytes()) {
            prop_assert_eq!(serde_json::from_str::<Everything>(&json).unwrap(), read);
        }
    }

    #[test]
    fn snapshots_from_any_text_are_read_alike_or_not_at_all(json in ".*") {
        if let Ok(read) = from_slice::<Snapshot>(json.as_bytes()) {
            prop_assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), read);
        }
    }
}
