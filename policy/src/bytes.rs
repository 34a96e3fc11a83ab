//! Bytes compared and looked up quickly: what is here runs for every request, and on wasm32 the
//! standard library compares and hashes byte by byte.

use rustc_hash::FxHashMap as HashMap;

/// Whether two texts are the same.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The last eight bytes, then eight by eight from the first on: no byte is left over.
    let (Some(one_end), Some(other_end)) = (one.last_chunk::<8>(), other.last_chunk()) else {
        return one.iter().zip(other).all(|(one, other)| one == other);
    };
    let mut same = one_end == other_end;
    let (mut one, mut other) = (one, other);
    while let (Some((ones, one_rest)), Some((others, other_rest))) =
        (one.split_first_chunk::<8>(), other.split_first_chunk())
    {
        same &= ones == others;
        (one, other) = (one_rest, other_rest);
    }
    same
}

/// Whether a text is this name, which has at most 16 bytes and is known when this is compiled.
#[inline(always)]
pub fn is<const N: usize>(text: &[u8], name: &[u8; N]) -> bool {
    const { assert!(N <= 16) };
    if text.len() != N {
        return false;
    }
    if N <= 8 {
        text.first_chunk() == Some(name)
    } else {
        text.first_chunk::<8>() == name.first_chunk() && text.last_chunk::<8>() == name.last_chunk()
    }
}

/// Values by text.
#[derive(Debug)]
pub struct ByteMap<T>(HashMap<u64, Alike<T>>);

/// Texts with the same fingerprint, which are hardly ever several.
type Alike<T> = Vec<(Box<[u8]>, T)>;

impl<T> Default for ByteMap<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> ByteMap<T> {
    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let alike = self.0.get(&fingerprint(key))?;
        alike.iter().find(|(other, _)| same(other, key)).map(|(_, value)| value)
    }

    /// The value of `key`, made if there is none.
    pub fn entry(&mut self, key: &[u8], make: impl FnOnce() -> T) -> &mut T {
        let alike = self.0.entry(fingerprint(key)).or_default();
        let at = alike.iter().position(|(other, _)| same(other, key)).unwrap_or_else(|| {
            alike.push((Box::from(key), make()));
            alike.len() - 1
        });
        #[allow(clippy::indexing_slicing, reason = "found there, or just pushed")]
        &mut alike[at].1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same map with every value made into another.
    pub fn map<U>(self, into: impl Fn(T) -> U) -> ByteMap<U> {
        let alike = |alike: Alike<T>| alike.into_iter().map(|(key, value)| (key, into(value))).collect();
        ByteMap(self.0.into_iter().map(|(fingerprint, keys)| (fingerprint, alike(keys))).collect())
    }
}

/// A number that differs from text to text, as far as 64 bits can; the mixing is that of `FxHasher`.
pub fn fingerprint(text: &[u8]) -> u64 {
    const MIX: u64 = 0xf135_7aea_2e62_a9c5;
    let mix = |mixed: u64, next: u64| (mixed.rotate_left(5) ^ next).wrapping_mul(MIX);
    let length = text.len() as u64;
    let Some(end) = text.last_chunk() else {
        return mix(length, text.iter().fold(0, |eight, byte| eight << 8 | u64::from(*byte)));
    };
    let whole = text.as_chunks().0.iter();
    let mixed = whole.fold(length, |mixed, eight| mix(mixed, u64::from_le_bytes(*eight)));
    mix(mixed, u64::from_le_bytes(*end))
}

/// A set of bytes.
pub struct ByteSet([bool; 256]);

impl ByteSet {
    /// The set of the bytes in `members`.
    #[allow(clippy::indexing_slicing, reason = "run by the compiler, and bounded by the loop")]
    pub const fn of(members: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut at = 0;
        while at < members.len() {
            set[members[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    /// Whether `byte` is in the set.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "there is an entry for every byte")]
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_if_all_their_bytes_are() {
        let text = b"a text of some length, longer than eight";
        for length in 0..text.len() {
            let mut other = text[..length].to_vec();
            assert!(same(&text[..length], &other));
            for at in 0..length {
                other[at] ^= 1;
                assert!(!same(&text[..length], &other), "{length} {at}");
                assert_ne!(fingerprint(&text[..length]), fingerprint(&other), "{length} {at}");
                other[at] ^= 1;
            }
            assert!(!same(&text[..length], &text[..length + 1]));
        }
    }

    #[test]
    fn a_name_is_itself_only() {
        assert!(is(b":method", b":method") && is(b":authority", b":authority") && is(b"", b""));
        for other in [&b":authoritx"[..], b":buthority", b":authorit", b":authorityy", b""] {
            assert!(!is(other, b":authority"));
        }
        assert!(!is(b":methoe", b":method") && !is(b":metho", b":method"));
    }

    #[test]
    fn a_map_finds_what_was_put_in() {
        let mut map = ByteMap::default();
        for number in 0..1000_usize {
            *map.entry(number.to_string().as_bytes(), || 0) = number;
        }
        let map = map.map(|number| number * 2);
        assert!((0..1000).all(|number: usize| map.get(number.to_string().as_bytes()) == Some(&(number * 2))));
        assert_eq!(map.get(b"1000"), None);
    }
}
