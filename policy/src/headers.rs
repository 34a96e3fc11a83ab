//! The headers of a request: one block of bytes, read in place.
//!
//! The block is what the Proxy-Wasm ABI hands over (`marshalPairs` in proxy-wasm-cpp-host
//! `src/pairs_util.cc`): the number of pairs, the length of every name and value, then names and
//! values, each with a zero byte behind it; numbers are 32 bits, little-endian. Others who have a
//! request's headers write them into a [`HeaderBlock`].

/// Headers in the order in which they came, pseudo-headers (`:method`, `:path`, `:authority`) included.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// Of each pair, those of name and value.
    lengths: &'a [[[u8; 4]; 2]],
    text: &'a [u8],
    whole: bool,
}

/// Walks over the pairs; ends where the block ends or makes no sense.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    lengths: std::slice::Iter<'a, [[u8; 4]; 2]>,
    text: &'a [u8],
    /// Where the next pair's name starts in the text.
    start: usize,
    whole: bool,
}

impl<'a> Headers<'a> {
    /// Takes a block for what it says; [`Pairs::were_all`] tells whether it holds.
    pub fn read(block: &'a [u8]) -> Self {
        let parts = block.split_first_chunk().and_then(|(count, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?)
        });
        let (lengths, text) = parts.unwrap_or_default();
        Self { lengths: lengths.as_chunks().0.as_chunks().0, text, whole: parts.is_some() }
    }

    /// Every name, in lower case, with its value.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { lengths: self.lengths.iter(), text: self.text, start: 0, whole: self.whole }
    }

    /// The value of a header that occurs exactly once.
    pub fn single(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut values = self.pairs().filter(|(other, _)| *other == name).map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

impl<'a> Pairs<'a> {
    /// The next pair whose name is as long as one that is `wanted`; others are passed over unseen.
    #[inline(always)]
    pub fn next_of_length(&mut self, wanted: impl Fn(usize) -> bool) -> Option<(&'a [u8], &'a [u8])> {
        for [name_bytes, value_bytes] in self.lengths.by_ref() {
            let name_bytes = u32::from_le_bytes(*name_bytes) as usize;
            let value_bytes = u32::from_le_bytes(*value_bytes) as usize;
            let start = self.start;
            // On 32 bits a sum may overflow; it then lies before one of its parts, and no slice is there.
            let name_end = start.wrapping_add(name_bytes);
            let value_end = name_end.wrapping_add(1).wrapping_add(value_bytes);
            self.start = value_end.wrapping_add(1);
            if name_end < start || value_end <= name_end || value_end >= self.text.len() {
                self.whole = false;
                return None;
            }
            if wanted(name_bytes) {
                return Some((self.text.get(start..name_end)?, self.text.get(name_end + 1..value_end)?));
            }
        }
        None
    }

    /// Whether the pairs walked over were all that there are.
    pub fn were_all(&self) -> bool {
        self.whole && self.lengths.len() == 0 && self.start == self.text.len()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of_length(|_| true)
    }
}

/// Headers written into a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    /// Writes pairs of names, in lower case, and values.
    pub fn new(pairs: &[(&[u8], &[u8])]) -> Self {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut block = number(pairs.len()).to_vec();
        for (name, value) in pairs {
            block.extend(number(name.len()));
            block.extend(number(value.len()));
        }
        for (name, value) in pairs {
            for text in [name, value] {
                block.extend_from_slice(text);
                block.push(0);
            }
        }
        Self(block)
    }

    /// Writes other pairs into the block in place of those that it has; it allocates only to grow.
    pub fn refill<'p, I>(&mut self, pairs: impl Fn() -> I)
    where
        I: Iterator<Item = (&'p [u8], &'p [u8])>,
    {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        self.0.clear();
        self.0.extend(number(pairs().count()));
        for (name, value) in pairs() {
            self.0.extend(number(name.len()));
            self.0.extend(number(value.len()));
        }
        for text in pairs().flat_map(|(name, value)| [name, value]) {
            self.0.extend_from_slice(text);
            self.0.push(0);
        }
    }

    /// Lengthens the value of the last pair.
    pub fn append_to_last(&mut self, text: &[u8]) {
        let lengths_bytes = self.headers().lengths.len() * 8;
        // The count, then the lengths; the last of them is that of the last value.
        let Some(value_bytes) = self.0.get_mut(lengths_bytes..).and_then(|rest| rest.first_chunk_mut())
        else {
            return;
        };
        let longer =
            u32::from_le_bytes(*value_bytes).saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
        *value_bytes = longer.to_le_bytes();
        self.0.pop();
        self.0.extend_from_slice(text);
        self.0.push(0);
    }

    /// A block as a host has written it.
    pub fn from_host(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The block's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The headers in it.
    pub fn headers(&self) -> Headers<'_> {
        Headers::read(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(block: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
        let mut pairs = Headers::read(block).pairs();
        let seen = pairs.by_ref().collect();
        pairs.were_all().then_some(seen)
    }

    #[test]
    fn reads_what_the_host_writes() {
        let bytes = b"\x02\0\0\0\x07\0\0\0\x03\0\0\0\x05\0\0\0\0\0\0\0:method\0GET\0empty\0\0";
        let expected: [(&[u8], &[u8]); 2] = [(b":method", b"GET"), (b"empty", b"")];
        assert_eq!(pairs(bytes).unwrap(), expected);
        assert_eq!(HeaderBlock::new(&expected).as_bytes(), bytes);
        let mut refilled = HeaderBlock::new(&[(b"longer", b"than what follows, and gone then")]);
        refilled.refill(|| expected.into_iter());
        assert_eq!(refilled.as_bytes(), bytes);
    }

    #[test]
    fn a_block_cut_short_anywhere_is_not_whole() {
        let whole = HeaderBlock::new(&[(b":method", b"GET"), (b"a", b"b")]);
        for length in 0..whole.as_bytes().len() {
            assert_eq!(pairs(&whole.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(pairs(&[255; 64]), None);
        assert_eq!(pairs(&[]), None);
    }

    #[test]
    fn the_last_value_grows() {
        let mut block = HeaderBlock::new(&[(b"a", b"b"), (b"retry-after", b"")]);
        block.append_to_last(b"3");
        block.append_to_last(b"600");
        assert_eq!(block.as_bytes(), HeaderBlock::new(&[(b"a", b"b"), (b"retry-after", b"3600")]).as_bytes());
    }

    #[test]
    fn a_repeated_header_is_no_single_header() {
        let block = HeaderBlock::new(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]);
        assert_eq!(block.headers().single(b"a"), None);
        assert_eq!(block.headers().single(b"b"), Some(&b"2"[..]));
        assert_eq!(block.headers().single(b"c"), None);
    }
}
